"""Graph passes and compiled artifacts for ``torch.compile``, keyed by what the code is.

``import passprint`` and ``passprint.fingerprint`` work without torch; every name that needs torch is
imported when it is first asked for.
"""

from __future__ import annotations

import importlib

from passprint.errors import (
    CacheError,
    CompileError,
    OpaqueError,
    PassError,
    PassprintError,
    PipelineError,
)
from passprint.identity import Change, Fingerprint, fingerprint

TYPE_CHECKING = False  # as in typing, which takes a while to import

if TYPE_CHECKING:
    from typing import Any

    from passprint.compiler import CompileReport, compile
    from passprint.passes import (
        CallableInductorPass,
        CompileRange,
        InductorPass,
        PassContext,
        Pattern,
        PatternPass,
        get_pass_context,
        graph_pass,
        pass_context,
    )
    from passprint.pipeline import PassManager

__version__ = "0.1.0"

_LAZY = {
    "CallableInductorPass": "passprint.passes",
    "CompileRange": "passprint.passes",
    "InductorPass": "passprint.passes",
    "PassContext": "passprint.passes",
    "Pattern": "passprint.passes",
    "PatternPass": "passprint.passes",
    "get_pass_context": "passprint.passes",
    "graph_pass": "passprint.passes",
    "pass_context": "passprint.passes",
    "PassManager": "passprint.pipeline",
    "CompileReport": "passprint.compiler",
    "compile": "passprint.compiler",
}

__all__ = [
    "CacheError",
    "CallableInductorPass",
    "Change",
    "CompileError",
    "CompileRange",
    "CompileReport",
    "Fingerprint",
    "InductorPass",
    "OpaqueError",
    "PassContext",
    "PassError",
    "PassManager",
    "PassprintError",
    "Pattern",
    "PatternPass",
    "PipelineError",
    "compile",
    "fingerprint",
    "get_pass_context",
    "graph_pass",
    "pass_context",
]


def __getattr__(name: str) -> Any:
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module 'passprint' has no attribute {name!r}")
    try:
        value = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ModuleNotFoundError(
            f"passprint.{name} needs torch 2.11 or newer, which is not installed here. Install torch; "
            "passprint.fingerprint works without it.",
            name="torch",
        ) from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
