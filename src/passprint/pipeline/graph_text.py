"""A graph as text, one node a line: for dumps, differences and errors."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.fx import Graph, Node
from torch.fx.node import map_arg

from passprint.passes.branches import branches_of, distinct


def graph_text(graph: Graph) -> str:
    """``name = target(arguments)  # float32[2, s0] (s0, 1)`` for every node, with what it is annotated with.

    The graphs of control flow follow, each under its name.
    """
    return with_branches(
        _nodes_text(graph), {name: _nodes_text(one) for name, one in _branches(graph).items()}
    )


def with_branches(text: str, branches: Mapping[str, str]) -> str:
    """The text of a graph, and after it those of the graphs of control flow, by their names."""
    return "".join([text, *(f"\n# {name}\n{inner}" for name, inner in branches.items())])


def nodes_text(nodes: Sequence[Any]) -> str:
    """The scheduler's nodes, one a line, in the order in which they stand."""
    return "\n".join(f"{node.get_name()}: {type(node).__name__}" for node in nodes) + "\n"


def cut_text(forward: Graph, backward: Graph) -> str:
    """What a partitioner made."""
    return f"# forward\n{graph_text(forward)}\n# backward\n{graph_text(backward)}"


def structure_text(graph: Graph) -> str:
    """The graph without the names that FX makes up: equal for two graphs that do the same in the same order."""
    inner = {name: _structure_of_nodes(branch) for name, branch in sorted(_branches(graph).items())}
    return with_branches(_structure_of_nodes(graph), inner)


def _branches(graph: Graph) -> dict[str, Graph]:
    return distinct(branches_of(graph))


def _nodes_text(graph: Graph) -> str:
    return "\n".join(line_of(node) for node in graph.nodes) + "\n"


def _structure_of_nodes(graph: Graph) -> str:
    numbers: dict[Node, str] = {}
    lines = []
    for node in graph.nodes:
        args, kwargs = map_arg((node.args, dict(node.kwargs)), numbers.__getitem__)
        numbers[node] = f"%{len(numbers)}"
        target = "" if node.op == "placeholder" else target_text(node.target)
        lines.append(f"{node.op} {target} {_argument(args)} {kwargs}")
    return "\n".join(lines)


def line_of(node: Node) -> str:
    """One line of `graph_text`."""
    return node_text(node.name, node.op, node.target, node.args, node.kwargs, node.meta)


def node_text(name: str, op: str, target: Any, args: Any, kwargs: Any, meta: Mapping[str, Any]) -> str:
    """One line of `graph_text`, of the parts of a node."""
    arguments = [_argument(value) for value in args]
    arguments += [f"{key}={_argument(value)}" for key, value in kwargs.items()]
    if op in ("placeholder", "get_attr"):
        line = f"{name} = {op} {target}"
    elif op == "output":
        return f"return {', '.join(arguments)}"
    else:
        line = f"{name} = {target_text(target)}({', '.join(arguments)})"
    return f"{line}  # {value_text(meta['val'])}" if "val" in meta else line


def target_text(target: Any) -> str:
    """What a node calls, in short."""
    return (
        str(target) if isinstance(target, torch._ops.OpOverload) else str(getattr(target, "__name__", target))
    )


def value_text(value: Any) -> str:
    """``float32[2, s0] (s0, 1)``: dtype, shape, strides; the device where it is not the CPU."""
    if isinstance(value, torch.Tensor):
        strides = value.stride() if value.layout is torch.strided else value.layout
        return tensor_text(value.dtype, value.shape, strides, value.device)
    if isinstance(value, list | tuple):
        return f"({', '.join(map(value_text, value))})"
    return str(value)


def tensor_text(
    dtype: torch.dtype, shape: Sequence[Any], strides: Sequence[Any] | torch.layout, device: torch.device
) -> str:
    """The same of a tensor's parts; its layout in place of the strides where it has none."""
    told = strides if isinstance(strides, torch.layout) else f"({', '.join(map(str, strides))})"
    where = "" if device.type == "cpu" else f" {device}"
    return f"{str(dtype).removeprefix('torch.')}[{', '.join(map(str, shape))}] {told}{where}"


def difference(before: str, after: str, names: tuple[str, str], context: int = 3) -> str:
    """A unified diff of two texts; "" where they are equal."""
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), names[0], names[1], n=context, lineterm=""
    )
    return "\n".join(lines)


def _argument(value: Any) -> str:
    if isinstance(value, list | tuple):
        inner = ", ".join(map(_argument, value))
        return f"[{inner}]" if isinstance(value, list) else f"({inner}{',' if len(value) == 1 else ''})"
    return str(value)
