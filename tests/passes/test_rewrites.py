"""Rewrites are computed from the graph, whatever a pass does to it and says about it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.fx import Graph, GraphModule, Node

from passprint.passes import RewriteCounter

aten = torch.ops.aten
Rewrite = Callable[[Graph], None]


def chain(length: int = 4) -> Graph:
    """x → neg → relu → neg → relu … → output."""
    graph = Graph()
    node = graph.placeholder("x")
    for position in range(length):
        node = graph.call_function(aten.neg.default if position % 2 == 0 else aten.relu.default, (node,))
    graph.output((node,))
    return graph


def nodes(graph: Graph, target: object) -> list[Node]:
    return [node for node in graph.nodes if node.target is target]


def nothing(graph: Graph) -> None:
    for node in graph.nodes:
        node.meta["seen"] = True


def replace_one(graph: Graph) -> None:
    node = nodes(graph, aten.neg.default)[0]
    node.replace_all_uses_with(node.all_input_nodes[0])
    graph.erase_node(node)


def replace_both(graph: Graph) -> None:
    for node in nodes(graph, aten.neg.default):
        node.replace_all_uses_with(node.all_input_nodes[0])
        graph.erase_node(node)


def replace_in_a_row(graph: Graph) -> None:
    for node in [node for node in graph.nodes if node.op == "call_function"]:
        node.replace_all_uses_with(node.all_input_nodes[0])
        graph.erase_node(node)


def fuse_all(graph: Graph) -> None:
    """Four nodes become one: one rewrite."""
    last = next(iter(reversed(graph.nodes))).all_input_nodes[0]
    first = next(iter(graph.nodes))
    with graph.inserting_before(last):
        new = graph.call_function(aten.sigmoid.default, (first,))
    last.replace_all_uses_with(new)
    graph.eliminate_dead_code()


def replace_step_by_step(graph: Graph) -> None:
    node = nodes(graph, aten.neg.default)[0]
    for target in (aten.cos.default, aten.sin.default):
        with graph.inserting_after(node):
            new = graph.call_function(target, (node.all_input_nodes[0],))
        node.replace_all_uses_with(new)
        graph.erase_node(node)
        node = new


def edit_target(graph: Graph) -> None:
    nodes(graph, aten.neg.default)[0].target = aten.cos.default


def rewire_by_hand(graph: Graph) -> None:
    second = nodes(graph, aten.relu.default)[0]
    second.args = (next(iter(graph.nodes)),)
    graph.erase_node(nodes(graph, aten.neg.default)[0])


def drop_dead_ends(graph: Graph) -> None:
    graph.eliminate_dead_code()


def add_dead_ends(graph: Graph) -> None:
    with graph.inserting_after(next(iter(graph.nodes))):
        graph.call_function(aten.cos.default, (next(iter(graph.nodes)),))


def set_the_same_arguments(graph: Graph) -> None:
    for node in nodes(graph, aten.relu.default):
        node.args = (node.args[0],)


CASES: list[tuple[Rewrite, int, bool]] = [
    (nothing, 0, False),
    (replace_one, 1, True),
    (replace_both, 2, True),
    (fuse_all, 1, True),
    (replace_step_by_step, 1, True),
    (edit_target, 1, True),
    (rewire_by_hand, 1, True),
    (drop_dead_ends, 0, False),
    (add_dead_ends, 0, True),
    (set_the_same_arguments, 0, True),
]


@pytest.mark.parametrize("owned", [True, False], ids=["owned", "bare"])
@pytest.mark.parametrize(("rewrite", "expected", "changed"), CASES)
def test_rewrites_are_counted(rewrite: Rewrite, expected: int, changed: bool, owned: bool) -> None:
    graph = chain()
    module = GraphModule(torch.nn.Module(), graph) if owned else None
    graph = module.graph if module is not None else graph
    with RewriteCounter(graph) as counter:
        rewrite(graph)
    assert (counter.rewrites, counter.changed) == (expected, changed)


def test_replacements_in_a_row_all_count() -> None:
    module = GraphModule(torch.nn.Module(), chain(4))
    with RewriteCounter(module.graph) as counter:
        replace_in_a_row(module.graph)
    assert counter.rewrites == 4


def test_dead_ends_that_are_dropped_count_once_each() -> None:
    graph = chain()
    first = next(iter(graph.nodes))
    with graph.inserting_after(first):
        for _ in range(2):  # two dead ends of two nodes each
            inner = graph.call_function(aten.cos.default, (first,))
            inner.append(graph.call_function(aten.sin.default, (inner,)))
    module = GraphModule(torch.nn.Module(), graph)
    with RewriteCounter(module.graph) as counter:
        drop_dead_ends(module.graph)
    assert counter.rewrites == 2


def test_moving_a_node_is_a_change_and_no_rewrite() -> None:
    graph = Graph()
    x = graph.placeholder("x")
    first = graph.call_function(aten.neg.default, (x,))
    second = graph.call_function(aten.cos.default, (x,))
    graph.output((first, second))
    with RewriteCounter(graph) as counter:
        second.append(first)
    assert (counter.rewrites, counter.changed) == (0, True)


def test_nothing_is_left_on_the_module() -> None:
    module = GraphModule(torch.nn.Module(), chain())
    with pytest.raises(KeyError), RewriteCounter(module.graph):
        raise KeyError
    assert module._replace_hooks == []
    assert module._erase_node_hooks == []
