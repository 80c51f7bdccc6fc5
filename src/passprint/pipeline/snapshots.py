"""A graph as it was: cheap to take, and turned into text or into a graph again only where that is asked for."""

from __future__ import annotations

from itertools import chain
from operator import attrgetter, is_
from typing import Any, NamedTuple

import torch
from torch.fx import Graph, GraphModule, Node

from passprint.pipeline.graph_text import node_text

#: Stands for an annotation that is not there.
MISSING: Any = type("Missing", (), {"__repr__": lambda self: "missing"})()

_NAME, _TARGET, _ARGS, _KWARGS = map(attrgetter, ("name", "target", "args", "kwargs"))


class Record(NamedTuple):
    """What a node was. FX replaces a node's arguments and never edits them, so holding them is enough."""

    node: Node
    name: str
    target: Any
    args: Any
    kwargs: Any
    value: Any

    def is_same(self, other: Record) -> bool:
        """Whether nothing was replaced."""
        return all(map(is_, self, other))

    def text(self) -> str:
        """One line, as the node was."""
        values = {} if self.value is MISSING else {"val": self.value}
        return node_text(self.name, self.node.op, self.target, self.args, self.kwargs, values)


class Snapshot:
    """The nodes of a graph in their order, with what each was. Takes about a microsecond a node."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        nodes = list(graph.nodes)
        values = [node.meta.get("val", MISSING) for node in nodes]
        self.records = list(
            map(
                Record,
                nodes,
                map(_NAME, nodes),
                map(_TARGET, nodes),
                map(_ARGS, nodes),
                map(_KWARGS, nodes),
                values,
            )
        )

    def is_same(self, other: Snapshot) -> bool:
        """Whether these are the same nodes in the same order, and nothing about any of them was replaced."""
        return len(self.records) == len(other.records) and all(
            map(is_, chain.from_iterable(self.records), chain.from_iterable(other.records))
        )

    def text(self) -> str:
        """The graph as it was, as `graph_text` writes it."""
        return "\n".join(record.text() for record in self.records) + "\n"

    def by_node(self) -> dict[Node, Record]:
        """The records by their nodes, in order."""
        return {record.node: record for record in self.records}

    def to_graph(self) -> Graph:
        """A graph of its own, in a module of its own, as it was; names are kept, annotations are shared."""
        copy = Graph()
        mapping: dict[Node, Node] = {}
        for record in self.records:
            args, kwargs = torch.fx.node.map_arg((record.args, record.kwargs), mapping.__getitem__)
            made = copy.create_node(
                record.node.op, record.target, args, kwargs, name=record.name, type_expr=record.node.type
            )
            made.meta = dict(record.node.meta)
            made.meta.pop("val", None)
            if record.value is not MISSING:
                made.meta["val"] = record.value
            mapping[record.node] = made
        owner = self.graph.owning_module
        return GraphModule(owner if owner is not None else torch.nn.Module(), copy).graph


class Attached:
    """What a graph reads of its module: tensors, and the graphs of control flow. A pass may change them as well."""

    def __init__(self, graph: Graph) -> None:
        self._tensors: list[tuple[torch.Tensor, int | None]] = []
        self._graphs: list[tuple[Snapshot, Attached]] = []
        for node in graph.find_nodes(op="get_attr"):
            found: Any = graph.owning_module
            for name in str(node.target).split("."):
                found = getattr(found, name, None)
            if isinstance(found, torch.Tensor):
                self._tensors.append((found, None if found.is_inference() else found._version))
            elif isinstance(found, GraphModule):
                self._graphs.append((Snapshot(found.graph), Attached(found.graph)))

    def recompile(self) -> None:
        """Let the graphs run as they stand; one that was edited runs as it was until then."""
        for snapshot, more in self._graphs:
            if snapshot.graph.owning_module is not None:
                snapshot.graph.owning_module.recompile()
            more.recompile()

    def is_same(self, other: Attached) -> bool:
        """Whether these are the same tensors, not written to since, and graphs in which nothing was replaced."""
        if (len(self._tensors), len(self._graphs)) != (len(other._tensors), len(other._graphs)):
            return False
        return all(
            ours is theirs and version == was
            for (ours, version), (theirs, was) in zip(self._tensors, other._tensors, strict=True)
        ) and all(
            ours.is_same(theirs) and more.is_same(others)
            for (ours, more), (theirs, others) in zip(self._graphs, other._graphs, strict=True)
        )


def copy_graph(graph: Graph) -> Graph:
    """A copy of ``graph``, to try something on."""
    return Snapshot(graph).to_graph()
