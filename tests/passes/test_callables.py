"""Functions as passes."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import torch
from torch.fx import Graph

from passprint import PipelineError
from passprint.passes import CallableInductorPass, InductorPass, graph_pass

seen: list[Graph] = []


def record_graph(graph: Graph) -> None:
    seen.append(graph)


@graph_pass
def drop_negations(graph: Graph) -> None:
    for node in graph.find_nodes(op="call_function", target=torch.ops.aten.neg.default):
        node.replace_all_uses_with(node.all_input_nodes[0])
        graph.erase_node(node)


@graph_pass(name="other-name", uuid="by hand")
def named(graph: Graph) -> None:
    return None


def test_a_function_becomes_a_pass() -> None:
    made = CallableInductorPass(record_graph)
    assert isinstance(made, InductorPass)
    assert made.name == str(made) == "record-graph"
    graph = Graph()
    made(graph)
    assert seen.pop() is graph


def test_the_decorator_with_and_without_arguments() -> None:
    assert isinstance(drop_negations, CallableInductorPass)
    assert (drop_negations.name, named.name) == ("drop-negations", "other-name")
    assert named.uuid() == "by hand"
    graph = Graph()
    x = graph.placeholder("x")
    graph.output(graph.call_function(torch.ops.aten.neg.default, (x,)))
    drop_negations(graph)
    assert [node.op for node in graph.nodes] == ["placeholder", "output"]


def make(step: int) -> Any:
    def fn(graph: Graph) -> None:
        graph.lint() if step else None

    return CallableInductorPass(fn)


def test_the_identity_is_the_functions() -> None:
    assert make(1).uuid() == make(1).uuid()
    assert make(1).uuid() != make(2).uuid()
    assert drop_negations.uuid() is not None
    assert drop_negations.uuid() != CallableInductorPass(record_graph, name="drop-negations").uuid()


@pytest.mark.parametrize("uuid", ["by hand", b"bytes", ("a", 1)])
def test_a_uuid_by_hand_is_given_as_it_is(uuid: object) -> None:
    assert CallableInductorPass(record_graph, uuid).uuid() is uuid
    assert CallableInductorPass(record_graph, uuid=uuid).uuid() is uuid


def test_it_is_frozen_and_compares_by_value() -> None:
    made = CallableInductorPass(record_graph)
    assert made == CallableInductorPass(record_graph)
    assert made != CallableInductorPass(record_graph, "x")
    with pytest.raises(AttributeError):
        made.fn = print  # type: ignore[misc]
    again = pickle.loads(pickle.dumps(made))
    assert (again, again.name) == (made, made.name)


@pytest.mark.parametrize("value", [3, "text", None])
def test_what_cannot_be_called_is_refused(value: Any) -> None:
    with pytest.raises(PipelineError, match="cannot be called"):
        CallableInductorPass(value)
