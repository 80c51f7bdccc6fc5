"""Each object of a cycle has one digest, whichever was asked for first and whatever was asked before."""

from __future__ import annotations

import itertools
import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.identity.pairs import load

from passprint.identity import Memo
from passprint.identity.components import settle_digests
from passprint.identity.node import Node

TEXT = """
def a(n): return b(n - 1) if n else Tree
def b(n): return c(n) + a(n)
def c(n): return a(n) or LOOP
class Leaf:
    def up(self): return Tree
class Tree(Leaf):
    def down(self): return Leaf(), super().up(), a
LOOP = {"a": a}
LOOP["self"] = LOOP
def alone(n): return a(n)
target = [a, b, c, Leaf, Tree, LOOP, alone, Tree(), Leaf()]
"""


def test_any_order_of_asking_gives_the_same_digests() -> None:
    objects = load(TEXT)
    expected = [Memo().digest(obj) for obj in objects]
    assert len(set(expected)) == len(objects)
    chance = random.Random(5)
    for _ in range(20):
        memo = Memo()
        order = chance.sample(range(len(objects)), len(objects))
        found = {index: memo.digest(objects[index]) for index in order}
        assert [found[index] for index in range(len(objects))] == expected


def test_another_load_of_the_same_text_gives_the_same_digests() -> None:
    assert [Memo().digest(obj) for obj in load(TEXT)] == [Memo().digest(obj) for obj in load(TEXT)]


def test_a_change_anywhere_in_a_cycle_changes_every_object_of_it() -> None:
    before = [Memo().digest(obj) for obj in load(TEXT)]
    after = [Memo().digest(obj) for obj in load(TEXT.replace("c(n) + a(n)", "c(n) - a(n)"))]
    assert not set(before) & set(after)


def _graph(labels: list[str], links: list[list[int]], order: tuple[int, ...]) -> list[Node]:
    nodes = [Node("n", label) for label in labels]
    for node, label in zip(nodes, labels, strict=True):
        node.head = label.encode()
    for node, targets in zip(nodes, links, strict=True):
        for target in targets:
            node.add("", "link", nodes[target % len(nodes)])
    for index in order:
        settle_digests(nodes[index % len(nodes)])
    for node in nodes:
        settle_digests(node)
    return nodes


def _unfold(labels: list[str], links: list[list[int]], start: int, depth: int) -> Any:
    if not depth:
        return labels[start]
    return labels[start], [_unfold(labels, links, link % len(labels), depth - 1) for link in links[start]]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_graphs_are_told_apart_exactly_where_following_references_tells_them_apart(
    data: st.DataObject,
) -> None:
    size = data.draw(st.integers(1, 5))
    labels = data.draw(st.lists(st.sampled_from("xy"), min_size=size, max_size=size))
    links = data.draw(st.lists(st.lists(st.integers(0, size - 1), max_size=2), min_size=size, max_size=size))
    marks = [node.digest for node in _graph(labels, links, ())]
    for order in itertools.islice(itertools.permutations(range(size)), 6):
        assert [node.digest for node in _graph(labels, links, order)] == marks
    shapes = [repr(_unfold(labels, links, start, size + 1)) for start in range(size)]
    for one, other in itertools.combinations(range(size), 2):
        if shapes[one] != shapes[other]:
            assert marks[one] != marks[other]


def test_a_long_chain_does_not_exhaust_the_stack() -> None:
    nested: list[Any] = []
    for _ in range(20_000):
        nested = [nested]
    assert Memo().digest(nested) is not None
