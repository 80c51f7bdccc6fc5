"""How a model compiles: cut into pieces, each distinct piece compiled once and kept; and how it starts again.

Names are imported when they are first asked for: a warm start needs few of them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from passprint.compiler.doors import passprint_backend
    from passprint.compiler.model import Compiled, CompiledModule, compile
    from passprint.compiler.record import CompileReport, PieceReport, last_report
    from passprint.compiler.trace.backend import Backend

_HOMES = {
    "Backend": "trace.backend",
    "CompileReport": "record",
    "Compiled": "model",
    "CompiledModule": "model",
    "PieceReport": "record",
    "compile": "model",
    "last_report": "record",
    "passprint_backend": "doors",
}

__all__ = [
    "Backend",
    "CompileReport",
    "Compiled",
    "CompiledModule",
    "PieceReport",
    "compile",
    "last_report",
    "passprint_backend",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'passprint.compiler' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"passprint.compiler.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
