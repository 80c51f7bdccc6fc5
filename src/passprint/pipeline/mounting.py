"""A pipeline beside the passes that another library has put into the same slot."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from threading import RLock
from typing import TYPE_CHECKING, Any

from torch.fx import Graph

from passprint.errors import PipelineError
from passprint.identity import compose
from passprint.pipeline.slots import BlockMount, InSlot, NoIdentity, ProcessMount, slot_for, surroundings
from passprint.pipeline.torch_door import (
    HOOKS,
    CustomGraphModulePass,
    CustomGraphPass,
    CustomInferenceAwareGraphPass,
    CustomSchedulerPass,
    Hook,
    is_per_thread,
    passes_in_slot,
    put_for_process,
    slots_holding,
    value_in_slot,
)

if TYPE_CHECKING:
    from passprint.pipeline.manager import PassManager

PLACES = ("after", "before")


class Chain:
    """Several passes in one slot, run in order. One that cannot say what it is makes all uncacheable."""

    def __init__(self, passes: tuple[Any, ...]) -> None:
        self.passes = passes

    def uuid(self) -> Any:
        """One digest for all uuids in order, or None when a member has none."""
        return chain_uuid(self.passes)

    def __fingerprint__(self) -> object:
        return self.uuid() or self.passes

    def __deepcopy__(self, memo: dict[int, Any]) -> Chain:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        uuid = self.uuid()
        if not isinstance(uuid, str):
            NoIdentity(str(self)).__reduce__()
        return str, (uuid,)

    def __str__(self) -> str:
        return ", then ".join(map(party, self.passes))


class GraphChain(Chain, CustomGraphPass):
    """A chain at a hook that takes a graph."""

    def __call__(self, graph: Graph) -> None:
        for pass_ in self.passes:
            pass_(graph)


class InferenceAwareChain(Chain, CustomInferenceAwareGraphPass):
    """A chain with a member that torch tells whether it compiles for inference."""

    def __call__(self, graph: Graph, is_inference: bool) -> None:  # type: ignore[override]
        for pass_ in self.passes:
            if isinstance(pass_, CustomInferenceAwareGraphPass):
                pass_(graph, is_inference)
            else:
                pass_(graph)


class SchedulerChain(Chain, CustomSchedulerPass):
    """A chain over the scheduler's nodes."""

    def uuid(self) -> Any:
        return super().uuid() or NoIdentity(str(self))

    def __call__(self, nodes: list[Any]) -> list[Any]:
        for pass_ in self.passes:
            nodes = pass_(nodes)
        return nodes


def chain(passes: tuple[Any, ...], hook: Hook) -> Any:
    """``passes`` as one object for the slot of ``hook``."""
    if len(passes) == 1:
        return passes[0]
    if hook.takes == "nodes":
        return SchedulerChain(passes)
    aware = any(isinstance(pass_, CustomInferenceAwareGraphPass) for pass_ in passes)
    return InferenceAwareChain(passes) if aware else GraphChain(passes)


def chain_uuid(passes: tuple[Any, ...]) -> str | None:
    """One digest for all uuids in order, or None when a member has none."""
    uuids: dict[str, object] = {}
    for position, pass_ in enumerate(passes):
        # torch's caches also pass over a plain function, and over a pass whose uuid is empty
        asked = isinstance(pass_, CustomGraphPass | CustomGraphModulePass | CustomSchedulerPass)
        uuid = pass_.uuid() if asked else None
        if not uuid or isinstance(uuid, NoIdentity):
            return None
        uuids[str(position)] = uuid
    digest: str = compose("mounted passes", uuids).digest
    return digest


class _OneAtATime:
    """Lets blocks of several threads follow one another where torch's configuration is one for the process."""

    __fingerprint_ignore__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = RLock()

    def block(self) -> AbstractContextManager[Any]:
        return nullcontext() if is_per_thread() else self._lock


_one_at_a_time = _OneAtATime()


@contextmanager
def mounted(stages: Mapping[str, PassManager], place: str) -> Iterator[None]:
    """Within the block, slots hold ``stages`` (by hook) beside what is there; then what was there again.

    Raises PipelineError when a slot takes one party only and is taken, and at the end of the block when a slot
    no longer
    holds what was put there.
    """
    replaced: list[tuple[str, Any]] = []
    mount = None if is_per_thread() else BlockMount()
    standing = {hook: slot_for(stage, HOOKS[hook], mount) for hook, stage in stages.items()}
    with _one_at_a_time.block(), surroundings.inside(mount), ExitStack() as stack:
        values = {hook: _beside(HOOKS[hook], ours, place) for hook, ours in standing.items()}
        stack.enter_context(slots_holding(values))
        try:
            yield
        finally:
            replaced = [
                (hook, found) for hook in values if (found := value_in_slot(hook)) is not values[hook]
            ]
            if replaced and sys.exc_info()[1] is not None:
                replaced = []  # the error on its way says more
    for hook, found in replaced:
        raise PipelineError(
            f"while {standing[hook]} was mounted at {hook}, its place was {_taken(found)}, and what was "
            "compiled since then ran without it. Let the other side put its pass there before the block begins (both "
            "then run), or only inside torch._inductor.config.patch"
        )


class Installation:
    """A pipeline mounted for the whole process. ``remove()`` takes it away again."""

    def __init__(self, stages: Mapping[str, PassManager], place: str) -> None:
        self._before = {hook: value_in_slot(hook) for hook in stages}
        self._mount = ProcessMount()
        self._standing = {hook: slot_for(stage, HOOKS[hook], self._mount) for hook, stage in stages.items()}
        self._values = {hook: _beside(HOOKS[hook], ours, place) for hook, ours in self._standing.items()}
        for hook, value in self._values.items():
            put_for_process(hook, value)

    def remove(self) -> None:
        """Put back what was there. Raises PipelineError when something else has taken the place meanwhile."""
        for hook, value in self._values.items():
            found = value_in_slot(hook)
            if found is not value:
                raise PipelineError(
                    f"{self._standing[hook]} was installed at {hook} and cannot be removed: {party(found)} "
                    "stands there now. Remove that first"
                )
        self._mount.is_active = False
        for hook, before in self._before.items():
            put_for_process(hook, before)


def _beside(hook: Hook, ours: InSlot, place: str) -> Any:
    if place not in PLACES:
        raise PipelineError(
            f"a pipeline was to be mounted {place!r} of the passes of others; it must be one of {', '.join(PLACES)}"
        )
    theirs = passes_in_slot(hook.name)
    if theirs and hook.takes == "joint module":
        raise PipelineError(
            f"{ours} cannot be mounted at {hook.name}: {party(theirs[0])} is there, and torch asks one "
            "partitioner only. "
            "Leave one of them out"
        )
    return chain((*theirs, ours) if place == "after" else (ours, *theirs), hook)


def _taken(found: object) -> str:
    return "emptied" if found is None or found == [] else f"taken by {party(found)}"


def party(value: object) -> str:
    """Whom something in a slot belongs to, for an error."""
    if value is None:
        return "nothing"
    if isinstance(value, InSlot | Chain):
        return str(value)
    if isinstance(value, list | tuple):
        return ", then ".join(map(party, value)) or "nothing"
    owner = value if callable(value) and hasattr(value, "__qualname__") else type(value)
    return f"{owner.__module__}.{owner.__qualname__}"
