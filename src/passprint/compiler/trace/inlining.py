"""Put the nodes of blocks that were traced once in place of the calls that stand for them, one copy a call.

What comes after it (cutting into pieces, keys) sees the graph that a trace of every block would have given.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch.fx import Graph, GraphModule, Node
from torch.fx.node import map_arg

from passprint.compiler.trace.regions import BLOCK, NotRepeatable


def inline_blocks(gm: GraphModule) -> int:
    """Put the nodes of each traced block in place of the calls that stand for it; returns the number of calls.

    Raises :class:`NotRepeatable` where a call's inputs are not like those of the trace.
    """
    graph = gm.graph
    calls = [n for n in graph.nodes if n.op == "call_function" and BLOCK in n.meta]
    first_name: dict[str, str] = {}
    for call in calls:
        body_node, operands = call.args[0], call.args[2:]
        body = gm.get_submodule(str(body_node.target))
        leader = first_name.setdefault(str(body_node.target), call.meta[BLOCK])
        _inline(call, body, operands, leader)
    for name in first_name:
        for node in list(graph.find_nodes(op="get_attr", target=name)):
            if not node.users:
                graph.erase_node(node)
        if not graph.find_nodes(op="get_attr", target=name):
            gm.delete_submodule(name)
    if calls:
        gm.recompile()
    return len(calls)


def _inline(call: Node, body: Any, operands: Sequence[Any], leader: str) -> None:
    graph = call.graph
    copies: dict[Node, Any] = {}
    placeholders = body.graph.find_nodes(op="placeholder")
    for placeholder, operand in zip(placeholders, operands, strict=True):
        _check_alike(placeholder, operand)
        copies[placeholder] = operand
    returned: Any = next(iter(body.graph.find_nodes(op="output"))).args[0]
    users = list(call.users)
    with graph.inserting_before(call):
        for node in _live(body.graph, [returned[user.args[1]] for user in users]):
            copy = copies[node] = _copied(graph, node, copies)
            stack = node.meta.get("nn_module_stack")
            if stack:
                copy.meta["nn_module_stack"] = {
                    key: (_moved(path, leader, call.meta[BLOCK]), kind) for key, (path, kind) in stack.items()
                }
    for user in users:
        output = copies[returned[user.args[1]]]
        if "example_value" in user.meta and output.op != "placeholder":
            output.meta["example_value"] = user.meta["example_value"]
        user.replace_all_uses_with(output)
        graph.erase_node(user)
    graph.erase_node(call)


def _copied(graph: Graph, node: Node, copies: dict[Node, Any]) -> Node:
    """``Graph.node_copy`` without its search of the arguments for raw symbols, which takes most of its time."""
    copy = graph.create_node(node.op, node.target, name=node.name, type_expr=node.type)
    copy.args = map_arg(node.args, copies.__getitem__)
    copy.kwargs = map_arg(node.kwargs, copies.__getitem__)
    copy.meta = node.meta.copy()
    return copy


def _live(graph: Any, outputs: Sequence[Node]) -> list[Node]:
    """The nodes of a body in order, without sizes that only Dynamo asked for."""
    used, kept = set(outputs), []
    for node in reversed(graph.nodes):
        if node.op in ("placeholder", "output") or (node not in used and _is_size(node)):
            continue
        kept.append(node)
        used.update(node.all_input_nodes)
    return kept[::-1]


def _is_size(node: Node) -> bool:
    """A number of a shape, or a comparison of such numbers: no effect and no tensor."""
    if isinstance(node.meta.get("example_value"), torch.Tensor):
        return False
    named = getattr(node.target, "__module__", None) == "_operator" and node.target is not operator.setitem
    return named or (node.op == "call_method" and node.target in ("size", "dim", "stride", "numel"))


def _moved(path: str, leader: str, block: str) -> str:
    if path == leader or path.startswith((f"{leader}.", f"{leader}[")):
        return block + path[len(leader) :]
    return path


def _check_alike(placeholder: Node, operand: Any) -> None:
    """The trace's input and a call's input have the same metadata; sizes are compared as they are written."""
    traced = placeholder.meta.get("example_value")
    given = (
        operand.meta.get("example_value") if isinstance(operand, Node) else operand
    )  # a number stands for itself
    if _facts(traced) != _facts(given):
        raise NotRepeatable(f"input {placeholder.name} of a repeated block was {traced}, and is {given}")


def _facts(value: object) -> tuple[object, ...]:
    if not isinstance(value, torch.Tensor):
        return type(value), str(value)
    sizes = (str(tuple(value.shape)), str(tuple(value.stride())))
    return type(value), value.dtype, value.device, value.requires_grad, *sizes
