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

    from passprint.compiler import CompileReport, compile, last_report
    from passprint.passes import (
        CallableInductorPass,
        CompileRange,
        GraphModulePass,
        InductorPass,
        InferenceAwarePass,
        Partitioner,
        PassContext,
        Pattern,
        PatternPass,
        SchedulerPass,
        get_pass_context,
        graph_pass,
        may_rewrite,
        pass_context,
        pass_uuid,
    )
    from passprint.pipeline import FixedPoint, PassManager, selected

__version__ = "0.1.0"

_LAZY = {
    "CallableInductorPass": "passprint.passes",
    "CompileRange": "passprint.passes",
    "GraphModulePass": "passprint.passes",
    "InductorPass": "passprint.passes",
    "InferenceAwarePass": "passprint.passes",
    "Partitioner": "passprint.passes",
    "PassContext": "passprint.passes",
    "Pattern": "passprint.passes",
    "PatternPass": "passprint.passes",
    "SchedulerPass": "passprint.passes",
    "get_pass_context": "passprint.passes",
    "graph_pass": "passprint.passes",
    "may_rewrite": "passprint.passes",
    "pass_context": "passprint.passes",
    "pass_uuid": "passprint.passes",
    "FixedPoint": "passprint.pipeline",
    "PassManager": "passprint.pipeline",
    "selected": "passprint.pipeline",
    "CompileReport": "passprint.compiler",
    "compile": "passprint.compiler",
    "last_report": "passprint.compiler",
}

__all__ = [
    "CacheError",
    "CallableInductorPass",
    "Change",
    "CompileError",
    "CompileRange",
    "CompileReport",
    "Fingerprint",
    "FixedPoint",
    "GraphModulePass",
    "InductorPass",
    "InferenceAwarePass",
    "OpaqueError",
    "Partitioner",
    "PassContext",
    "PassError",
    "PassManager",
    "PassprintError",
    "Pattern",
    "PatternPass",
    "PipelineError",
    "SchedulerPass",
    "compile",
    "fingerprint",
    "get_pass_context",
    "graph_pass",
    "last_report",
    "may_rewrite",
    "pass_context",
    "pass_uuid",
    "selected",
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
