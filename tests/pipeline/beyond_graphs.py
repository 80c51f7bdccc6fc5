"""Passes that are given no graph, sound ones and others, for several test modules: a class has to be there once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from torch._functorch.partitioners import default_partition
from torch.fx import GraphModule

from passprint import PassError
from passprint.passes import Partitioner, SchedulerPass
from passprint.pipeline import PassManager


class LeavesNodes(SchedulerPass):
    def __call__(self, nodes: list[Any]) -> list[Any]:
        return list(nodes)


class TurnsNodesRound(SchedulerPass):
    def __call__(self, nodes: list[Any]) -> list[Any]:
        return nodes[::-1]


class DropsTheFirstNode(SchedulerPass):
    def __call__(self, nodes: list[Any]) -> list[Any]:
        return nodes[1:]


class RepeatsTheLastNode(SchedulerPass):
    def __call__(self, nodes: list[Any]) -> list[Any]:
        return [*nodes, nodes[-1]]


class RaisesOnNodes(SchedulerPass):
    def __call__(self, nodes: list[Any]) -> list[Any]:
        raise KeyError("buf7")


class CutsWell(Partitioner):
    def __call__(self, gm: GraphModule, joint_inputs: Sequence[object], **kwargs: Any) -> Any:
        kwargs.pop("compiler", None)
        return default_partition(gm, joint_inputs, **kwargs)


class CutsOutOfOrder(CutsWell):
    def __call__(self, gm: GraphModule, joint_inputs: Sequence[object], **kwargs: Any) -> Any:
        forward, backward = super().__call__(gm, joint_inputs, **kwargs)
        first = next(iter(backward.graph.nodes))
        last = next(node for node in reversed(list(backward.graph.nodes)) if node.op == "call_function")
        first.prepend(last)
        return forward, backward


class CutRaises(CutsWell):
    def __call__(self, gm: GraphModule, joint_inputs: Sequence[object], **kwargs: Any) -> Any:
        raise KeyError("primals_7")


def failure(manager: PassManager, run: Any) -> PassError:
    """The PassError behind what torch raises."""
    with pytest.raises(Exception) as caught:  # noqa: PT011
        run(manager)
    error: BaseException | None = caught.value
    while error is not None and not isinstance(error, PassError):
        error = getattr(error, "inner_exception", None) or error.__cause__ or error.__context__
    assert isinstance(error, PassError), caught.value
    return error
