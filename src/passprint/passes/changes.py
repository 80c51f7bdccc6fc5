"""What a pass does to a graph, noted while FX tells of it and counted when the pass is through.

``_changes.c`` does the same and is used where it was built (`rewrites.py`): after a pass that took milliseconds, the
steps here are so cold in the processor's caches that each costs some microseconds, and a manager must not be felt.
``tests/passes/test_changes_twins.py`` compares the two.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from itertools import filterfalse
from typing import Any, NamedTuple

from torch.fx import Graph, Node

from passprint.passes import torch_graphs


class _State(NamedTuple):
    """What a node was before the first change to it. FX replaces a node's arguments, it never edits them."""

    name: str
    target: Any
    args: Any
    kwargs: Any
    inputs: list[Node]

    def is_same(self, node: Node) -> bool:
        return node.target is self.target and node.args is self.args and node.kwargs is self.kwargs


class Changes:
    """The notes on one graph, pass after pass: `begin` and `end` stand around each.

    A subclass says how a graph is watched (``_start_watching``), and finds out what nothing tells of in a graph
    that no module owns (``_note_uses``, ``_find_rewired``). Where modules are parts of the graph's module, it is asked
    about the graphs within the graph (``_begin_within``, ``_end_within``, ``_is_sound_within``), unless
    ``looks_within`` is false.
    """

    rewrites = 0
    changed = False
    is_ready = False

    def __init__(
        self,
        graph: Graph,
        on_replace: Callable[[Node, str], object] | None = None,
        *,
        looks_within: bool = True,
    ) -> None:
        self.graph = graph
        self.told = on_replace
        self._in_order = graph.nodes  # always what the graph has now
        self._looks_within = looks_within
        self._is_within = False
        self._module: Any = None
        self._table: Any = None
        self._nodes: list[Node] | None = None
        self._is_owned = False

    def _watches(
        self,
        module: Any,
        table: Any,
        insert: Callable[[Node], object],
        remove: Callable[[Node], object],
        is_owned: bool,
    ) -> None:
        """From now on the graph of ``module``, with ``table`` for its nodes by operator, tells what happens."""
        self._module, self._table, self._is_owned = module, table, is_owned
        self._insert, self._remove = insert, remove

    def _watches_no_longer(self) -> None:
        self._module = self._table = self._nodes = None
        self.is_ready = False

    def _start_watching(self) -> None:
        raise NotImplementedError

    def _note_uses(self, nodes: list[Node]) -> None:
        raise NotImplementedError

    def _find_rewired(self, nodes: list[Node]) -> None:
        raise NotImplementedError

    def _begin_within(self) -> bool:
        """Whether there are graphs within the graph; they are then asked about when the pass is through."""
        raise NotImplementedError

    def _end_within(self) -> tuple[int, bool]:
        """How many rewrites there were within, and whether anything differs."""
        raise NotImplementedError

    def _is_sound_within(self) -> bool:
        raise NotImplementedError

    # -- what FX tells

    def insert(self, node: Node) -> None:
        """In place of the table's own: a node was made, or something about it was set."""
        self._insert(node)
        self.on_insert(node)

    def remove(self, node: Node) -> None:
        """In place of the table's own: something about a node is about to be set, or the node to be erased."""
        self.on_touch(node)
        self._remove(node)

    def on_touch(self, node: Node) -> None:
        """Something about a node is about to be set, or the node to be erased."""
        if node not in self._states and node not in self._made:
            self._was(node, node.name, node.target, node.args, node.kwargs, node.all_input_nodes)

    def on_insert(self, node: Node) -> None:
        """A node was made, or something about it was set."""
        if node not in self._states:
            self._made.setdefault(node, node.name)

    def on_replace(self, old: Node, new: str, user: Node) -> None:
        """``user`` is about to take the node called ``new`` in place of ``old``; only where a module owns the graph."""
        if user.graph is not self.graph:
            return  # the hooks of a module are those of its copies, too
        self.on_touch(user)
        if self.told is not None and old not in self._replaced:
            self.told(old, new)
        self._replaced[old] = None
        self._rewired.add(user)

    def on_erase(self, node: Node) -> None:
        """A node is about to be erased; only where a module owns the graph."""
        if node.graph is not self.graph:
            return
        self._erased[node] = None
        self._bereft.update(node.all_input_nodes)

    def _state_of(self, node: Node) -> _State | None:
        return self._states.get(node)

    def _was(self, node: Node, name: str, target: Any, args: Any, kwargs: Any, inputs: list[Node]) -> None:
        self._states[node] = _State(name, target, args, kwargs, inputs)

    # -- a pass begins, a pass is through

    def _forget(self) -> None:
        self.rewrites, self.changed = 0, False
        self._states: dict[Node, _State] = {}
        self._made: dict[Node, str] = {}
        self._replaced: dict[Node, None] = {}
        self._rewired: set[Node] = set()
        self._erased: dict[Node, None] = {}
        self._bereft: set[Node] = set()
        self._keeps_order = True

    def _is_watched(self) -> bool:
        return self._table is not None and torch_graphs.is_watched(self.graph, self._module, self._table)

    def begin(self) -> None:
        """A pass starts on the graph as the last one left it: count from nothing."""
        if self.is_ready:
            return
        self._forget()
        if not self._is_watched():
            self._start_watching()
        if self._nodes is None:
            self._nodes = list(iter(self._in_order))
        if not self._is_owned:
            self._note_uses(self._nodes)
        has_parts = self._looks_within and self._is_owned and torch_graphs.has_parts(self._module)
        self._is_within = has_parts and self._begin_within()

    def end(self) -> bool:
        """The pass is through: `rewrites` and `changed` say what it did. Returns ``changed``."""
        before = self._nodes or []
        nodes = list(iter(self._in_order))  # of an iterator: the length is not asked
        self._nodes = nodes
        if not self._is_owned:
            self._find_rewired(before)
        elif not self._states and nodes == before and self._is_watched():
            # most passes find nothing most of the time, and the next one can begin at once
            self.is_ready = not self._made and not self._is_within
            return self._with_what_is_within()
        self.is_ready = False
        self.changed = nodes != before or not all(state.is_same(node) for node, state in self._states.items())
        if self.changed:
            gone = {node for node in self._states if torch_graphs.is_erased(node)}
            self._keeps_order = _without(before, gone) == _without(nodes, self._made.keys())
            self.rewrites = self._count()
        return self._with_what_is_within()

    def _with_what_is_within(self) -> bool:
        if self._is_within:
            rewrites, changed = self._end_within()
            self.rewrites += rewrites
            self.changed = self.changed or changed
        return self.changed

    # -- what comes of it

    def is_sound(self) -> bool:
        """Whether what was made or changed keeps the graph sound, by a look at these nodes alone.

        A quick answer for what most passes do; where it is False, only ``graph.lint()`` knows.
        """
        if not self._keeps_order or (self._is_within and not self._is_sound_within()):
            return False
        graph = self.graph
        return all(
            torch_graphs.is_well_placed(node, state.name, graph) for node, state in self._states.items()
        ) and all(torch_graphs.is_well_placed(node, name, graph) for node, name in self._made.items())

    def _count(self) -> int:
        counted = set(self._replaced)
        for node, (_, target, args, kwargs, inputs) in self._states.items():
            if torch_graphs.is_erased(node):
                self._bereft.update(inputs)
                self._erased[node] = None
            elif node.target is not target:
                counted.add(node)
            elif (node.args is not args or node.kwargs is not kwargs) and node not in self._rewired:
                dropped = set(inputs).difference(node.all_input_nodes)
                if dropped:
                    counted |= dropped
                elif str((node.args, node.kwargs)) != str((args, kwargs)):
                    counted.add(node)
        counted.update(self._erased.keys() - self._bereft)
        return len(counted.difference(self._made))


def _without(nodes: list[Node], left_out: Collection[Node]) -> list[Node]:
    return list(filterfalse(left_out.__contains__, nodes)) if left_out else nodes
