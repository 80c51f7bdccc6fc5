"""How many rewrites a pass made: computed from what happens to the graph, never reported by the pass."""

from __future__ import annotations

from collections.abc import Callable, Collection
from itertools import filterfalse
from operator import attrgetter, is_
from types import TracebackType
from typing import Any, NamedTuple

from torch.fx import Graph, GraphModule, Node
from torch.fx.node import map_arg

from passprint.passes import torch_door


class _State(NamedTuple):
    """What a node was before the first change to it. FX replaces a node's arguments, it never edits them."""

    name: str
    target: Any
    args: Any
    kwargs: Any
    inputs: Collection[Node]

    def is_same(self, node: Node) -> bool:
        return node.target is self.target and node.args is self.args and node.kwargs is self.kwargs


class RewriteCounter:
    """Watches a graph for the length of a ``with`` block; what nobody touches costs next to nothing.

    ``rewrites`` is then the number of nodes that were there before and whose uses went to another node, that
    were edited in place, or that were erased for their own sake (not because what used them was erased or
    replaced). ``changed`` says whether anything differs at all, the order of the nodes included; metadata does not
    count. A node replaced step by step counts once. Replacements in a row are seen through the owning GraphModule's
    hooks; without an owning module each run of replaced nodes counts once.
    ``on_replace`` is told of each node that is replaced through a hook, once, with the name of what replaces it.

    For passes that follow one another with nothing in between, `begin` and `end` around each and `close` after the
    last do the same, and look through the graph once for each pass. While `is_ready`, `begin` has nothing to do.
    """

    rewrites = 0
    changed = False

    def __init__(self, graph: Graph, on_replace: Callable[[Node, str], object] | None = None) -> None:
        self._graph = graph
        self._in_order = graph.nodes  # always what the graph has now
        self._told = on_replace
        self._watched: Any = None
        self._is_owned = False
        self._nodes: list[Node] | None = None
        self.is_ready = False

    def _forget(self) -> None:
        self.rewrites, self.changed = 0, False
        self._states: dict[Node, _State] = {}
        self._made: dict[Node, str] = {}
        self._replaced: dict[Node, None] = {}
        self._rewired: set[Node] = set()
        self._erased: dict[Node, None] = {}
        self._bereft: set[Node] = set()
        self._bare: tuple[list[Any], list[Any]] | None = None
        self._keeps_order = True

    def __enter__(self) -> RewriteCounter:
        self.begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.end()
        finally:
            self.close()

    def begin(self) -> None:
        """A pass starts on the graph as the last one left it: count from nothing."""
        if self.is_ready:
            return
        self._forget()
        if self._watched is None or not torch_door.is_watched(self._graph, self._watched):
            self._watch()
        if self._nodes is None:
            self._nodes = list(iter(self._in_order))
        if not self._is_owned:
            # nothing tells of replaced inputs then
            self._bare = (list(map(_ARGS, self._nodes)), list(map(_KWARGS, self._nodes)))

    def end(self) -> bool:
        """The pass is through: `rewrites` and `changed` say what it did. Returns ``changed``."""
        before = self._nodes or []
        nodes = list(iter(self._in_order))  # of an iterator: the length is not asked
        self._nodes = nodes
        if self._bare is not None:
            self._find_rewired(before, *self._bare)
        elif not self._states and nodes == before and torch_door.is_watched(self._graph, self._watched):
            # most passes find nothing most of the time, and the next one can begin at once
            self.is_ready = not self._made
            return False
        self.is_ready = False
        self.changed = nodes != before or not all(state.is_same(node) for node, state in self._states.items())
        if self.changed:
            gone = [node for node in self._states if torch_door.is_erased(node)]
            new = [node for node in self._made if not torch_door.is_erased(node)]
            self._keeps_order = _without(before, gone) == _without(nodes, new)
            self.rewrites = self._count()
        return self.changed

    def close(self) -> None:
        """Watch no longer."""
        if self._watched is not None:
            torch_door.unwatch(self._graph, self, self._watched)
            self._watched = None
        self._nodes, self.is_ready = None, False

    def _watch(self) -> None:
        if self._watched is not None:
            torch_door.unwatch(self._graph, self, self._watched)
        self._watched = torch_door.watch(self._graph, self)
        self._is_owned = isinstance(self._graph.owning_module, GraphModule)

    # -- what FX tells meanwhile

    def on_touch(self, node: Node) -> None:
        """Something about a node is about to be set, or the node to be erased."""
        if node not in self._states and node not in self._made:
            self._states[node] = _State(node.name, node.target, node.args, node.kwargs, node.all_input_nodes)

    def on_insert(self, node: Node) -> None:
        """A node was made, or something about it was set."""
        if node not in self._states:
            self._made.setdefault(node, node.name)

    def on_replace(self, old: Node, new: str, user: Node) -> None:
        """``user`` is about to take another node in place of ``old``."""
        self.on_touch(user)
        if self._told is not None and old not in self._replaced:
            self._told(old, new)
        self._replaced[old] = None
        self._rewired.add(user)

    def on_erase(self, node: Node) -> None:
        """A node is about to be erased."""
        self._erased[node] = None
        self._bereft.update(node.all_input_nodes)

    # -- what comes of it

    def is_sound(self) -> bool:
        """Whether what was made or changed keeps the graph sound, by a look at these nodes alone.

        A quick answer for what most passes do; where it is False, only ``graph.lint()`` knows.
        """
        if not self._keeps_order:
            return False
        graph = self._graph
        return all(
            torch_door.is_well_placed(node, state.name, graph) for node, state in self._states.items()
        ) and all(torch_door.is_well_placed(node, name, graph) for node, name in self._made.items())

    def _find_rewired(self, nodes: list[Node], args: list[Any], kwargs: list[Any]) -> None:
        same = all(map(is_, map(_ARGS, nodes), args)) and all(map(is_, map(_KWARGS, nodes), kwargs))
        for node, before, options in () if same else zip(nodes, args, kwargs, strict=True):
            known = self._states.get(node)
            if node.args is not before or node.kwargs is not options or known is not None:
                target = node.target if known is None else known.target
                self._states[node] = _State(
                    node.name if known is None else known.name,
                    target,
                    before,
                    options,
                    _inputs(before, options),
                )

    def _count(self) -> int:
        counted = set(self._replaced)
        for node, (_, target, args, kwargs, inputs) in self._states.items():
            if torch_door.is_erased(node):
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


_ARGS, _KWARGS = attrgetter("args"), attrgetter("kwargs")

#: Of so many nodes one may be looked up by its place; for more of them it is quicker to look through all.
_FEW = 32


def _without(nodes: list[Node], left_out: Collection[Node]) -> list[Node]:
    """``nodes`` but for some of them; where nodes have changed places, some that were to go may stay."""
    if not left_out:
        return nodes
    if len(left_out) * _FEW > len(nodes):
        return list(filterfalse(set(left_out).__contains__, nodes))
    kept = list(nodes)
    for node in left_out:
        at = torch_door.place_in(kept, node)
        if at < len(kept) and kept[at] is node:
            del kept[at]
    return kept


def _inputs(args: Any, kwargs: Any) -> set[Node]:
    found: set[Node] = set()
    map_arg((args, kwargs), found.add)
    return found
