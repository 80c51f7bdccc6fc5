"""What is remembered of one node holds for another: pairs of nodes that differ in one thing each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.pipeline.instruments.graphs import traced
from torch import Tensor
from torch.fx import Graph, Node

from passprint.passes import torch_door
from passprint.passes.annotations import mode_of
from passprint.pipeline.annotated import unlike_in
from passprint.pipeline.propagation import Propagation, lie_together, tensors_of

PAIRS: dict[str, Callable[[Tensor, Tensor], tuple[Any, ...]]] = {
    "the same": lambda x, y: (x.sin(), y.sin()),
    "dtype": lambda x, y: (x.sin(), y.half().sin()),
    "shape": lambda x, y: (x.sin(), y[:2].sin()),
    "strides": lambda x, y: (x.sin(), y.t().sin()),
    "a whole number and a float": lambda x, y: (x.long() + 1, y.long() + 1.0),
    "a truth value": lambda x, y: (torch.full_like(x, 1), torch.full_like(y, True, dtype=torch.bool)),
    "minus nothing": lambda x, y: (x + 0.0, y + -0.0),
    "a dimension": lambda x, y: (x.sum(0), y.sum(1)),
    "an option": lambda x, y: (x.sum(0), y.sum(0, keepdim=True)),
    "a list": lambda x, y: (torch.cat([x, y]), torch.cat([x, y, x])),
    "one argument twice": lambda x, y: (x + y, x + x),
    "a view and a copy": lambda x, y: (x.reshape(16), y.t().reshape(16)),
    "where it begins": lambda x, y: (x[0:2].view(8), y[1:3].view(8)),
    "one memory": lambda x, y: (torch.cat([x[0], x[1]]), torch.cat([x[0], y[1]])),
    "several results": lambda x, y: (torch.split(x, 2), torch.split(y, 1)),
    "complex": lambda x, y: (x.to(torch.complex64).conj(), y.to(torch.complex64)),
}


def operators(graph: Graph) -> list[Node]:
    return [node for node in graph.nodes if node.op == "call_function"]


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("name", PAIRS)
def test_what_is_remembered_is_what_the_node_gives(name: str, dynamic: bool) -> None:
    graph = traced(PAIRS[name], torch.randn(4, 4), torch.randn(4, 4), dynamic=dynamic)
    mode, remembered = mode_of(graph), Propagation()
    with torch_door.propagating(mode):
        for node in operators(graph):
            expected, found = Propagation().of(node, mode), remembered.of(node, mode)
            assert unlike_in(found.value, expected.value) is None
            assert found.shares == expected.shares


def test_the_memory_of_each_argument_is_told_apart() -> None:
    graph = traced(lambda x, y: (x.view(16), torch.cat([x, y])), torch.randn(4, 4), torch.randn(4, 4))
    mode = mode_of(graph)
    view, cat = operators(graph)
    with torch_door.propagating(mode):
        assert Propagation().of(view, mode).shares == (True,)
        assert Propagation().of(cat, mode).shares == (False, False)
    (_, x), (_, y) = tensors_of(cat)
    assert lie_together(x, view.meta["val"])
    assert not lie_together(x, y)


def test_writing_operators_and_other_libraries_are_always_asked() -> None:
    graph = traced(lambda x: (x.neg(), x.neg()), torch.randn(4))
    mode, remembered = mode_of(graph), Propagation()
    first, second = operators(graph)
    with torch_door.propagating(mode):
        assert remembered.of(first, mode).value is remembered.of(second, mode).value
        for node in (first, second):
            node.target = torch.ops.aten.neg_.default
        assert remembered.of(first, mode).value is first.args[0].meta["val"]
