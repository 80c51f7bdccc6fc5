"""What machine code that is built for this host may rely on."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch

_CPUINFO = Path("/proc/cpuinfo")

# A compiler told to build for this host uses these by itself, and torch does not list them.
_NOT_LISTED = frozenset(
    {"gfni", "movbe", "tbm", "xop", "avx_ifma", "avx512_vp2intersect", "sve2", "i8mm", "bf16"}
)


def instruction_set() -> dict[str, object]:
    """The processor's features: what torch lists, and what it does not but a compiler uses."""
    listed = {name: value for name, value in torch.cpu.get_capabilities().items() if value}
    return dict(sorted({**listed, **dict.fromkeys(_further(_CPUINFO), True)}.items()))


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
