"""What builds kernels, and what they run on besides the processor: the C++ compiler and the GPU."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from passprint.compiler.lowering import compilers
from passprint.compiler.lowering.inductor import configured_compilers


def host_capabilities(device_types: Sequence[str]) -> dict[str, object]:
    """What generated code may rely on besides the processor's instructions: the GPU's model."""
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
    return host


def has_compiler() -> bool:
    """Whether kernels can be built here."""
    return compiler_version() != _NO_COMPILER


_NO_COMPILER = "no compiler"


def compiler_version() -> str:
    """What the C++ compiler is (:mod:`compilers`). A machine without one may load what any built."""
    found = compilers.find(configured_compilers())
    return found.identity() if found else _NO_COMPILER
