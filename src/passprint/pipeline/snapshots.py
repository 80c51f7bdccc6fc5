"""A graph as it was: copies to compare with, to try something on, and to write down."""

from __future__ import annotations

import torch
from torch.fx import Graph, GraphModule, Node


def copy_graph(graph: Graph) -> Graph:
    """A copy of ``graph`` with its own nodes, in a module of its own; values in ``meta`` are shared.

    Names are kept, so that what is said of the copy is true of the original.
    """
    copy = Graph()
    mapping: dict[Node, Node] = {}
    for node in graph.nodes:
        mapping[node] = copied = copy.node_copy(node, mapping.__getitem__)
        copied.name = node.name
    root = graph.owning_module if graph.owning_module is not None else torch.nn.Module()
    return GraphModule(root, copy).graph
