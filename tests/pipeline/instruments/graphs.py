"""Small annotated graphs for tests, traced without a compile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph
from torch.fx.experimental.proxy_tensor import make_fx

from passprint import InductorPass
from passprint.passes import Pattern, PatternPass

aten = torch.ops.aten


def traced(fn: Callable[..., Any], *inputs: Any, dynamic: bool = False) -> Graph:
    """The graph of ``fn`` on these inputs, annotated."""
    graph: Graph = make_fx(fn, tracing_mode="symbolic" if dynamic else "fake")(*inputs).graph
    return graph


def chain(length: int = 3) -> Graph:
    """``relu(relu(…(neg(x))))``."""

    def fn(x: Tensor) -> Tensor:
        x = torch.neg(x)
        for _ in range(length):
            x = torch.relu(x)
        return x

    return traced(fn, torch.randn(2, 3))


class NegToSub(InductorPass):
    """``-x`` as ``0 - x``: one rewrite for each neg."""

    def __call__(self, graph: Graph) -> None:
        for node in graph.find_nodes(op="call_function", target=aten.neg.default):
            with graph.inserting_before(node):
                new = graph.call_function(aten.rsub.Scalar, (node.args[0], 0.0))
            new.meta["val"] = node.meta["val"]
            node.replace_all_uses_with(new)
            graph.erase_node(node)


class Nothing(InductorPass):
    def __call__(self, graph: Graph) -> None:
        pass


class RaisesKeyError(InductorPass):
    def __call__(self, graph: Graph) -> None:
        raise KeyError("weights")


class ReluToClamp(PatternPass):
    """Patterns for tests: ``relu(x)`` becomes ``clamp_min(x, 0)``."""

    def patterns(self) -> list[Pattern]:
        return [Pattern("relu", _relu, _clamp, [torch.empty(2, 3)])]


def _relu(x: Tensor) -> Tensor:
    return torch.relu(x)


def _clamp(x: Tensor) -> Tensor:
    return torch.clamp_min(x, 0)
