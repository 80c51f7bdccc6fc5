"""The graphs that operators of control flow run: parts of a graph's module, which nodes of the graph name.

``torch.cond``, ``while_loop``, ``scan``, regions compiled once: each is given its graphs through ``get_attr`` nodes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch.fx import Graph, GraphModule


def branches_of(graph: Graph) -> dict[str, Graph]:
    """The graphs within ``graph`` by the names that it has for them, those within them included.

    The names of a graph within another are joined by a slash: ``"true_graph_0/body_0"``. A graph that has several names
    is there under each, and what is within it under the first. Takes no time where no module is a part of the graph's.
    """
    found: dict[str, Graph] = {}
    _collect(graph, "", found, {graph})
    return found


def distinct(branches: Mapping[str, Graph]) -> dict[str, Graph]:
    """Each graph under its first name only."""
    first: dict[Graph, str] = {}
    for name, branch in branches.items():
        first.setdefault(branch, name)
    return {name: branch for branch, name in first.items()}


def part_called(graph: Graph, target: object) -> Any:
    """What a ``get_attr`` node of ``graph`` stands for; None where there is nothing."""
    value: Any = graph.owning_module
    for name in str(target).split("."):
        value = getattr(value, name, None)
    return value


def _collect(graph: Graph, prefix: str, found: dict[str, Graph], seen: set[Graph]) -> None:
    owner = graph.owning_module
    if owner is None or next(owner.children(), None) is None:
        return
    for node in graph.find_nodes(op="get_attr"):
        name = f"{prefix}{node.target}"
        part = part_called(graph, node.target) if name not in found else None
        if not isinstance(part, GraphModule):
            continue
        found[name] = part.graph
        if part.graph not in seen:
            seen.add(part.graph)
            _collect(part.graph, f"{name}/", found, seen)
