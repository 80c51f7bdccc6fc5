"""Private names of FX graphs: hearing what happens to one, and asking where a node stands. A part of ``torch_door.py``.

Read and run on torch 2.11, 2.12 and 2.13.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch

#: What FX calls a node's arguments, named arguments, inputs, whether it is erased and what its place is; a graph's
#: owner and its table of nodes by operator; and what torch calls a module's parts. ``_changes.c`` reads these.
NAMES = (
    "_args",
    "_kwargs",
    "_input_nodes",
    "_erased",
    "_sort_key",
    "_owning_module",
    "_find_nodes_lookup_table",
    "_modules",
)


class GraphWatcher(Protocol):
    """Who is told what happens to a graph.

    ``insert`` and ``remove`` stand in for those of the graph's table of nodes by operator, which FX keeps when a node
    is made, erased, or set anything about. Arguments that are replaced one by one do not pass there; the hooks of the
    module that owns the graph tell of these.
    """

    graph: torch.fx.Graph
    insert: Callable[[torch.fx.Node], object]
    remove: Callable[[torch.fx.Node], object]
    on_replace: Callable[[torch.fx.Node, str, torch.fx.Node], object]
    on_erase: Callable[[torch.fx.Node], object]


def watch(graph: torch.fx.Graph, watcher: Any) -> tuple[Any, Any, Any, Any]:
    """Tell ``watcher``, a `GraphWatcher`, what happens to ``graph`` from now on, but for nodes that change places.

    Ends by `unwatch`, which wants what is returned: the module that owns the graph, the graph's table, and what
    ``insert`` and ``remove`` of the table were. Two plain calls, because every pipeline is watched.
    """
    module, table = graph._owning_module, graph._find_nodes_lookup_table
    if isinstance(module, torch.fx.GraphModule):
        module._replace_hooks.append(watcher.on_replace)
        module._erase_node_hooks.append(watcher.on_erase)
    watched = module, table, table.insert, table.remove
    table.insert, table.remove = watcher.insert, watcher.remove  # type: ignore[method-assign]
    return watched


def is_watched(graph: torch.fx.Graph, module: Any, table: Any) -> bool:
    """Whether ``graph`` still has the owner and the table that it had when it was watched."""
    return graph._owning_module is module and graph._find_nodes_lookup_table is table


def unwatch(watcher: Any, watched: tuple[Any, Any, Any, Any]) -> None:
    """Tell ``watcher`` no more; ``watched`` is what `watch` returned."""
    module, table, insert, remove = watched
    if insert.__self__ is table:
        del table.insert, table.remove  # those of the class show again
    else:
        table.insert, table.remove = insert, remove
    if isinstance(module, torch.fx.GraphModule):
        module._replace_hooks.remove(watcher.on_replace)
        module._erase_node_hooks.remove(watcher.on_erase)


def has_parts(module: torch.fx.GraphModule) -> bool:
    """Whether modules are parts of ``module``."""
    return bool(module._modules)


class Unheard:
    """What stands for a `GraphWatcher` in a pickled graph: its table does what it is told, and nobody hears of it."""

    def insert(self, node: torch.fx.Node) -> None:
        """As the table of the node's graph would."""
        table = node.graph._find_nodes_lookup_table
        type(table).insert(table, node)

    def remove(self, node: torch.fx.Node) -> None:
        """As the table of the node's graph would."""
        table = node.graph._find_nodes_lookup_table
        type(table).remove(table, node)

    def on_replace(self, old: torch.fx.Node, new: str, user: torch.fx.Node) -> None:
        """Nobody counts."""

    def on_erase(self, node: torch.fx.Node) -> None:
        """Nobody counts."""


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
