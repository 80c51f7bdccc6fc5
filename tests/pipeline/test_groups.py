"""Groups that repeat until nothing changes: what counts as a change, and what happens at the limit."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import pytest
import torch
from torch.fx import Graph, Node

from passprint import PipelineError
from passprint.passes import InductorPass, Partitioner, SchedulerPass, pass_context
from passprint.passes.context import CompileRange
from passprint.pipeline import FixedPoint, FixedPointWarning, PassManager
from passprint.pipeline.groups import GraphShape

aten = torch.ops.aten


class GroupDropOne(InductorPass):
    """Drops one pair of negations a run, so that a chain of n takes n rounds and one that finds nothing."""

    def __call__(self, graph: Graph) -> None:
        for node in graph.find_nodes(op="call_function", target=aten.neg.default):
            node.replace_all_uses_with(node.all_input_nodes[0])
            graph.erase_node(node)
            return


class GroupFlip(InductorPass):
    """Undoes with every run what the last one did."""

    def __call__(self, graph: Graph) -> None:
        for node in graph.nodes:
            if node.target in (aten.neg.default, aten.abs.default):
                node.target = aten.abs.default if node.target is aten.neg.default else aten.neg.default


class GroupRebuild(InductorPass):
    """Replaces every call by an equal one: new nodes, the same graph."""

    def __call__(self, graph: Graph) -> None:
        for node in list(graph.nodes):
            if node.op == "call_function":
                with graph.inserting_before(node):
                    again = graph.call_function(node.target, tuple(node.args), dict(node.kwargs))
                node.replace_all_uses_with(again)
                graph.erase_node(node)


class GroupCount(InductorPass):
    def __call__(self, graph: Graph) -> None:
        return None


class GroupNodes(SchedulerPass):
    def __call__(self, nodes: list[Any]) -> list[Any]:
        return nodes


class GroupCut(Partitioner):
    def __call__(self, gm: Any, joint_inputs: Any, **kwargs: Any) -> Any:
        return gm, gm


def chain(negations: int) -> Graph:
    graph = Graph()
    node = graph.placeholder("x")
    for _ in range(negations):
        node = graph.call_function(aten.neg.default, (node,))
    graph.output(graph.call_function(aten.sum.dim_IntList, (node, [0, 1]), {"dtype": torch.float32}))
    return graph


def length(graph: Graph) -> int:
    return len(graph.find_nodes(op="call_function", target=aten.neg.default))


def run(group: FixedPoint, graph: Graph) -> tuple[dict[str, int], list[str]]:
    with warnings.catch_warnings(record=True) as caught, pass_context(CompileRange.any()) as context:
        warnings.simplefilter("always")
        PassManager([group])(graph)
    return context.matches, [str(one.message) for one in caught if one.category is FixedPointWarning]


def test_a_group_runs_until_a_round_changes_nothing() -> None:
    graph = chain(5)
    matches, said = run(FixedPoint([GroupDropOne(), GroupCount()], max=8), graph)
    assert length(graph) == 0
    assert matches == {"group-drop-one": 5, "group-count": 0}
    assert said == []


def test_what_happens_at_the_limit_is_said() -> None:
    graph = chain(5)
    _, said = run(FixedPoint([GroupCount(), GroupDropOne()], max=3), graph)
    assert length(graph) == 2
    (message,) = said
    assert "fixed-point(max=3){group-count,group-drop-one} had not settled after 3 rounds" in message
    assert "'group-drop-one' (1)" in message
    assert "group-count'" not in message


def test_a_group_that_settles_in_the_last_round_allowed_is_not_complained_of() -> None:
    graph = chain(2)
    assert run(FixedPoint([GroupDropOne()], max=3), graph)[1] == []
    assert length(graph) == 0


def test_passes_that_undo_each_other_reach_the_limit() -> None:
    assert len(run(FixedPoint([GroupFlip()]), chain(1))[1]) == 1
    assert run(FixedPoint([GroupFlip(), GroupFlip()]), chain(1))[1] == []


def test_new_nodes_alone_are_no_change() -> None:
    matches, said = run(FixedPoint([GroupRebuild()]), chain(2))
    assert said == []
    assert matches["group-rebuild"] > 0


def test_groups_stand_in_groups() -> None:
    graph = chain(4)
    inner = FixedPoint([GroupDropOne()], max=2)
    with pytest.warns(FixedPointWarning):
        PassManager([FixedPoint([inner, PassManager([GroupCount()])], max=9)])(graph)
    assert length(graph) == 0


@pytest.mark.parametrize("rounds", [0, -1, True, 2.0, "4"])
def test_a_limit_is_a_number_of_rounds(rounds: Any) -> None:
    with pytest.raises(PipelineError, match="whole number of rounds"):
        FixedPoint([], max=rounds)


def test_a_group_repeats_over_one_graph() -> None:
    for hook, member in (("scheduler_pre", GroupNodes()), ("partitioner", GroupCut())):
        with pytest.raises(PipelineError, match=f"run at {hook}"):
            FixedPoint([member], hook=hook)
    with pytest.raises(PipelineError, match="run at pre_grad and post_grad_post"):
        FixedPoint([PassManager(hook="pre_grad"), PassManager(hook="post_grad_post")])


def uuid(*passes: Any) -> str:
    found = PassManager(passes).uuid()
    assert found is not None
    return found


def test_a_group_is_part_of_the_identity_with_its_limit() -> None:
    made = FixedPoint([GroupCount()], max=3)
    everything = [
        uuid(GroupCount()),
        uuid(PassManager([GroupCount()])),
        uuid(FixedPoint([GroupCount()])),
        uuid(made),
        uuid(FixedPoint([GroupCount(), GroupCount()], max=3)),
        uuid(FixedPoint([made], max=3)),
    ]
    assert len(set(everything)) == len(everything)
    assert uuid(FixedPoint([GroupCount()], max=3)) == uuid(made)
    assert made == FixedPoint([GroupCount()], max=3) == pickle.loads(pickle.dumps(made))
    assert made not in (FixedPoint([GroupCount()]), PassManager([GroupCount()]))
    assert hash(made) == hash(FixedPoint([GroupCount()], max=3))


# -- what is a change


def edited(edit: Any) -> bool:
    """Whether ``edit`` of the graph counts as a change."""
    graph = chain(2)
    nodes = list(graph.nodes)
    before = GraphShape(graph)
    edit(graph, *nodes)
    return not before.is_same(GraphShape(graph))


def replace_by_equal(graph: Graph, x: Node, first: Node, *more: Node) -> None:
    with graph.inserting_before(first):
        again = graph.call_function(first.target, first.args)
    first.replace_all_uses_with(again)
    graph.erase_node(first)


def test_what_changes_a_graph() -> None:
    assert edited(lambda graph, x, a, b, s, out: setattr(a, "target", aten.abs.default))
    assert edited(lambda graph, x, a, b, s, out: setattr(b, "args", (x,)))
    assert edited(lambda graph, x, a, b, s, out: setattr(s, "args", (b, [0, 2])))
    assert edited(lambda graph, x, a, b, s, out: setattr(s, "args", (b, [0, True])))
    assert edited(lambda graph, x, a, b, s, out: setattr(s, "kwargs", {"dtype": torch.float64}))
    assert edited(lambda graph, x, a, b, s, out: setattr(s, "kwargs", {}))
    assert edited(lambda graph, x, a, b, s, out: graph.placeholder("y"))
    assert edited(lambda graph, x, a, b, s, out: setattr(out, "args", (b,)))


def test_what_does_not() -> None:
    assert not edited(lambda graph, *nodes: None)
    assert not edited(lambda graph, x, a, b, s, out: setattr(s, "args", (b, [0, 1])))
    assert not edited(lambda graph, x, a, b, s, out: setattr(a, "args", (x,)))
    assert not edited(lambda graph, x, a, b, s, out: a.meta.update(val=1))
    assert not edited(replace_by_equal)
