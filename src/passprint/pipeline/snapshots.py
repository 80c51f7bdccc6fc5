"""A graph as it was: cheap to take, and turned into text or into a graph again only where that is asked for."""

from __future__ import annotations

from itertools import chain
from operator import attrgetter, is_
from typing import Any, NamedTuple

import torch
from torch.fx import Graph, GraphModule, Node

from passprint.passes.branches import branches_of, distinct, part_called
from passprint.pipeline.graph_text import node_text, with_branches

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


class Nodes:
    """The nodes of one graph in their order, with what each was. Takes about a microsecond a node."""

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

    def is_same(self, other: Nodes) -> bool:
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


class Snapshot(Nodes):
    """The nodes of a graph, and of the graphs of control flow within it.

    ``named``: those graphs, as `branches_of` names them. ``branches``: the nodes of each, under its first name.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph)
        self.named = branches_of(graph)
        self.branches = {name: Nodes(branch) for name, branch in distinct(self.named).items()}

    def is_same(self, other: Nodes) -> bool:
        """Whether nothing was replaced, in the graph or within it."""
        return super().is_same(other) and (
            not isinstance(other, Snapshot)
            or (
                self.named == other.named
                and all(map(Nodes.is_same, self.branches.values(), other.branches.values()))
            )
        )

    def text(self) -> str:
        """The graph as it was, and then those within it."""
        return with_branches(super().text(), {name: nodes.text() for name, nodes in self.branches.items()})

    def to_graph(self) -> Graph:
        """A graph of its own as it was, with graphs of its own within it."""
        made = super().to_graph()
        if not self.named:
            return made
        copies = {nodes.graph: nodes.to_graph() for nodes in self.branches.values()}
        for name, branch in self.named.items():
            parent, _, target = name.rpartition("/")
            into: Any = copies[self.named[parent]] if parent else made
            *path, last = target.split(".")
            module = into.owning_module
            for part in path:
                module = getattr(module, part)
            setattr(module, last, copies[branch].owning_module)
        return made


class Attached:
    """What a graph reads of its module: tensors, and the graphs of control flow. A pass may change them as well."""

    def __init__(self, graph: Graph) -> None:
        self._snapshot = Snapshot(graph)
        self._tensors: list[tuple[torch.Tensor, int | None]] = []
        for one in (graph, *(nodes.graph for nodes in self._snapshot.branches.values())):
            for node in one.find_nodes(op="get_attr"):
                found = part_called(one, node.target)
                if isinstance(found, torch.Tensor):
                    self._tensors.append((found, None if found.is_inference() else found._version))

    def recompile(self) -> None:
        """Let the graphs within run as they stand; one that was edited runs as it was until then."""
        for nodes in self._snapshot.branches.values():
            if nodes.graph.owning_module is not None:
                nodes.graph.owning_module.recompile()

    def is_same(self, other: Attached) -> bool:
        """Whether these are the same tensors, not written to since, and graphs in which nothing was replaced."""
        ours, theirs = self._snapshot, other._snapshot
        return (
            len(self._tensors) == len(other._tensors)
            and all(
                mine is yours and version == was
                for (mine, version), (yours, was) in zip(self._tensors, other._tensors, strict=True)
            )
            and ours.named == theirs.named
            and all(map(Nodes.is_same, ours.branches.values(), theirs.branches.values()))
        )


def copy_graph(graph: Graph) -> Graph:
    """A copy of ``graph``, to try something on."""
    return Snapshot(graph).to_graph()
