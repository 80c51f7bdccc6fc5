"""How many rewrites a pass made: computed from what happens to the graph, never reported by the pass."""

from __future__ import annotations

import os
from operator import attrgetter, is_
from types import TracebackType
from typing import TYPE_CHECKING, Any

from torch.fx import GraphModule, Node
from torch.fx.node import map_arg

from passprint.passes import torch_graphs
from passprint.passes.changes import Changes as ChangesInPython

if TYPE_CHECKING:
    Changes = ChangesInPython
else:
    try:
        if os.environ.get("PASSPRINT_PURE_PYTHON"):
            raise ImportError("PASSPRINT_PURE_PYTHON is set")
        from passprint.passes import _changes
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
    ``on_replace`` is told of each node that is replaced through a hook, once, with the name of what replaces it.

    For passes that follow one another with nothing in between, `begin` and `end` around each and `close` after the
    last do the same, and look through the graph once for each pass. While `is_ready`, `begin` has nothing to do.
    """

    _watched: Any = None
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


_ARGS, _KWARGS = attrgetter("args"), attrgetter("kwargs")


def _inputs(args: Any, kwargs: Any) -> list[Node]:
    found: dict[Node, None] = {}
    map_arg((args, kwargs), lambda node: found.setdefault(node))
    return list(found)
