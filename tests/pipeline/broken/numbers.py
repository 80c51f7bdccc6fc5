"""Broken passes: other numbers, other graphs each time, errors."""

from __future__ import annotations

import operator
import random

import torch
from tests.pipeline.broken.suite import aten, broken, find, inputs_of, prims, replace
from torch.fx import Graph

from passprint.pipeline.snapshots import copy_graph


@broken("constant")
def epsilon_forgotten(graph: Graph) -> None:
    node = find(graph, aten.add.Tensor)
    node.args = (node.args[0], 1e-1)


@broken("constant")
def scale_wrong(graph: Graph) -> None:
    for node in graph.nodes:
        if node.target is aten.mul.Tensor and node.args[1] == 0.125:
            node.args = (node.args[0], 0.25)


@broken("constant")
def wrong_dimension(graph: Graph) -> None:
    node = find(graph, aten.amax.default)
    sums = find(graph, aten.sum.dim_IntList)
    sums.args = (find(graph, aten.where.self), *sums.args[1:])
    assert node.graph is graph


@broken("constant")
def wrong_index(graph: Graph) -> None:
    node = find(graph, operator.getitem)
    node.args = (node.args[0], 1)


@broken("meaning")
def operands_swapped(graph: Graph) -> None:
    node = find(graph, aten.sub.Tensor)
    node.args = (node.args[1], node.args[0])


@broken("meaning")
def another_function(graph: Graph) -> None:
    node = find(graph, aten.rsqrt.default)
    replace(node, aten.sqrt.default, node.args)


@broken("meaning")
def comparison_not_strict(graph: Graph) -> None:
    node = find(graph, aten.gt.Scalar)
    replace(node, aten.le.Scalar, node.args)


@broken("meaning")
def inputs_confused(graph: Graph) -> None:
    """Of the right shape and dtype, and another value."""
    node = find(graph, aten.mul.Tensor, 0)
    node.args = (inputs_of(graph, torch.float32, 3), node.args[1])
    find(graph, aten.pow.Tensor_Scalar).args = (inputs_of(graph, torch.float32, 3), 3)
    graph.eliminate_dead_code()


@broken("meaning")
def rounding_skipped(graph: Graph) -> None:
    """The detour through bfloat16 rounds, and is no detour."""
    node = find(graph, prims.convert_element_type.default, 1)
    narrow = node.args[0]
    node.replace_all_uses_with(narrow.args[0])  # type: ignore[union-attr,arg-type]
    graph.erase_node(node)
    graph.erase_node(narrow)  # type: ignore[arg-type]


@broken("meaning")
def dropout_kept_on(graph: Graph) -> None:
    node = find(graph, aten.mul.Tensor, -2)
    node.replace_all_uses_with(find(graph, aten.mul.Tensor, -4))
    graph.eliminate_dead_code()


@broken("determinism")
def random_order(graph: Graph) -> None:
    """Which of two equal rewrites is made is drawn anew each time."""
    _draws.append(len(_draws))
    node = find(graph, aten.neg.default)
    target = (aten.neg.default, aten.negative.default)[len(_draws) % 2]
    replace(node, target, node.args)


@broken("determinism")
def random_constant(graph: Graph) -> None:
    node = find(graph, aten.sub.Tensor, -1)
    node.args = (node.args[0], 1.0 + random.random() * 1e-9)


_draws: list[int] = []


@broken("raises")
def raises(graph: Graph) -> None:
    raise KeyError("weights")


@broken("raises")
def returns_a_graph(graph: Graph) -> None:
    return copy_graph(graph)  # type: ignore[return-value]
