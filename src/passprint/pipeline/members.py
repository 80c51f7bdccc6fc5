"""What may stand in a pipeline at which hook, and how each kind of pass is run on a graph."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch.fx import Graph, GraphModule

from passprint.errors import PipelineError
from passprint.passes import BasePass, CompileRange, get_pass_context, is_applicable_for_range
from passprint.passes.naming import name_of
from passprint.pipeline.torch_door import (
    HOOKS,
    CustomGraphModulePass,
    CustomGraphPass,
    CustomInferenceAwareGraphPass,
    CustomPartitionerFn,
    CustomSchedulerPass,
    Hook,
)

#: The base classes of torch's whose objects can be members of some pipeline.
KINDS = (CustomGraphPass, CustomGraphModulePass, CustomSchedulerPass, CustomPartitionerFn)
Member = CustomGraphPass | CustomGraphModulePass | CustomSchedulerPass | CustomPartitionerFn

_EXPECTED = {
    "graph": "an instance of InductorPass (or of CustomGraphPass or CustomGraphModulePass)",
    "nodes": "an instance of SchedulerPass (or of CustomSchedulerPass)",
    "joint module": "an instance of Partitioner (or of CustomPartitionerFn)",
}


def as_members(passes: object) -> tuple[Any, ...]:
    """``passes`` as a tuple; raises PipelineError for what is no list of passes."""
    if isinstance(passes, str):
        raise PipelineError(
            f"a PassManager was given the text {passes!r}; it expects pass objects. "
            f"Write PassManager.parse({passes!r})"
        )
    if not isinstance(passes, Iterable):
        raise PipelineError(
            f"a PassManager was given {passes!r} ({type(passes).__name__}); it expects a list of passes, as "
            "in PassManager([FuseRMSNorm(), NoopElimination()])"
        )
    return tuple(passes)


def check_member(member: object, position: int, hook: Hook) -> None:
    """Raise PipelineError for a member that is not a pass, or not one for ``hook``."""
    if not isinstance(member, KINDS):
        raise PipelineError(
            f"member {position} of a PassManager is {member!r} ({type(member).__name__}), which is not a "
            f"pass. Expected {_EXPECTED[hook.takes]}: {_advice(member)}"
        )
    if hook.name not in hooks_for(type(member)):
        places = hooks_for(type(member))
        raise PipelineError(
            f"member {position} of a PassManager at {hook.name} is '{name_of(member)}' "
            f"({type(member).__name__}), which "
            f"cannot run there. Expected {_EXPECTED[hook.takes]}. It runs at {' or '.join(places)}: "
            f'PassManager([...], hook="{places[0]}")'
        )


def check_partitioners(members: tuple[object, ...]) -> None:
    """Raise PipelineError for more than one partitioner: torch asks one only."""
    if len(members) > 1:
        names = " and ".join(f"'{name_of(member)}'" for member in members)
        raise PipelineError(
            f"a pipeline was given the partitioners {names}; torch asks one only. Leave one out"
        )


def hooks_for(kind: type) -> list[str]:
    """Where passes of a class can run, in the order of the hooks."""
    return [hook.name for hook in HOOKS.values() if _fits(kind, hook)]


def _fits(kind: type, hook: Hook) -> bool:
    if hook.takes == "nodes":
        return issubclass(kind, CustomSchedulerPass)
    if hook.takes == "joint module":
        return issubclass(kind, CustomPartitionerFn)
    if issubclass(kind, CustomInferenceAwareGraphPass):
        return hook.tells_inference
    # before torch 2.13 what stands in for a scheduler pass is a graph pass by its class
    return issubclass(kind, CustomGraphPass | CustomGraphModulePass) and not issubclass(
        kind, CustomSchedulerPass
    )


def _advice(member: object) -> str:
    if isinstance(member, type) and issubclass(member, KINDS):
        return f"give an instance, {member.__name__}()"
    if isinstance(member, str):
        return f"for text, write PassManager.parse({member!r})"
    if callable(member):
        return "turn a function into a pass with @passprint.graph_pass or CallableInductorPass(function)"
    return "write a class with __call__(self, graph) that inherits from passprint.InductorPass"


class _AsGraphPass:
    """A pass that wants more than a graph, run as one that wants a graph. It has the pass's name."""

    def __init__(self, pass_: Any) -> None:
        self.pass_ = pass_
        self.name = name_of(pass_)

    def is_applicable_for_range(self, compile_range: CompileRange) -> bool:
        return is_applicable_for_range(self.pass_, compile_range)

    def __str__(self) -> str:
        return str(self.pass_)


class _OnModule(_AsGraphPass):
    def __call__(self, graph: Graph) -> object:
        module = graph.owning_module
        if not isinstance(module, GraphModule):
            raise PipelineError(
                f"the pass '{self.name}' works on a GraphModule, and the graph that it was to run on belongs to none. "
                "Give the graph of a GraphModule"
            )
        return self.pass_(module)


class _ToldOfInference(_AsGraphPass):
    def __call__(self, graph: Graph) -> object:
        is_inference = get_pass_context().is_inference
        if is_inference is None:
            raise PipelineError(
                f"the pass '{self.name}' asks whether the graph is compiled for inference, and nobody has "
                "said so. torch "
                "2.12 and newer say it at its post-grad hooks; elsewhere write manager.run(graph, is_inference=True)"
            )
        return self.pass_(graph, is_inference)


def as_graph_pass(pass_: Any) -> Any:
    """``pass_`` as something to be called with a graph."""
    if isinstance(pass_, CustomInferenceAwareGraphPass):
        return _ToldOfInference(pass_)
    if isinstance(pass_, CustomGraphModulePass):
        return _OnModule(pass_)
    return pass_


def steps_of(members: Iterable[Any], manager: type) -> tuple[tuple[Any, str | None], ...]:
    """The members as they are run on graphs, with their names; None for those of the class ``manager``."""
    return tuple(
        (member, None) if isinstance(member, manager) else (as_graph_pass(member), name_of(member))
        for member in members
    )


def has_default_uuid(pass_: object) -> bool:
    """Whether the pass's uuid is its fingerprint."""
    return isinstance(pass_, BasePass) and type(pass_).uuid is BasePass.uuid


def text_of(pass_: Any) -> str:
    """A pass as a pipeline's text spells it."""
    return str(pass_) if isinstance(pass_, BasePass) else name_of(pass_)
