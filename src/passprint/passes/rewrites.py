"""How many rewrites a pass made: computed from the graph, never reported by the pass."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from operator import attrgetter, is_
from types import TracebackType
from typing import Any

from torch.fx import Graph, GraphModule, Node
from torch.fx.node import map_arg

from passprint.passes import torch_door

_TARGET = attrgetter("target")


class _Snapshot:
    """The nodes with what each was, by pointer: FX replaces a node's arguments, it never edits them."""

    def __init__(self, graph: Graph) -> None:
        self.nodes: list[Node] = list(graph.nodes)
        # maps run in C: this is done before and after every pass, on every node
        self.targets: list[Any] = list(map(_TARGET, self.nodes))
        self.args: list[Any] = list(map(torch_door.ARGS_OF, self.nodes))
        self.kwargs: list[Any] = list(map(torch_door.KWARGS_OF, self.nodes))

    def is_current(self, graph: Graph) -> bool:
        """Whether ``graph`` is as it was: compared in C, without a second snapshot."""
        nodes = list(graph.nodes)
        return (
            len(nodes) == len(self.nodes)
            and all(map(is_, nodes, self.nodes))
            and all(map(is_, map(torch_door.ARGS_OF, nodes), self.args))
            and all(map(is_, map(_TARGET, nodes), self.targets))
            and all(map(is_, map(torch_door.KWARGS_OF, nodes), self.kwargs))
        )


class RewriteCounter:
    """Watches a graph for the length of a ``with`` block.

    ``rewrites`` is then the number of nodes that were there before and whose uses went to another node, that
    were edited in place, or that were erased for their own sake (not because what used them was erased or
    replaced). ``changed`` says whether anything differs at all, the order of the nodes included.
    A node replaced step by step counts once. Replacements in a row are seen through the owning GraphModule's
    hooks; without an owning module each run of replaced nodes counts once.
    ``on_replace`` is told of each node that is replaced through a hook, once, with the name of what replaces it.
    """

    def __init__(self, graph: Graph, on_replace: Callable[[Node, str], object] | None = None) -> None:
        self.rewrites = 0
        self.changed = False
        self._graph = graph
        self._told = on_replace
        self._module = graph.owning_module if isinstance(graph.owning_module, GraphModule) else None
        self._hooks = ExitStack()
        self._replaced: dict[Node, None] = {}
        self._rewired: set[Node] = set()
        self._erased: dict[Node, None] = {}
        self._bereft: set[Node] = set()

    def __enter__(self) -> RewriteCounter:
        self._before = _Snapshot(self._graph)
        if self._module is not None:
            self._hooks.enter_context(torch_door.watching(self._module, self._on_replace, self._on_erase))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hooks.close()
        self.changed = not self._before.is_current(self._graph)
        if self.changed:
            self.rewrites = self._count(_Snapshot(self._graph))

    def _on_replace(self, old: Node, new: str, user: Node) -> None:
        if self._told is not None and old not in self._replaced:
            self._told(old, new)
        self._replaced[old] = None
        self._rewired.add(user)

    def _on_erase(self, node: Node) -> None:
        self._erased[node] = None
        self._bereft.update(node.all_input_nodes)

    def _count(self, after: _Snapshot) -> int:
        before = self._before
        alive = set(after.nodes)
        counted = set(self._replaced)
        edited: set[Node] = set()
        for node, target, args, kwargs in zip(
            before.nodes, before.targets, before.args, before.kwargs, strict=True
        ):
            if node not in alive:
                self._bereft.update(_inputs(args, kwargs))
                self._erased[node] = None
            elif node.target is not target:
                edited.add(node)
            elif (node.args is not args or node.kwargs is not kwargs) and node not in self._rewired:
                dropped = _inputs(args, kwargs).difference(node.all_input_nodes)
                if dropped:
                    counted |= dropped
                elif str((node.args, node.kwargs)) != str((args, kwargs)):
                    edited.add(node)
        counted |= edited
        counted |= {node for node in self._erased if node not in self._bereft}
        return len(counted.intersection(before.nodes))


def _inputs(args: Any, kwargs: Any) -> set[Node]:
    found: set[Node] = set()
    map_arg((args, kwargs), found.add)
    return found
