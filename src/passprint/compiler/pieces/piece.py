"""One piece of a graph: the nodes that are compiled together, and what goes in and out."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch.fx import Graph, GraphModule, Node


@dataclass(frozen=True)
class Piece:
    """Nodes in graph order, with what they take from outside and what others take from them.

    ``inputs`` are in order of first use, then those that only carry symbols; ``outputs`` in graph order. Arithmetic
    on sizes may stand in several pieces.
    """

    label: str
    nodes: tuple[Node, ...]
    inputs: tuple[Node, ...]
    outputs: tuple[Node, ...]


def is_attribute(node: Node) -> bool:
    """True for a node that reads a tensor of the graph module, as opposed to a nested graph."""
    return node.op == "get_attr" and not is_nested_graph(node)


def is_nested_graph(node: Node) -> bool:
    """True for a node that stands for a nested graph (the body of a ``cond``, say)."""
    if node.op != "get_attr":
        return False
    owner: object = node.graph.owning_module
    for name in str(node.target).split("."):
        owner = getattr(owner, name, None)
    return isinstance(owner, torch.nn.Module)


def extract(piece: Piece, owner: GraphModule) -> GraphModule:
    """The piece as a graph module of its own, with copies of nested graphs; tensors become inputs."""
    graph = Graph()
    copies: dict[Node, Node] = {}
    for index, node in enumerate(piece.inputs):
        copies[node] = graph.placeholder(f"a{index}")
        copies[node].meta = node.meta.copy()
        # It is bound here, not made: torch would look for the symbol in what the placeholder makes.
        copies[node].meta.pop("unbacked_bindings", None)
    for node in piece.nodes:
        copies[node] = graph.node_copy(node, copies.__getitem__)
    graph.output(tuple(copies[n] for n in piece.outputs))
    nested = {str(n.target) for n in piece.nodes if n.op in ("get_attr", "call_module")}
    holder: dict[str, object] = {name: copy.deepcopy(owner.get_submodule(name)) for name in nested}
    return GraphModule(holder, graph, class_name="Piece")
