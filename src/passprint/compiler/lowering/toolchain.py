"""What builds kernels, and what they run on besides the processor: the C++ compiler, the GPU, the environment."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch

from passprint.compiler.lowering import compilers
from passprint.compiler.lowering.host import set_by_torch
from passprint.compiler.lowering.inductor import configured_compilers


def host_capabilities(device_types: Sequence[str]) -> dict[str, object]:
    """What generated code may rely on besides the processor's instructions: the GPU's model, the environment."""
    host: dict[str, object] = {}
    if "cuda" in device_types and torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(torch.cuda.current_device())
        host["gpu"] = {
            "name": properties.name,
            "capability": f"{properties.major}.{properties.minor}",
            "multiprocessors": properties.multi_processor_count,
            "cuda": torch.version.cuda,
            "hip": torch.version.hip,
        }
    host["environment"] = _environment(_ENVIRONMENT)
    return host


_ENVIRONMENT = ("TORCHINDUCTOR_", "TRITON_", "OMP_", "KMP_")
_COMPILER_ENVIRONMENT = ("CXXFLAGS", "CPPFLAGS", "LDFLAGS")  # not CXX: the compiler that it names is asked
_LOCATIONS = ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "TRITON_HOME", "TRITON_DUMP_DIR")


def _environment(prefixes: tuple[str, ...]) -> dict[str, str]:
    return {
        name: value
        for name, value in sorted(os.environ.items())
        if name.startswith(prefixes) and name not in _LOCATIONS and not set_by_torch(name, value)
    }


def cpp_compiler() -> dict[str, object]:
    """The C++ compiler that kernels are built with, and what it is told by the environment.

    A host without one may load what any compiler built (:func:`has_compiler`).
    """
    return {"version": _compiler_version(), "environment": _environment(_COMPILER_ENVIRONMENT)}


def has_compiler() -> bool:
    """Whether kernels can be built here."""
    return _compiler_version() != _NO_COMPILER


_NO_COMPILER = "no compiler"


def _compiler_version() -> str:
    """What the compiler is (:mod:`compilers`); a machine without one is a fact as well."""
    found = compilers.find(configured_compilers())
    return found.identity() if found else _NO_COMPILER
