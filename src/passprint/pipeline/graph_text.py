"""A graph as text, one node a line: for dumps, differences and errors."""

from __future__ import annotations

import difflib
from typing import Any

import torch
from torch.fx import Graph, Node


def graph_text(graph: Graph) -> str:
    """``name = target(arguments)  # float32[2, s0] (s0, 1)`` for every node, with what it is annotated with."""
    return "\n".join(node_text(node) for node in graph.nodes) + "\n"


def node_text(node: Node) -> str:
    """One line of `graph_text`."""
    arguments = [_argument(value) for value in node.args]
    arguments += [f"{key}={_argument(value)}" for key, value in node.kwargs.items()]
    if node.op in ("placeholder", "get_attr"):
        line = f"{node.name} = {node.op} {node.target}"
    elif node.op == "output":
        return f"return {', '.join(arguments)}"
    else:
        line = f"{node.name} = {target_text(node)}({', '.join(arguments)})"
    return f"{line}  # {value_text(node.meta['val'])}" if "val" in node.meta else line


def target_text(node: Node) -> str:
    """What a node calls, in short."""
    if isinstance(node.target, torch._ops.OpOverload):
        return str(node.target)
    return str(getattr(node.target, "__name__", node.target))


def value_text(value: Any) -> str:
    """``float32[2, s0] (s0, 1)``: dtype, shape, strides; the device where it is not the CPU."""
    if isinstance(value, torch.Tensor):
        dtype = str(value.dtype).removeprefix("torch.")
        strides = (
            f" ({', '.join(map(str, value.stride()))})"
            if value.layout is torch.strided
            else f" {value.layout}"
        )
        device = "" if value.device.type == "cpu" else f" {value.device}"
        return f"{dtype}[{', '.join(map(str, value.shape))}]{strides}{device}"
    if isinstance(value, list | tuple):
        return f"({', '.join(map(value_text, value))})"
    return str(value)


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
