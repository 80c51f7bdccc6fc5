"""The other kinds of passes: on graph modules, told of inference, on the scheduler's nodes, and the partitioner."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch.fx import Graph, GraphModule

from passprint.passes.base import BasePass
from passprint.passes.torch_door import (
    CustomGraphModulePass,
    CustomInferenceAwareGraphPass,
    CustomPartitionerFn,
    CustomSchedulerPass,
)

if TYPE_CHECKING:
    from torch._inductor.scheduler import BaseSchedulerNode


class GraphModulePass(BasePass, CustomGraphModulePass):
    """A pass that needs the module around the graph: its attributes, its subgraphs. Runs at the graph hooks."""

    @abstractmethod
    def __call__(self, gm: GraphModule) -> None:
        """Rewrite ``gm`` in place (its ``graph`` stays the same object); return nothing."""


class InferenceAwarePass(BasePass, CustomInferenceAwareGraphPass):
    """A graph pass that is told whether the graph is compiled for inference. Post-grad hooks only; torch 2.12+."""

    @abstractmethod
    def __call__(self, graph: Graph, is_inference: bool) -> None:  # type: ignore[override]
        """Rewrite ``graph`` in place; return nothing."""


class SchedulerPass(BasePass, CustomSchedulerPass):
    """A pass over the scheduler's nodes, before or after fusion. Torch calls this level a prototype."""

    @abstractmethod
    def __call__(self, nodes: list[BaseSchedulerNode]) -> list[BaseSchedulerNode]:
        """The nodes in the order in which they are to be emitted."""


class Partitioner(BasePass, CustomPartitionerFn):
    """Cuts the joint graph of a model that trains into forward and backward. A pipeline has one at most."""

    @abstractmethod
    def __call__(
        self, gm: GraphModule, joint_inputs: Sequence[object], **kwargs: Any
    ) -> tuple[GraphModule, GraphModule]:
        """The forward and the backward module. ``kwargs`` are what torch's own partitioners take
        (``num_fwd_outputs``, ``compiler``, …)."""
