"""Private names of FX graphs: hearing what happens to one, and asking where a node stands. A part of ``torch_door.py``.

Read against torch 2.11, 2.12 and 2.13 (run on 2.13).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch


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
    graph._find_nodes_lookup_table = _WatchedTable(table, watcher)
    return table, module


def unwatch(graph: torch.fx.Graph, watcher: GraphWatcher, watched: Any) -> None:
    """Tell ``watcher`` no more."""
    graph._find_nodes_lookup_table, module = watched
    if isinstance(module, torch.fx.GraphModule):
        module._unregister_replace_node_hook(watcher.on_replace)
        module._unregister_erase_node_hook(watcher.on_erase)


@contextmanager
def hearing_of_replacements(
    graph: torch.fx.Graph,
    on_replace: Callable[[torch.fx.Node, str, torch.fx.Node], object],
) -> Iterator[None]:
    """Call ``on_replace(old, new, user)`` meanwhile; never where no module owns the graph."""
    module = graph.owning_module
    if not isinstance(module, torch.fx.GraphModule):
        yield
        return
    module._register_replace_node_hook(on_replace)
    try:
        yield
    finally:
        module._unregister_replace_node_hook(on_replace)


def is_erased(node: torch.fx.Node) -> bool:
    """Whether a node is no longer in its graph."""
    return bool(node._erased)


def is_well_placed(node: torch.fx.Node, graph: torch.fx.Graph) -> bool:
    """Whether a node of ``graph`` calls something, on nodes that stand in the graph and before it.

    False also for nodes that name a part of the module, which is not looked for here.
    """
    if node.op in ("get_attr", "call_module"):
        return False
    if not (callable(node.target) if node.op == "call_function" else isinstance(node.target, str)):
        return False
    table = graph._find_nodes_lookup_table
    return all(used.graph is graph and used in table and used < node for used in node.all_input_nodes)
