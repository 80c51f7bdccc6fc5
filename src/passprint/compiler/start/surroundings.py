"""What a compiled program depends on besides the model: torch, its settings, the host, the passes, passprint itself.

All of it is read without importing ``torch._dynamo`` or ``torch._inductor``: where their settings are not loaded, they
are what torch's version and the environment make them. (``torch.utils._config_module``, the machinery of settings, was
read against torch 2.11 to 2.13.)
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from importlib.util import MAGIC_NUMBER
from pathlib import Path
from typing import Any

import torch

from passprint.compiler.guards.refs import CannotRecordError
from passprint.compiler.lowering import compilers, host
from passprint.compiler.lowering.compilers import Compiler
from passprint.compiler.lowering.replaced import replaced
from passprint.errors import OpaqueError
from passprint.identity import canonical, default_memo

_SETTINGS = ("torch._dynamo.config", "torch._functorch.config", "torch._inductor.config")
_OF_TORCH = ("TORCHINDUCTOR_", "TORCH_", "TORCHDYNAMO_", "PYTORCH_", "TRITON_", "PASSPRINT_")
_OF_LIBRARIES = ("OMP_", "KMP_", "GOMP_", "MKL_", "ATEN_", "DNNL_", "ONEDNN_")
_OF_COMPILERS = ("CXX", "CPPFLAGS", "CXXFLAGS", "LDFLAGS", "CUDA_HOME", "CUDA_PATH")
_ENVIRONMENT = _OF_TORCH + _OF_LIBRARIES + _OF_COMPILERS
# Where things lie and what is printed does not change what is compiled.
_PLACES = frozenset(
    {
        "TORCHINDUCTOR_CACHE_DIR",
        "TRITON_CACHE_DIR",
        "TRITON_HOME",
        "TRITON_DUMP_DIR",
        "TORCH_HOME",
        "TORCH_LOGS",
    }
    | {
        "TORCH_LOGS_OUT",
        "TORCH_TRACE",
        "PASSPRINT_CACHE_DIR",
        "PASSPRINT_CACHE_LIMIT",
        "TORCHINDUCTOR_COMPILE_THREADS",
    }
)
# Named in $CXX, its version is asked for; where it lies does not count.
_COMPILER = "CXX"


def surroundings() -> dict[str, str]:
    """Everything but passes and compiler, by name. Raises :class:`CannotRecordError` for settings without a form."""
    found = {
        "torch": f"{torch.__version__} {torch.version.git_version}",
        "Python": f"{sys.implementation.cache_tag} {MAGIC_NUMBER.hex()}",
        **_own_code(),
        **host.cpu(),
        "float32 matmul precision": torch.get_float32_matmul_precision(),
        "mkldnn": str(torch.backends.mkldnn.enabled),
        "fill uninitialized memory": str(_deterministic().fill_uninitialized_memory),
    }
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(torch.cuda.current_device())
        found["GPU"] = f"{properties.name} {properties.major}.{properties.minor} {torch.version.cuda}"
    for name, value in sorted(os.environ.items()):
        counts = name.startswith(_ENVIRONMENT) and name not in _PLACES and name != _COMPILER
        if counts and not host.set_by_torch(name, value):
            found[f"environment variable {name}"] = value
    try:
        found |= {f"what somebody put into {name}": digest for name, digest in replaced().items()}
    except OpaqueError as error:
        raise CannotRecordError(f"{error} cannot be identified") from error
    for module in _SETTINGS:
        for name, value in _changed_settings(module).items():
            found[f"setting {module}.{name}"] = value
    return found


def differences(recorded: Mapping[str, str], present: Mapping[str, str]) -> list[str]:
    """The parts that differ, each as a sentence."""
    found = []
    for name in {**recorded, **present}:
        before, now = recorded.get(name), present.get(name)
        if before == now:
            continue
        if name in (host.CAPABILITY, host.FEATURES):
            reason = host.lacks(recorded, present)
            if reason is not None and reason not in found:  # without a reason, this host has more
                found.append(reason)
            continue
        found.append(f"{name} was {_shown(before)} and is {_shown(now)}")
    return found


def _shown(value: str | None) -> str:
    from passprint.cache.miss import short_digests  # only a miss needs it

    return short_digests(value) if value else "not set"


def _deterministic() -> Any:
    import torch.utils.deterministic as deterministic

    return deterministic


def _changed_settings(module: str) -> dict[str, str]:
    """The settings that this process changed; none where the module is not loaded."""
    config: Any = sys.modules.get(module)
    if config is None:
        return {}
    changed = {name: entry for name, entry in config._config.items() if _is_changed(entry)}
    if not changed:
        return {}
    counted = set(config.save_config_portable()) | {n for n in changed if n.endswith(("_pass", "_fn"))}
    return {name: _text(name, _override(entry)) for name, entry in sorted(changed.items()) if name in counted}


def _override(entry: Any) -> Any:
    held = entry.user_override
    return held.get() if hasattr(held, "get") and not isinstance(held, dict) else held


def _is_changed(entry: Any) -> bool:
    value = _override(entry)
    if type(value) is object:  # torch's mark for "not set"
        return False
    return type(value) is not type(entry.default) or bool(value != entry.default)


def _text(name: str, value: object) -> str:
    if value is None or type(value) in (bool, int, float, str):
        return repr(value)
    try:
        return canonical(value).decode("latin-1")
    except OpaqueError:
        digest = default_memo().digest(value)
    if digest is None:
        raise CannotRecordError(f"the setting {name} cannot be identified")
    return digest


@cache
def _own_code() -> dict[str, str]:
    """Passprint itself: an installed one counts by its version, a checkout by the text of its files."""
    import passprint

    label = default_memo().origins.of_module("passprint.compiler").label
    if label is None:
        raise CannotRecordError("passprint's own files were changed since they were imported")
    if not label.startswith("passprint checkout"):
        return {"passprint": label.removeprefix("passprint ")}
    library = sha256()
    for path in sorted((Path(passprint.__file__).parent / "passes" / "library").glob("*.py")):
        library.update(path.read_bytes())
    code = label.removeprefix("passprint ")
    return {"passprint": code, "passprint's library of passes": f"a checkout's {library.hexdigest()}"}


# ---- the C++ compiler -----------------------------------------------------------------------------------


def compiler_found() -> Compiler | None:
    """The C++ compiler that Inductor would take; None where there is none."""
    config: Any = sys.modules.get("torch._inductor.config")
    if config is not None:
        configured = config.cpp.cxx
        names = configured if isinstance(configured, (tuple, list)) else (configured,)
        return compilers.find([name for name in names if name])
    default = "clang++" if sys.platform == "darwin" else "g++"
    return compilers.find([os.environ.get(_COMPILER) or default])


def compiler_difference(mark: str | None, version: str | None) -> str | None:
    """Why a program that was built by this compiler may not be loaded here, or None.

    A machine without any compiler may: nothing has to be built. The version is asked for only where the file differs.
    """
    found = compiler_found()
    if found is None or found.mark() == mark:
        return None
    present = found.identity()
    if present == version:
        return None
    return f"the C++ compiler was {version or 'missing'} and is {present}"
