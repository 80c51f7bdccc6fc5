"""Whatever a pass does wrong, the error names it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.fx import Graph, GraphModule, Node

from passprint import PassError
from passprint.passes import InductorPass
from passprint.pipeline import PassManager

aten = torch.ops.aten


class Good(InductorPass):
    def __call__(self, graph: Graph) -> None:
        return None


class ReturnsGraph(InductorPass):
    def __call__(self, graph: Graph) -> Any:
        return graph


class ReturnsFalse(InductorPass):
    def __call__(self, graph: Graph) -> Any:
        return False


class Raises(InductorPass):
    def __call__(self, graph: Graph) -> None:
        raise KeyError("weights")


def find(graph: Graph, target: object) -> Node:
    return next(node for node in graph.nodes if node.target is target)


class UsesBeforeDefined(InductorPass):
    def __call__(self, graph: Graph) -> None:
        last = find(graph, aten.relu.default)
        find(graph, aten.neg.default).args = (last,)


class UsesForeignNode(InductorPass):
    def __call__(self, graph: Graph) -> None:
        other = Graph()
        find(graph, aten.neg.default).args = (other.placeholder("elsewhere"),)


class UsesErasedNode(InductorPass):
    def __call__(self, graph: Graph) -> None:
        node = find(graph, aten.neg.default)
        user = find(graph, aten.relu.default)
        user.args = (next(iter(graph.nodes)),)
        graph.erase_node(node)
        user.args = (node,)


class MissingAttribute(InductorPass):
    def __call__(self, graph: Graph) -> None:
        with graph.inserting_before(find(graph, aten.neg.default)):
            graph.create_node("get_attr", "no_such_weight")


def sample(length: int = 1) -> Graph:
    graph = Graph()
    node = graph.placeholder("x")
    for _ in range(length):
        node = graph.call_function(aten.neg.default, (node,))
        node = graph.call_function(aten.relu.default, (node,))
    graph.output(node)
    return graph


def error_of(pass_: InductorPass, length: int = 1) -> PassError:
    with pytest.raises(PassError) as caught:
        PassManager([Good(), PassManager([pass_]), Good()])(sample(length))
    return caught.value


@pytest.mark.parametrize(("pass_", "kind"), [(ReturnsGraph(), "Graph"), (ReturnsFalse(), "bool")])
def test_returning_something(pass_: InductorPass, kind: str) -> None:
    error = error_of(pass_)
    assert error.pass_name == pass_.name
    assert error.reason == f"its __call__ returned a {kind}"
    assert pass_.name in str(error)
    assert "must return nothing" in str(error)


def test_raising_keeps_the_cause() -> None:
    error = error_of(Raises())
    assert error.pass_name == "raises"
    assert isinstance(error.__cause__, KeyError)
    assert "raises" in str(error)
    assert "KeyError: 'weights'" in str(error)


@pytest.mark.parametrize(
    ("pass_", "node", "reason"),
    [
        (UsesBeforeDefined(), "neg_default", "comes after it"),
        (UsesForeignNode(), "neg_default", "another graph"),
        (UsesErasedNode(), "relu_default", "was erased"),
    ],
)
def test_breaking_the_graph_names_the_pass_and_the_node(pass_: InductorPass, node: str, reason: str) -> None:
    error = error_of(pass_)
    assert (error.pass_name, error.node) == (pass_.name, node)
    assert reason in error.reason
    assert pass_.name in str(error)
    assert f"> %{node}" in str(error)


def test_other_faults_of_lint_are_passed_on() -> None:
    module = GraphModule(torch.nn.Module(), sample())
    with pytest.raises(PassError) as caught:
        PassManager([MissingAttribute()])(module.graph)
    assert caught.value.pass_name == "missing-attribute"
    assert "no_such_weight" in caught.value.reason
    assert "Traceback" not in str(caught.value)


def test_the_graph_is_shown_in_part() -> None:
    text = str(error_of(UsesBeforeDefined(), length=500))
    assert len(text.splitlines()) < 12


def test_an_interrupt_is_not_the_passs_fault() -> None:
    class Interrupted(InductorPass):
        def __call__(self, graph: Graph) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        PassManager([Interrupted()])(sample())


def test_a_pass_may_say_itself_what_went_wrong() -> None:
    class Says(InductorPass):
        def __call__(self, graph: Graph) -> None:
            raise PassError("no weights here", pass_name="says", node="x")

    error = error_of(Says())
    assert (str(error), error.node) == ("no weights here", "x")
