"""What a pass did is counted in C as it is in Python, whatever it did; and a graph is left as it was found."""

from __future__ import annotations

import copy
import operator
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.fx import Graph, GraphModule, Node

from passprint.passes import RewriteCounter, rewrites
from passprint.passes.branches import branches_of
from passprint.passes.changes import Changes

aten = torch.ops.aten
#: The counter as it is where no C module was built.
InPython: Any = type(
    "InPython", (Changes,), {name: part for name, part in vars(RewriteCounter).items() if name != "__doc__"}
)

needs_both = pytest.mark.skipif(rewrites.Changes is Changes, reason="the C module was not built")


def web(owned: bool) -> Graph:
    """Unary and binary operators in a row, an attribute, and two outputs."""
    graph = Graph()
    last, other = graph.placeholder("x"), graph.placeholder("y")
    for target in (aten.neg.default, aten.relu.default, aten.cos.default):
        last = graph.call_function(target, (last,))
        other = graph.call_function(aten.add.Tensor, (last, other), {"alpha": 2})
    graph.call_function(aten.sin.default, (other,))  # nobody uses it
    graph.output((last, other))
    return GraphModule(torch.nn.Module(), graph).graph if owned else graph


def _calls(graph: Graph) -> list[Node]:
    return [node for node in graph.nodes if node.op == "call_function"]


def _replace(graph: Graph, one: Node, two: Node) -> None:
    with graph.inserting_before(one):
        new = graph.call_function(aten.sigmoid.default, (one.all_input_nodes[0],))
    one.replace_all_uses_with(new)
    graph.erase_node(one)


def _skip(graph: Graph, one: Node, two: Node) -> None:
    one.replace_all_uses_with(one.all_input_nodes[0])


def _use_instead(graph: Graph, one: Node, two: Node) -> None:
    for user in list(one.users):
        user.replace_input_with(one, two)


def _move(graph: Graph, one: Node, two: Node) -> None:
    two.append(one)


def _retarget(graph: Graph, one: Node, two: Node) -> None:
    one.target = aten.tanh.default if len(one.args) == 1 else aten.sub.Tensor


def _spoil(graph: Graph, one: Node, two: Node) -> None:
    one.target = "no operator"


def _set_equal_arguments(graph: Graph, one: Node, two: Node) -> None:
    one.args = tuple(one.args)


def _set_arguments(graph: Graph, one: Node, two: Node) -> None:
    one.args = (two, *one.args[1:])


def _set_options(graph: Graph, one: Node, two: Node) -> None:
    one.kwargs = {"alpha": 3} if one.kwargs else {}


def _rename(graph: Graph, one: Node, two: Node) -> None:
    one.name = f"{one.name}_again"


def _annotate(graph: Graph, one: Node, two: Node) -> None:
    one.meta["seen"] = True
    one.meta = dict(one.meta)


def _add(graph: Graph, one: Node, two: Node) -> None:
    with graph.inserting_after(one):
        graph.call_function(aten.mul.Tensor, (one, two))


def _add_attribute(graph: Graph, one: Node, two: Node) -> None:
    with graph.inserting_before(one):
        graph.create_node("get_attr", "weight")


def _erase(graph: Graph, one: Node, two: Node) -> None:
    if not one.users:
        graph.erase_node(one)


def _clean(graph: Graph, one: Node, two: Node) -> None:
    for node in reversed(_calls(graph)):
        _erase(graph, node, two)


EDITS: list[Callable[[Graph, Node, Node], None]] = [
    _replace, _skip, _use_instead, _move, _retarget, _spoil, _set_equal_arguments, _set_arguments, _set_options,
    _rename, _annotate, _add, _add_attribute, _erase, _clean,
]  # fmt: skip

steps = st.tuples(st.sampled_from(EDITS), st.integers(0, 20), st.integers(0, 20))
passes = st.lists(st.lists(steps, max_size=4), min_size=1, max_size=4)


def _edit(graph: Graph, edits: list[tuple[Callable[[Graph, Node, Node], None], int, int]]) -> None:
    for edit, first, second in edits:
        calls = _calls(graph)
        if calls:
            edit(graph, calls[first % len(calls)], calls[second % len(calls)])


def _table(graph: Graph) -> Any:
    return graph._find_nodes_lookup_table


