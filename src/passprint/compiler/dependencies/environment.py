"""What code generation depends on besides graph and model: torch, its settings, variables, the host, passprint itself.

One list serves whole programs and single pieces. It is read without importing ``torch._dynamo`` or ``torch._inductor``:
where their settings are not loaded, they are what torch's version and the environment make them.
(``torch.utils._config_module``, the machinery of settings, was read against torch 2.11 to 2.15.)
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from hashlib import sha256
from importlib.util import MAGIC_NUMBER
from pathlib import Path
from typing import Any, Final

import torch

from passprint.compiler.dependencies.row import Row
from passprint.compiler.guards.refs import CannotRecordError
from passprint.compiler.lowering import compilers, host, user_code
from passprint.compiler.lowering.compilers import Compiler
from passprint.errors import OpaqueError
from passprint.identity import canonical, default_memo

TRACING: Final = "torch._dynamo.config"
"""The settings that only a trace depends on."""
LOWERING: Final = ("torch._functorch.config", "torch._inductor.config")

_OF_TORCH: Final = ("TORCHINDUCTOR_", "TORCH_", "TORCHDYNAMO_", "PYTORCH_", "TRITON_")
_OF_LIBRARIES: Final = ("OMP_", "KMP_", "GOMP_", "MKL_", "ATEN_", "DNNL_", "ONEDNN_")
OF_COMPILERS: Final = ("CPPFLAGS", "CXXFLAGS", "LDFLAGS", "CUDA_HOME", "CUDA_PATH")
_COUNTED: Final = _OF_TORCH + _OF_LIBRARIES + OF_COMPILERS
_OWN: Final = frozenset({"PASSPRINT_PASSES", "PASSPRINT_LIMIT", "PASSPRINT_INSTRUMENTS"})
"""Of passprint's variables those that choose which passes run, and what watches them."""
# Where things lie, how many processes build them and what is printed does not change what is compiled. Of CXX, the
# compiler that it names is asked for its version.
_UNCOUNTED: Final = frozenset(
    {"TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "TRITON_HOME", "TRITON_DUMP_DIR", "TORCH_HOME"}
    | {"TORCH_LOGS", "TORCH_LOGS_OUT", "TORCH_TRACE", "TORCHINDUCTOR_COMPILE_THREADS"}
)
_COMPILER: Final = "CXX"
_FUNCTIONS: Final = ("_pass", "_fn")
"""How settings are named whose value is code, which torch leaves out of its own keys."""


def environment(*, users_passes: bool) -> list[Row]:
    """Everything that has to be equal. Raises :class:`CannotRecordError` for settings without a form.

    ``users_passes``: whether passes other than passprint's run.
    """
    changed = list(settings((TRACING, *LOWERING)))
    users_code = users_passes or any(row.name.endswith(_FUNCTIONS) for row in changed)
    return [*_versions(), *_modes(), *variables(), *_replaced(users_code), *changed]


def _versions() -> Iterator[Row]:
    yield Row("environment", "torch", f"{torch.__version__} {torch.version.git_version}")
    yield Row("environment", "Python", f"{sys.implementation.cache_tag} {MAGIC_NUMBER.hex()}")
    for name, text in own_code().items():
        yield Row("environment", name, text)
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(torch.cuda.current_device())
        found = f"{properties.name} {properties.major}.{properties.minor} {torch.version.cuda}"
        yield Row("environment", "GPU", found)


def _modes() -> Iterator[Row]:
    deterministic: Any = torch.utils.deterministic
    for name, value in (
        ("float32 matmul precision", torch.get_float32_matmul_precision()),
        ("mkldnn", torch.backends.mkldnn.enabled),
        ("fill uninitialized memory", deterministic.fill_uninitialized_memory),
    ):
        yield Row("environment", name, str(value))


def variables() -> Iterator[Row]:
    """The environment variables that torch, its libraries, the compiler and passprint's passes ask for."""
    for name, value in sorted(os.environ.items()):
        counts = name in _OWN or (name.startswith(_COUNTED) and name not in _UNCOUNTED)
        if counts and not host.set_by_torch(name, value):
            yield Row("variable", name, value)


def _replaced(users_code: bool) -> Iterator[Row]:
    try:
        for name, digest in user_code.everywhere(users_code=users_code).items():
            yield Row("replaced", name, digest)
    except OpaqueError as error:
        raise CannotRecordError(f"{error} cannot be identified") from error


def settings(modules: Sequence[str]) -> Iterator[Row]:
    """The settings that this process changed, of those modules that are loaded."""
    for module in modules:
        for name, value in _changed_settings(module).items():
            yield Row("setting", f"{module}.{name}", value)


def _changed_settings(module: str) -> dict[str, str]:
    config: Any = sys.modules.get(module)
    if config is None:
        return {}
    changed = {name: entry for name, entry in config._config.items() if _is_changed(entry)}
    if not changed:
        return {}
    counted = set(config.save_config_portable()) | {n for n in changed if n.endswith(_FUNCTIONS)}
    return {
        name: setting_text(name, _override(entry))
        for name, entry in sorted(changed.items())
        if name in counted
    }


def _override(entry: Any) -> Any:
    held = entry.user_override
    return held.get() if hasattr(held, "get") and not isinstance(held, dict) else held


def _is_changed(entry: Any) -> bool:
    value = _override(entry)
    if type(value) is object:  # torch's mark for "not set"
        return False
    return type(value) is not type(entry.default) or bool(value != entry.default)


def setting_text(name: str, value: object) -> str:
    """The value of a setting, as a text that is the same in every process. Raises :class:`CannotRecordError`."""
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
def own_code() -> dict[str, str]:
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


# ---- the machine ----------------------------------------------------------------------------------------


def machine() -> list[Row]:
    """What code was built for and by; another machine can run it where it has as much (row.py, `host_differences`)."""
    rows = [Row("host", name, text) for name, text in host.cpu().items()]
    found = compiler_found()
    rows += (
        [Row("compiler", "mark", found.mark()), Row("compiler", "version", found.identity())] if found else []
    )
    return rows


def compiler_found() -> Compiler | None:
    """The C++ compiler that Inductor would take; None where there is none."""
    config: Any = sys.modules.get("torch._inductor.config")
    if config is not None:
        configured = config.cpp.cxx
        names = configured if isinstance(configured, (tuple, list)) else (configured,)
        return compilers.find([name for name in names if name])
    default = "clang++" if sys.platform == "darwin" else "g++"
    return compilers.find([os.environ.get(_COMPILER) or default])


def compiler_difference(recorded: Sequence[Row]) -> str | None:
    """Why what was built by the recorded compiler may not be loaded here, or None.

    A machine without any compiler may: nothing has to be built. The version is asked for only where the file differs.
    """
    built = {row.name: row.text for row in recorded if row.kind == "compiler"}
    found = compiler_found()
    if found is None or found.mark() == built.get("mark"):
        return None
    present, version = found.identity(), built.get("version")
    if present == version:
        return None
    return f"the C++ compiler was {version or 'missing'} and is {present}"
