"""Broken passes: what has no place in a graph of operators."""

from __future__ import annotations

import torch
from tests.pipeline.broken.suite import aten, broken, find, inputs_of, replace
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx import Graph


def minus(x: Tensor) -> Tensor:
    return -x


@broken("operator")
def torch_function(graph: Graph) -> None:
    """The function that a model would call; Inductor has lowerings for operators only."""
    node = find(graph, aten.neg.default)
    replace(node, torch.neg, node.args)


@broken("operator")
def overload_packet(graph: Graph) -> None:
    """What torch calls before it chose an overload; patterns and schemas are of overloads."""
    node = find(graph, aten.neg.default)
    replace(node, aten.neg, node.args)


@broken("operator")
def target_becomes_a_packet(graph: Graph) -> None:
    find(graph, aten.exp.default).target = aten.exp


@broken("operator")
def python_function(graph: Graph) -> None:
    node = find(graph, aten.neg.default)
    replace(node, minus, node.args)


@broken("operator")
def method(graph: Graph) -> None:
    node = find(graph, aten.neg.default)
    with graph.inserting_before(node):
        new = graph.call_method("neg", node.args)
    new.meta["val"] = node.meta["val"]
    node.replace_all_uses_with(new)
    graph.erase_node(node)


@broken("arguments")
def tensor_among_the_arguments(graph: Graph) -> None:
    node = find(graph, aten.sub.Tensor, -1)
    node.args = (node.args[0], torch.tensor(1.0))  # type: ignore[assignment]


@broken("stale val")
def real_tensor_as_val(graph: Graph) -> None:
    node = find(graph, aten.amax.default)
    node.meta["val"] = torch.empty(12, 1)


@broken("stale val")
def val_of_another_mode(graph: Graph) -> None:
    """As of a pass that keeps annotations from one graph for the next."""
    node = find(graph, aten.amax.default)
    with FakeTensorMode():
        node.meta["val"] = torch.empty(12, 1)


@broken("signature")
def input_annotated_anew(graph: Graph) -> None:
    """The operators that read it take either, and give the same."""
    node = inputs_of(graph, torch.int64, 1)
    with node.meta["val"].fake_mode:
        node.meta["val"] = torch.empty(3, dtype=torch.int32)


@broken("name")
def two_of_one_name(graph: Graph) -> None:
    find(graph, aten.neg.default).name = find(graph, aten.exp.default).name
