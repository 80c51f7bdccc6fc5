"""Broken passes: order, users, leftovers, inputs and outputs, arguments."""

from __future__ import annotations

import operator

import torch
from tests.pipeline.broken.suite import aten, broken, find, inputs_of, output_of
from torch.fx import Graph

from passprint.pipeline.snapshots import copy_graph


@broken("order")
def used_before_defined(graph: Graph) -> None:
    find(graph, aten.cat.default).append(find(graph, aten.neg.default))


@broken("order")
def input_moved_behind(graph: Graph) -> None:
    find(graph, aten.mm.default).append(inputs_of(graph, torch.float32, 3))


@broken("dropped user")
def output_without_a_result(graph: Graph) -> None:
    node = output_of(graph)
    node.args = (node.args[0][:-1],)  # type: ignore[index]


@broken("dropped user")
def result_replaced_by_none(graph: Graph) -> None:
    node = output_of(graph)
    node.args = ((None, *node.args[0][1:]),)  # type: ignore[misc,index]


@broken("dropped user")
def users_edited(graph: Graph) -> None:
    node = find(graph, aten.rsqrt.default)
    node.users.clear()


@broken("dropped user")
def foreign_node(graph: Graph) -> None:
    other = copy_graph(graph)
    find(graph, aten.neg.default).args = (find(other, operator.getitem),)


@broken("leak")
def old_node_left(graph: Graph) -> None:
    node = find(graph, aten.neg.default)
    with graph.inserting_after(node):
        new = graph.call_function(aten.neg.default, node.args)
    new.meta["val"] = node.meta["val"]
    node.replace_all_uses_with(new)


@broken("leak")
def new_node_unused(graph: Graph) -> None:
    node = find(graph, aten.exp.default)
    with graph.inserting_after(node):
        graph.call_function(aten.log.default, (node,)).meta["val"] = node.meta["val"]


@broken("signature")
def input_dropped(graph: Graph) -> None:
    node = inputs_of(graph, torch.int64, 1)
    with graph.inserting_before(find(graph, aten.index.Tensor)):
        new = graph.call_function(
            aten.arange.default, (3,), {"dtype": torch.int64, "device": torch.device("cpu")}
        )
    with node.meta["val"].fake_mode:
        new.meta["val"] = torch.arange(3)
    node.replace_all_uses_with(new)
    graph.erase_node(node)


@broken("signature")
def inputs_swapped(graph: Graph) -> None:
    first = next(iter(graph.nodes))
    inputs_of(graph, torch.int64, 1).append(first)


@broken("signature")
def outputs_swapped(graph: Graph) -> None:
    node = output_of(graph)
    first, second, *others = node.args[0]  # type: ignore[misc]
    node.args = ((second, first, *others),)


@broken("arguments")
def operator_refuses(graph: Graph) -> None:
    node = find(graph, aten.mm.default)
    node.args = (node.args[0], node.args[0])


@broken("arguments")
def too_many_arguments(graph: Graph) -> None:
    node = find(graph, aten.rsqrt.default)
    node.args = (*node.args, 1.0)
