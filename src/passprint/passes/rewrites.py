"""How many rewrites a pass made: computed from what happens to the graph, never reported by the pass."""

from __future__ import annotations

import os
from collections.abc import Callable
from operator import attrgetter, is_
from types import TracebackType
from typing import TYPE_CHECKING, Any

from torch.fx import Graph, GraphModule, Node
from torch.fx.node import map_arg

from passprint.passes import torch_graphs
from passprint.passes.branches import branches_of, distinct
from passprint.passes.changes import Changes as ChangesInPython

_VERSION = 1  # of what passes between this file and ``_changes.c``

if TYPE_CHECKING:
    Changes = ChangesInPython
else:
    try:
        if os.environ.get("PASSPRINT_PURE_PYTHON"):
            raise ImportError("PASSPRINT_PURE_PYTHON is set")
        from passprint.passes import _changes

        if _changes.VERSION != _VERSION:
            raise ImportError("passprint.passes._changes was built from another version; build it again")
    except ImportError:
        Changes = ChangesInPython
    else:
        _changes.setup(*torch_graphs.NAMES)
        Changes = _changes.Changes


class RewriteCounter(Changes):
    """Watches a graph for the length of a ``with`` block; what nobody touches costs next to nothing.

    ``rewrites`` is then the number of nodes that were there before and whose uses went to another node, that
    were edited in place, or that were erased for their own sake (not because what used them was erased or
    replaced). ``changed`` says whether anything differs at all, the order of the nodes included; metadata does not
    count. A node replaced step by step counts once. Replacements in a row are seen through the owning GraphModule's
    hooks; without an owning module each run of replaced nodes counts once.
    What happens within the graphs of control flow that the graph names counts as well
    (``looks_within=False`` for the graph alone).
    ``on_replace`` is told of each node that is replaced through a hook, once, with the name of what replaces it.

    For passes that follow one another with nothing in between, `begin` and `end` around each and `close` after the
    last do the same, and look through the graph once for each pass. While `is_ready`, `begin` has nothing to do.
    """

    _watched: Any = None
    _branches: _Branches | None = None
    _uses: tuple[list[Any], list[Any]]

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

    def close(self) -> None:
        """Watch no longer."""
        if self._branches is not None:
            self._branches.close()
            self._branches = None
        if self._watched is not None:
            torch_graphs.unwatch(self, self._watched)
            self._watched = None
        self._watches_no_longer()

    def _start_watching(self) -> None:
        if self._watched is not None:
            torch_graphs.unwatch(self, self._watched)
        self._watched = watched = torch_graphs.watch(self.graph, self)
        self._watches(*watched, isinstance(watched[0], GraphModule))

    def __deepcopy__(self, memo: dict[int, Any]) -> RewriteCounter:
        return self  # a module that is copied takes its hooks along

    def __reduce__(self) -> tuple[Any, ...]:
        # a graph or module that is pickled while it is watched comes back unwatched
        return torch_graphs.Unheard, ()

    # -- where modules are parts of the graph's module

    def _begin_within(self) -> bool:
        if not self._branches:
            self._branches = _Branches(self.graph, self.told)
        self._branches.begin()
        return bool(self._branches)

    def _end_within(self) -> tuple[int, bool]:
        return self._branches.end() if self._branches else (0, False)

    def _is_sound_within(self) -> bool:
        return not self._branches or self._branches.is_sound()

    # -- in a graph without an owner nothing tells of replaced inputs

    def _note_uses(self, nodes: list[Node]) -> None:
        self._uses = (list(map(_ARGS, nodes)), list(map(_KWARGS, nodes)))

    def _find_rewired(self, nodes: list[Node]) -> None:
        args, kwargs = self._uses
        same = all(map(is_, map(_ARGS, nodes), args)) and all(map(is_, map(_KWARGS, nodes), kwargs))
        for node, before, options in () if same else zip(nodes, args, kwargs, strict=True):
            known = self._state_of(node)
            if node.args is not before or node.kwargs is not options or known is not None:
                name, target = (node.name, node.target) if known is None else known[:2]
                self._was(node, name, target, before, options, _inputs(before, options))


class _Branches:
    """Counters for the graphs of control flow within a graph; false where there are none.

    A pass may also put another graph in the place of one, or bring one along.
    """

    def __init__(self, graph: Graph, on_replace: Callable[[Node, str], object] | None) -> None:
        self._graph = graph
        self._told = on_replace
        self._named = branches_of(graph)
        self._are_known = True
        self._counters = self._counters_of(self._named)

    def _counters_of(self, named: dict[str, Graph]) -> list[RewriteCounter]:
        # all are here, at whatever depth
        return [RewriteCounter(one, self._told, looks_within=False) for one in distinct(named).values()]

    def __bool__(self) -> bool:
        return bool(self._named)

    def begin(self) -> None:
        if not self._are_known:
            self.close()
            self._named = branches_of(self._graph)
            self._counters, self._are_known = self._counters_of(self._named), True
        for one in self._counters:
            one.begin()

    def end(self) -> tuple[int, bool]:
        """How many rewrites there were, and whether anything differs."""
        self._are_known = branches_of(self._graph) == self._named
        changed = [one.end() for one in self._counters]
        rewrites = sum(one.rewrites for one in self._counters)
        return rewrites + (not self._are_known), any(changed) or not self._are_known

    def close(self) -> None:
        for one in self._counters:
            one.close()

    def is_sound(self) -> bool:
        return self._are_known and all(one.is_sound() for one in self._counters)


_ARGS, _KWARGS = attrgetter("args"), attrgetter("kwargs")


def _inputs(args: Any, kwargs: Any) -> list[Node]:
    found: dict[Node, None] = {}
    map_arg((args, kwargs), lambda node: found.setdefault(node))
    return list(found)
