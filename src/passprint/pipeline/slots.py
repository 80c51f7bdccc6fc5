"""What stands in Inductor's slots for a pipeline: an object of the base class that torch asks for there.

It stands idle while a pipeline of this thread runs: a pass may compile something itself, and that is another model.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from torch.fx import Graph, GraphModule

from passprint.pipeline.scheduler import cut_as_torch_does
from passprint.pipeline.torch_door import (
    CustomGraphPass,
    CustomInferenceAwareGraphPass,
    CustomPartitionerFn,
    CustomSchedulerPass,
    Hook,
)

if TYPE_CHECKING:
    from passprint.pipeline.manager import PassManager

#: What an idle pipeline says it is: nothing of it runs.
IDLE = "passprint: idle"


class _Surroundings:
    """What this thread (or task) is doing: running a pipeline, and inside of which mounts."""

    def __init__(self) -> None:
        self._running: ContextVar[bool] = ContextVar("passprint_running", default=False)
        self._mounts: ContextVar[frozenset[object]] = ContextVar("passprint_mounts", default=frozenset())

    def is_running(self) -> bool:
        return self._running.get()

    @contextmanager
    def running(self) -> Iterator[None]:
        token = self._running.set(True)
        try:
            yield
        finally:
            self._running.reset(token)

    def is_inside(self, mount: object) -> bool:
        return mount in self._mounts.get()

    @contextmanager
    def inside(self, mount: object) -> Iterator[None]:
        token = self._mounts.set(self._mounts.get() | {mount})
        try:
            yield
        finally:
            self._mounts.reset(token)


surroundings = _Surroundings()


class BlockMount:
    """A ``with`` block of one thread (or task)."""

    def holds(self) -> bool:
        """Whether what runs now is inside."""
        return surroundings.is_inside(self)


class ProcessMount:
    """As long as the process says. A thread keeps what it has once found in a slot, so taking it away is not enough."""

    def __init__(self) -> None:
        self.is_active = True

    def holds(self) -> bool:
        """Whether it has not been ended."""
        return self.is_active


class NoIdentity:
    """A uuid for the slots where torch's cache does not see that None means "do not cache": it cannot be pickled."""

    def __init__(self, owner: str) -> None:
        self._owner = owner

    def __reduce__(self) -> tuple[Any, ...]:
        raise pickle.PicklingError(
            f"{self._owner} has no identity, so what is compiled with it is not cached"
        )


class InSlot:
    """A pipeline in a slot. ``mount``: outside of it, it is idle; None for no bounds."""

    def __init__(self, manager: PassManager, mount: BlockMount | ProcessMount | None = None) -> None:
        self.manager = manager
        self._mount = mount

    @property
    def is_idle(self) -> bool:
        """Whether what is compiled now is not the business of this pipeline."""
        return surroundings.is_running() or (self._mount is not None and not self._mount.holds())

    def uuid(self) -> Any:
        """The pipeline's uuid."""
        return IDLE if self.is_idle else self.manager.uuid()

    def __fingerprint__(self) -> object:
        return self.uuid() or self.manager

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, InSlot):
            return NotImplemented
        return self.manager == other.manager and self._mount is other._mount

    def __hash__(self) -> int:
        return hash(self.manager)

    def __deepcopy__(self, memo: dict[int, Any]) -> InSlot:
        # Inductor deep-copies its whole configuration for each compile
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        # Inductor pickles some slots into its cache keys: what counts is who this is.
        return str, (_picklable(self.uuid(), str(self)),)

    def __str__(self) -> str:
        return f"passprint's pipeline '{self.manager}'"

    __repr__ = __str__


class GraphSlot(InSlot, CustomGraphPass):
    """A pipeline of graph passes."""

    def __call__(self, graph: Graph) -> None:
        if not self.is_idle:
            with surroundings.running():
                self.manager(graph)


class InferenceAwareSlot(InSlot, CustomInferenceAwareGraphPass):
    """A pipeline with a member that torch tells whether it compiles for inference."""

    def __call__(self, graph: Graph, is_inference: bool | None = None) -> None:
        if not self.is_idle:
            with surroundings.running():
                self.manager.run(graph, is_inference=is_inference)


class SchedulerSlot(InSlot, CustomSchedulerPass):
    """A pipeline over the scheduler's nodes."""

    def uuid(self) -> Any:
        return super().uuid() or NoIdentity(str(self))

    def __call__(self, nodes: list[Any]) -> list[Any]:
        if self.is_idle:
            return nodes
        with surroundings.running():
            return self.manager.run_on_nodes(nodes)


class PartitionerSlot(InSlot, CustomPartitionerFn):
    """A pipeline that is one partitioner. Idle, it leaves the cut to torch's own."""

    def uuid(self) -> Any:
        return super().uuid() or NoIdentity(str(self))

    def __call__(
        self, gm: GraphModule, joint_inputs: Sequence[object], **kwargs: Any
    ) -> tuple[GraphModule, GraphModule]:
        if self.is_idle:
            return cut_as_torch_does(gm, joint_inputs, kwargs)
        with surroundings.running():
            return self.manager.partition(gm, joint_inputs, **kwargs)


def slot_for(manager: PassManager, hook: Hook, mount: BlockMount | ProcessMount | None = None) -> InSlot:
    """The object that stands in the slot of ``hook`` for ``manager``."""
    if hook.takes == "nodes":
        return SchedulerSlot(manager, mount)
    if hook.takes == "joint module":
        return PartitionerSlot(manager, mount)
    return (InferenceAwareSlot if manager.asks_for_inference else GraphSlot)(manager, mount)


def _picklable(uuid: object, owner: str) -> str:
    if not isinstance(uuid, str):
        NoIdentity(owner).__reduce__()
    return str(uuid)
