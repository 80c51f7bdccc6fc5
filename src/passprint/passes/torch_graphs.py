"""Private names of FX graphs: hearing what happens to one, and asking where a node stands. A part of ``torch_door.py``.

Read and run on torch 2.11, 2.12 and 2.13.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from operator import attrgetter
from typing import Any, Protocol

import torch

_SORT_KEY = attrgetter("_sort_key")


class GraphWatcher(Protocol):
    """Who is told what happens to a graph."""

    def on_touch(self, node: torch.fx.Node) -> None:
        """Something about a node is about to be set, or the node to be erased."""

    def on_insert(self, node: torch.fx.Node) -> None:
        """A node was made, or something about it was set."""

    def on_replace(self, old: torch.fx.Node, new: str, user: torch.fx.Node) -> None:
        """``user`` is about to take the node called ``new`` in place of ``old``; only where a module owns the graph."""

    def on_erase(self, node: torch.fx.Node) -> None:
        """A node is about to be erased; only where a module owns the graph."""


class _WatchedTable(type(torch.fx.Graph()._find_nodes_lookup_table)):  # type: ignore[misc]
    """The graph's table of nodes by operator, which FX keeps when a node is made, erased, or set anything about.

    Arguments that are replaced one by one do not pass here; the module's hooks tell of these.
    """

    def __init__(self, table: Any, watcher: GraphWatcher) -> None:
        self.table = table.table
        self._inner = table
        self._watcher = watcher

    def insert(self, node: torch.fx.Node) -> None:
        self._inner.insert(node)
        self._watcher.on_insert(node)

    def remove(self, node: torch.fx.Node) -> None:
        self._watcher.on_touch(node)
        self._inner.remove(node)


def watch(graph: torch.fx.Graph, watcher: GraphWatcher) -> Any:
    """Tell ``watcher`` what happens to ``graph`` from now on, but for nodes that change places; ends by `unwatch`.

    Returns what `unwatch` needs. Two plain calls, because every pass is watched.
    """
    module = graph.owning_module
    if isinstance(module, torch.fx.GraphModule):
        module._register_replace_node_hook(watcher.on_replace)
        module._register_erase_node_hook(watcher.on_erase)
    table = graph._find_nodes_lookup_table
    graph._find_nodes_lookup_table = watched = _WatchedTable(table, watcher)
    return table, module, watched


def is_watched(graph: torch.fx.Graph, watched: Any) -> bool:
    """Whether what `watch` returned still holds: the graph has the same owner and the table that it was given."""
    _, module, table = watched
    return graph._owning_module is module and graph._find_nodes_lookup_table is table


def unwatch(graph: torch.fx.Graph, watcher: GraphWatcher, watched: Any) -> None:
    """Tell ``watcher`` no more."""
    graph._find_nodes_lookup_table, module, _ = watched
    if isinstance(module, torch.fx.GraphModule):
        module._unregister_replace_node_hook(watcher.on_replace)
        module._unregister_erase_node_hook(watcher.on_erase)


@contextmanager
def hearing_of_replacements(
    graph: torch.fx.Graph,
    on_replace: Callable[[torch.fx.Node, str, torch.fx.Node], object],
    on_create: Callable[[torch.fx.Node], object],
) -> Iterator[None]:
    """Call ``on_replace(old, new, user)`` and ``on_create(node)`` meanwhile; never where no module owns the graph."""
    module = graph.owning_module
    if not isinstance(module, torch.fx.GraphModule):
        yield
        return
    module._register_replace_node_hook(on_replace)
    module._register_create_node_hook(on_create)
    try:
        yield
    finally:
        module._unregister_create_node_hook(on_create)
        module._unregister_replace_node_hook(on_replace)


def is_erased(node: torch.fx.Node) -> bool:
    """Whether a node is no longer in its graph."""
    return bool(node._erased)


def place_in(nodes: Sequence[torch.fx.Node], node: torch.fx.Node) -> int:
    """Where ``node`` stands among ``nodes`` of one graph, which are in order; any number where they are not."""
    return bisect_left(nodes, node._sort_key, key=_SORT_KEY)


def is_well_placed(node: torch.fx.Node, name: str, graph: torch.fx.Graph) -> bool:
    """Whether a node is gone, or has this name and calls something, on nodes that stand in ``graph`` and before it.

    False also for nodes that name a part of the module, which is not looked for here. A node that was made and
    never put into a graph has no sort key.
    """
    if node._erased:
        return True
    op = node.op
    if node.name != name or op in ("get_attr", "call_module"):
        return False
    if not (callable(node.target) if op == "call_function" else isinstance(node.target, str)):
        return False
    for used in node._input_nodes:
        if used.graph is not graph or used._erased or not used._sort_key or not used < node:
            return False
    return True
