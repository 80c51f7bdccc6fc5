"""What a pass is: the base class, its surroundings, passes made of functions and of patterns."""

from passprint.passes.base import BasePass, InductorPass
from passprint.passes.callables import CallableInductorPass, graph_pass
from passprint.passes.context import (
    CompileRange,
    PassContext,
    current_pass_context,
    get_pass_context,
    is_applicable_for_range,
    may_rewrite,
    pass_context,
)
from passprint.passes.identity import pass_uuid
from passprint.passes.kinds import GraphModulePass, InferenceAwarePass, Partitioner, SchedulerPass
from passprint.passes.opaque import OpaqueWarning
from passprint.passes.pattern import Pattern, PatternPass
from passprint.passes.rewrites import RewriteCounter

__all__ = [
    "BasePass",
    "CallableInductorPass",
    "CompileRange",
    "GraphModulePass",
    "InductorPass",
    "InferenceAwarePass",
    "OpaqueWarning",
    "PassContext",
    "Partitioner",
    "Pattern",
    "PatternPass",
    "RewriteCounter",
    "SchedulerPass",
    "current_pass_context",
    "get_pass_context",
    "graph_pass",
    "is_applicable_for_range",
    "may_rewrite",
    "pass_context",
    "pass_uuid",
]