def _follow(
    kind: Any, graph: Graph, given: list[Any]
) -> list[tuple[int, bool, bool, bool, list[tuple[str, str]]]]:
    told: list[tuple[str, str]] = []
    counter = kind(graph, lambda old, new: told.append((old.name, new)))
    found = []
    for edits in given:
        counter.begin()
        _edit(graph, edits)
        changed = counter.end()
        assert counter.changed is changed
        found.append((counter.rewrites, changed, counter.is_ready, counter.is_sound(), list(told)))
    counter.close()
    return found


@needs_both
@given(given=passes, owned=st.booleans())
def test_c_counts_as_python_does(given: list[Any], owned: bool) -> None:
    ours, theirs = web(owned), web(owned)
    assert _follow(RewriteCounter, ours, given) == _follow(InPython, theirs, given)
    assert str(ours) == str(theirs)


def branching() -> Graph:
    """A graph with two graphs within, one of which is within the other."""
    inner, outer, graph = web(owned=True), web(owned=True), web(owned=True)
    for around, within in ((outer, inner), (graph, outer)):
        module: Any = around.owning_module
        module.add_module("branch", within.owning_module)
        with around.inserting_before(_calls(around)[0]):
            around.create_node("get_attr", "branch")
    return graph


@needs_both
@given(given=st.lists(st.tuples(st.integers(0, 2), st.lists(steps, max_size=3)), min_size=1, max_size=4))
def test_c_counts_within_as_python_does(given: list[Any]) -> None:
    def follow(kind: Any) -> list[tuple[int, bool, bool]]:
        graph = branching()
        counter, found = kind(graph), []
        for at, edits in given:
            counter.begin()
            _edit([graph, *branches_of(graph).values()][at], edits)
            changed = counter.end()
            found.append((counter.rewrites, changed, counter.is_sound()))
        counter.close()
        assert not any(vars(_table(one)).keys() - {"table"} for one in (graph, *branches_of(graph).values()))
        return found

    assert follow(RewriteCounter) == follow(InPython)


@pytest.mark.parametrize("kind", [RewriteCounter, InPython])
def test_a_graph_is_left_as_it_was_found(kind: Any) -> None:
    graph = web(owned=True)
    module: Any = graph.owning_module
    hooks = (list(module._replace_hooks), list(module._erase_node_hooks))
    with kind(graph) as outer:
        with kind(graph) as inner:
            _skip(graph, _calls(graph)[0], _calls(graph)[1])
        _skip(graph, _calls(graph)[2], _calls(graph)[1])
    assert (outer.rewrites, inner.rewrites) == (2, 1)
    assert vars(_table(graph)).keys() == {"table"}
    assert (module._replace_hooks, module._erase_node_hooks) == hooks


@pytest.mark.parametrize("kind", [RewriteCounter, InPython])
def test_a_graph_can_be_copied_meanwhile(kind: Any) -> None:
    graph = web(owned=True)
    module: Any = graph.owning_module
    with kind(graph) as counter:
        copied = copy.deepcopy(module)
        _replace(copied.graph, _calls(copied.graph)[0], _calls(copied.graph)[0])
    assert (counter.rewrites, counter.changed) == (0, False)


@pytest.mark.parametrize("owned", [True, False], ids=["owned", "bare"])
@pytest.mark.parametrize("kind", [RewriteCounter, InPython])
def test_a_graph_can_be_pickled_meanwhile(kind: Any, owned: bool) -> None:
    graph = Graph()
    graph.output((graph.call_function(operator.neg, (graph.placeholder("x"),)),))
    whole: Any = GraphModule(torch.nn.Module(), graph) if owned else graph
    graph = whole.graph if owned else graph
    with kind(graph) as counter:
        loaded = pickle.loads(pickle.dumps(whole))
        loaded = loaded.graph if owned else loaded
        _replace(loaded, _calls(loaded)[0], _calls(loaded)[0])
    assert (counter.rewrites, counter.changed) == (0, False)
    assert loaded.find_nodes(op="call_function", target=aten.sigmoid.default)
    loaded.lint()


@pytest.mark.parametrize("kind", [RewriteCounter, InPython])
def test_a_raising_listener_stops_the_rewrite(kind: Any) -> None:
    def refuse(old: Node, new: str) -> None:
        raise ValueError(f"not {new}")

    graph = web(owned=True)
    with kind(graph, refuse) as counter, pytest.raises(ValueError, match="not x"):
        _skip(graph, _calls(graph)[0], _calls(graph)[0])
    assert not counter.changed
