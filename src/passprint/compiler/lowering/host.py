"""What machine code that is built for this host may rely on, and which other hosts can run it.

Code that is built with ``-march=native`` may use every instruction set that the compiler finds here, so all of them are
recorded. A host that has them all, and more, can run it; one that lacks one cannot.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import torch

CAPABILITY: Final = "CPU capability"
FEATURES: Final = "CPU features"

_CPUINFO = Path("/proc/cpuinfo")

# A compiler told to build for this host turns these on as well, and torch does not list them.
_NOT_LISTED = frozenset(
    {"gfni", "movbe", "tbm", "xop", "avx_ifma", "avx512_vp2intersect", "sve2", "i8mm", "bf16"}
    | {"adx", "vaes", "vpclmulqdq", "pclmulqdq", "3dnowprefetch", "cx16", "lahf_lm", "fsgsbase", "rdpid"}
    | {"rdrand", "rdseed", "sha512", "sm3", "sm4", "movdiri", "movdir64b"}
)

# What torch tells besides, and which no instruction depends on: another number of cores runs the same code.
_NOT_NEEDED = ("cpu_name", "num_", "l1d_", "l2_", "l3_")

_RANKS = {"DEFAULT": 0, "NO AVX": 0, "AVX2": 1, "AVX512": 2}
"""Vector lengths of torch's own kernels, where a higher one has the lower one too; any other stands for itself."""


_OWN_TOOLS = Path(torch.__file__).parent


def set_by_torch(name: str, value: str) -> bool:
    """Whether an environment variable was set by torch, so that processes that have built, and others, are alike.

    For a GPU it names its own ``ptxas``, which its version says; for a CPU an address of the process.
    """
    if name == "_TORCHINDUCTOR_PYOBJECT_TENSOR_DATA_PTR":
        return True
    return name == "TRITON_PTXAS_PATH" and _OWN_TOOLS in Path(value).parents


def instruction_set() -> dict[str, object]:
    """The processor's instructions: what torch lists, and what it does not but a compiler turns on."""
    listed = {
        name: value
        for name, value in torch.cpu.get_capabilities().items()
        if value and not name.startswith(_NOT_NEEDED)
    }
    return dict(sorted({**listed, **dict.fromkeys(_further(_CPUINFO), True)}.items()))


def cpu() -> dict[str, str]:
    """The same as text, with the vector length that torch has chosen: what is recorded beside machine code."""
    features = " ".join(
        name if value is True else f"{name}={value}" for name, value in instruction_set().items()
    )
    return {CAPABILITY: torch.backends.cpu.get_cpu_capability(), FEATURES: features}


def lacks(built: Mapping[str, str], here: Mapping[str, str]) -> str | None:
    """Why a host like ``here`` cannot run what was built on one like ``built`` (:func:`cpu`), or None if it can."""
    wanted, present = built.get(CAPABILITY), here.get(CAPABILITY)
    if wanted != present:
        ranks = _RANKS.get(wanted or ""), _RANKS.get(present or "")
        if ranks[0] is None or ranks[1] is None or ranks[0] > ranks[1]:
            return f"it was built for {wanted or 'an unknown CPU'}, and this host has {present or 'an unknown one'}"
    if not built.get(FEATURES) or not here.get(FEATURES):
        return "it is not known which instructions it needs"
    missing = [word for word in built[FEATURES].split() if word not in here[FEATURES].split()]
    return f"it was built for {', '.join(missing)}, which this host lacks" if missing else None


def runs_here(meta: Mapping[str, Any]) -> bool:
    """Whether this host has every instruction that a stored piece with this meta may use."""
    built = meta.get("cpu")
    return isinstance(built, Mapping) and lacks(built, cpu()) is None


@cache
def _further(cpuinfo: Path) -> frozenset[str]:
    """None where the system does not tell."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return frozenset()
    # "flags" on x86, "Features" on Arm; every core has a line of them.
    flags = [
        line.partition(":")[2].split() for line in lines if line.lower().startswith(("flags", "features"))
    ]
    return _NOT_LISTED.intersection(*flags) if flags else frozenset()
