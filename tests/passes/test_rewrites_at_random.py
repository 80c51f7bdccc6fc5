"""Random edits, sound and unsound: what is said to be sound lints, and nothing that changed goes unseen."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
import torch
from torch.fx import Graph, GraphModule, Node

from passprint.passes import RewriteCounter

aten = torch.ops.aten
FOREIGN = Graph().placeholder("foreign")


def start(random: Random, length: int = 8) -> GraphModule:
    graph = Graph()
    nodes = [graph.placeholder("x"), graph.placeholder("y")]
    for _ in range(length):
        nodes.append(graph.call_function(aten.add.Tensor, tuple(random.choices(nodes, k=2))))
    graph.output((nodes[-1], nodes[-2]))
    return GraphModule(torch.nn.Module(), graph)


class Edits:
    """What a pass may do to a graph, well or badly."""

    def __init__(self, graph: Graph, random: Random) -> None:
        self.graph, self.random, self.gone = graph, random, [FOREIGN]

    def inner(self) -> Node:
        return self.random.choice([node for node in self.graph.nodes if node.op == "call_function"])

    def any(self) -> Node:
        return self.random.choice([node for node in self.graph.nodes if node.op != "output"])

    def before(self, node: Node) -> Node:
        nodes = list(self.graph.nodes)
        return self.random.choice(nodes[: nodes.index(node)])

    def make(self) -> None:
        place = self.inner()
        with self.graph.inserting_before(place):
            made = self.graph.call_function(aten.mul.Tensor, (self.before(place), self.before(place)))
        if self.random.random() < 0.7:
            place.replace_all_uses_with(made, delete_user_cb=lambda user: user is not made)

    def replace(self) -> None:
        node = self.inner()
        node.replace_all_uses_with(self.before(node))

    def erase(self) -> None:
        dead = [node for node in self.graph.nodes if node.op == "call_function" and not node.users]
        for node in dead[:2]:
            self.graph.erase_node(node)
            self.gone.append(node)

    def rewire(self) -> None:
        node = self.inner()
        node.args = (self.before(node), node.args[1])

    def retarget(self) -> None:
        self.inner().target = aten.sub.Tensor

    def note(self) -> None:
        self.inner().meta = {"seen": True}

    def move(self) -> None:
        self.inner().append(self.inner())

    def rewire_to_any(self) -> None:
        self.inner().args = (self.any(), self.any())

    def rewire_to_gone(self) -> None:
        self.inner().update_arg(0, self.random.choice(self.gone))

    def rename(self) -> None:
        self.inner().name = self.any().name

    def take_from_elsewhere(self) -> None:
        self.inner().replace_all_uses_with(FOREIGN)

    def call_nothing(self) -> None:
        self.inner().target = "no function"

    def use_what_is_nowhere(self) -> None:
        made = Node(self.graph, "loose", "call_function", aten.neg.default, (), {})
        self.inner().update_arg(0, made)

    def name_an_attribute(self) -> None:
        place = self.inner()
        with self.graph.inserting_before(place):
            place.args = (self.graph.create_node("get_attr", "nowhere"), place.args[1])


SOUND = (Edits.make, Edits.replace, Edits.erase, Edits.rewire, Edits.retarget, Edits.note)
UNSOUND = (
    Edits.move,
    Edits.rewire_to_any,
    Edits.rewire_to_gone,
    Edits.rename,
    Edits.take_from_elsewhere,
    Edits.call_nothing,
    Edits.use_what_is_nowhere,
    Edits.name_an_attribute,
)


def picture(graph: Graph) -> list[Any]:
    """All that the nodes are, by pointer; the objects are kept so that no address comes twice."""
    return [
        (node, node.target, node.args, node.kwargs, id(node.target), id(node.args), id(node.kwargs))
        for node in graph.nodes
    ]


def is_same(before: list[Any], after: list[Any]) -> bool:
    pointers = [[(id(row[0]), *row[4:]) for row in rows] for rows in (before, after)]
    return pointers[0] == pointers[1]


def edited(seed: int, choices: tuple[Callable[[Edits], None], ...]) -> tuple[Graph, RewriteCounter, bool]:
    random = Random(seed)
    graph = start(random).graph
    edits, before = Edits(graph, random), picture(graph)
    with RewriteCounter(graph) as counter:
        for edit in random.choices(choices, k=random.randint(0, 4)):
            edit(edits)
    return graph, counter, not is_same(before, picture(graph))


def lints(graph: Graph) -> bool:
    try:
        graph.lint()
    except (RuntimeError, ValueError):
        return False
    return True


@pytest.mark.parametrize("seed", range(60))
def test_what_is_done_well_is_known_without_a_look_at_the_whole_graph(seed: int) -> None:
    graph, counter, changed = edited(seed, SOUND)
    assert counter.changed == changed
    assert counter.is_sound()
    assert lints(graph)


def test_what_is_done_badly_is_never_called_sound() -> None:
    found = []
    for seed in range(600):
        graph, counter, changed = edited(seed, SOUND + UNSOUND)
        assert counter.changed == changed, seed
        found.append((counter.is_sound(), lints(graph)))
    assert (True, False) not in found
    assert found.count((False, False)) > 200  # the test sees what it is about


@pytest.mark.parametrize("unsound", UNSOUND, ids=lambda edit: edit.__name__)
def test_each_kind_of_fault_is_among_them(unsound: Callable[[Edits], None]) -> None:
    assert not all(lints(edited(seed, (unsound,))[0]) for seed in range(30))


def test_two_watch_one_graph() -> None:
    graph = start(Random(0)).graph
    node = next(node for node in graph.nodes if node.op == "call_function")
    with RewriteCounter(graph) as outer:
        with RewriteCounter(graph) as inner:
            node.target = aten.sub.Tensor
        with RewriteCounter(graph) as idle:
            node.meta["seen"] = True
    assert (outer.rewrites, inner.rewrites, idle.rewrites) == (1, 1, 0)
    assert (outer.changed, inner.changed, idle.changed) == (True, True, False)
    assert type(graph._find_nodes_lookup_table).__name__ == "_FindNodesLookupTable"


@pytest.mark.parametrize("owned", [True, False], ids=["owned", "bare"])
@pytest.mark.parametrize("length", [8, 200])
def test_one_counter_for_several_passes_says_what_one_for_each_says(length: int, owned: bool) -> None:
    told: list[list[tuple[int, bool, bool]]] = []
    for together in (True, False):
        for seed in range(20):
            random = Random(seed)
            module = start(random, length)
            if not owned:
                module.graph.owning_module = None
            edits, shared, said = Edits(module.graph, random), RewriteCounter(module.graph), []
            for _ in range(6):
                counter = shared if together else RewriteCounter(module.graph)
                counter.begin()
                for edit in random.choices(SOUND, k=random.randint(0, 3)):
                    edit(edits)
                assert counter.end() == counter.changed
                said.append((counter.rewrites, counter.changed, counter.is_sound()))
                if not together:
                    counter.close()
            shared.close()
            assert module._replace_hooks == []
            told.append(said)
    assert told[:20] == told[20:]
    assert {changed for said in told for _, changed, _ in said} == {True, False}


def test_a_graph_that_gets_another_owner_is_still_heard() -> None:
    first = start(Random(0))
    graph, second = first.graph, GraphModule(torch.nn.Module(), Graph())
    counter, found = RewriteCounter(graph), []
    for owner in (first, second, second):
        counter.begin()
        graph.owning_module = owner
        counter.end()
        counter.begin()
        node = next(node for node in graph.nodes if node.op == "call_function" and node.users)
        node.replace_all_uses_with(node.args[0])
        graph.erase_node(node)
        counter.end()
        found.append(counter.rewrites)
    counter.close()
    assert found == [1, 1, 1]
    assert first._replace_hooks == second._replace_hooks == first._erase_node_hooks == []
