"""Permutations of permutations."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch.fx import Graph, Node

from passprint.passes.base import InductorPass
from passprint.passes.context import may_rewrite
from passprint.passes.library.aliasing import Aliasing
from passprint.passes.library.layout import tensor_of

aten = torch.ops.aten


class FoldPermutes(InductorPass):
    """Make one permutation of two, and none of one that leaves every dimension where it is.

    Takes ``permute``, ``transpose`` and ``t``. The backward graph of every linear layer holds such a pair:
    its weight, transposed for the forward product and once more for the gradient.
    """

    asks_before_rewrites: ClassVar[bool] = True

    def __call__(self, graph: Graph) -> None:
        aliasing = Aliasing(graph)
        for node in list(graph.nodes):
            order = _order(node)
            if order is None:
                continue
            inner = node.args[0]
            while isinstance(inner, Node) and (first := _order(inner)) is not None:
                if not may_rewrite(node):
                    break
                order = [first[dim] for dim in order]
                source = inner.args[0]
                node.replace_input_with(inner, source)
                node.target, node.args = aten.permute.default, (source, order)
                if not inner.users:
                    aliasing.erase(inner)
                inner = source
            is_noop = isinstance(inner, Node) and order == sorted(order)
            if is_noop and aliasing.may_replace_view(node, inner) and may_rewrite(node):
                aliasing.replace(node, inner)


def _order(node: Node) -> list[int] | None:
    """The dimensions of the argument in the order in which ``node`` puts them; None if it permutes none."""
    value = tensor_of(node)
    if node.op != "call_function" or value is None:
        return None
    rank = value.dim()
    if node.target is aten.permute.default:
        return [dim % rank for dim in node.args[1]]  # type: ignore[union-attr, operator, misc]
    order = list(range(rank))
    if node.target is aten.transpose.int:
        left, right = (int(dim) % rank for dim in node.args[1:3])  # type: ignore[arg-type]
        order[left], order[right] = order[right], order[left]
        return order
    return order[::-1] if node.target is aten.t.default else None
