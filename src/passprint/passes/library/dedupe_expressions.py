"""Expressions that are computed more than once."""

from __future__ import annotations

import operator
import types
from collections.abc import Hashable
from typing import Any, ClassVar

import torch
from torch.fx import Graph, Node

from passprint.passes.base import InductorPass
from passprint.passes.context import may_rewrite
from passprint.passes.library.aliasing import NUMBERS, Aliasing
from passprint.passes.library.layout import same_layout, tensor_of

aten = torch.ops.aten


class DedupeExpressions(InductorPass):
    """Compute each pure expression once.

    Two nodes are equal when they call the same operator on equal arguments; a symbolic size equals another
    one when both stand for the same formula, and ``1``, ``1.0`` and ``True`` differ. Operators of ATen and
    prims count as pure unless they write to memory, draw random numbers, leave memory uninitialised, or
    give sizes that depend on data. What was read before a write is not the same as what is read after it.
    Two outputs never become one.
    """

    asks_before_rewrites: ClassVar[bool] = True

    def __call__(self, graph: Graph) -> None:
        aliasing = Aliasing(graph)
        seen: dict[Hashable, Node] = {}
        for node in list(graph.nodes):
            if not _is_pure(node):
                continue
            key = _key(node, aliasing)
            first = seen.setdefault(key, node)
            is_same = first is not node and _same_value(node, first)
            if is_same and aliasing.may_merge(node, first) and may_rewrite(node):
                aliasing.replace(node, first)


_PURE_NAMESPACES = frozenset({"aten", "prims"})
_UNINITIALISED = frozenset(
    {"empty", "new_empty", "empty_like", "empty_strided", "new_empty_strided", "empty_permuted"}
)
_IMPURE_TAGS = (
    torch.Tag.nondeterministic_seeded,
    torch.Tag.data_dependent_output,
    torch.Tag.dynamic_output_shape,
)


def _is_pure(node: Node) -> bool:
    """Whether ``node`` gives equal values for equal arguments and does nothing else."""
    if node.op != "call_function":
        return False
    target = node.target
    if isinstance(target, torch._ops.OpOverload):
        namespace, _, name = target._schema.name.partition("::")
        return (
            namespace in _PURE_NAMESPACES
            and not target._schema.is_mutable
            and name not in _UNINITIALISED
            and not name.startswith("inductor_")  # prims that draw random numbers
            and not any(tag in target.tags for tag in _IMPURE_TAGS)
        )
    if target is operator.getitem:
        return True
    is_number = isinstance(node.meta.get("val"), NUMBERS)
    return is_number and isinstance(target, types.BuiltinFunctionType) and target.__module__ == "_operator"


def _same_value(node: Node, other: Node) -> bool:
    """Whether the annotations of both agree; both have one."""
    left, right = node.meta.get("val"), other.meta.get("val")
    if isinstance(left, torch.Tensor):
        return same_layout(tensor_of(node), tensor_of(other))
    return left is not None and type(left) is type(right)


def _key(node: Node, aliasing: Aliasing) -> Hashable:
    """What two equal expressions have in common."""
    kwargs = tuple(sorted((name, _plain(value)) for name, value in node.kwargs.items()))
    reads = tuple(aliasing.last_write_before(value, node) for value in node.all_input_nodes)
    return (node.target, _plain(node.args), kwargs, reads)


def _plain(value: Any) -> Hashable:
    """A hashable stand-in for an argument that equals another argument's only if the two are the same."""
    if isinstance(value, Node):
        size = value.meta.get("val")
        return _plain(size) if isinstance(size, torch.SymInt) else ("node", value)
    if isinstance(value, torch.SymInt | torch.SymFloat | torch.SymBool):
        return ("symbol", value.node.expr)
    if isinstance(value, list | tuple):
        return ("list", tuple(map(_plain, value)))
    if isinstance(value, dict):
        return ("dict", tuple(sorted((repr(key), _plain(item)) for key, item in value.items())))
    if isinstance(value, slice):
        return ("slice", _plain((value.start, value.stop, value.step)))
    if isinstance(value, float):
        return ("float", repr(value))
    return (type(value).__name__, value)
