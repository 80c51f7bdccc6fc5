"""Copies that nothing needs."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch.fx import Graph, Node

from passprint.passes.base import InductorPass
from passprint.passes.context import may_rewrite
from passprint.passes.library.aliasing import Aliasing, move_views
from passprint.passes.library.layout import CannotTell, reshape_strides, same, same_layout, tensor_of

aten = torch.ops.aten


class DropClones(InductorPass):
    """Remove a copy where its source can stand for it.

    Two cases are safe:

    - the copy has the strides of its source;
    - its one use is a reshape, the reshape of the source has the strides of the reshape of the copy, and no
      output is a view of it. This is what ``repeat_kv`` and rotary embeddings leave, a reshape of an expanded
      tensor, which copies anyway, and an attention's ``transpose(1, 2).contiguous()`` before its heads are joined.

    In both, neither memory may be written to while the copy is in use, and no output may begin to share
    memory with an input or another output. Everything else stays: a copy that puts its elements in another
    order in memory may be there for an operator that asks for that order.
    """

    asks_before_rewrites: ClassVar[bool] = True

    def __call__(self, graph: Graph) -> None:
        aliasing = Aliasing(graph)
        for node in list(graph.nodes):
            source = _source(node)
            if source is None or not aliasing.may_replace_copy(node, source):
                continue
            is_same = same_layout(tensor_of(node), tensor_of(source))
            # Inductor does not keep the strides of an output whose memory a reshape would make.
            is_spare = is_same or (_only_reshaped(node, source) and not aliasing.is_returned(node))
            if not is_spare or not may_rewrite(node):
                continue
            if is_same:
                aliasing.replace(node, source)
            else:
                (reshape,) = node.users
                aliasing.replace(node, source)
                _annotate(reshape, source)


def _source(node: Node) -> Node | None:
    """What ``node`` copies, if it is a copy."""
    if node.op != "call_function":
        return None
    if node.target in (aten.clone.default, aten.contiguous.default, aten.lift_fresh_copy.default):
        source = node.args[0]
    elif node.target is aten.copy.default:
        source = node.args[1]
    else:
        return None
    return source if isinstance(source, Node) else None


def _only_reshaped(node: Node, source: Node) -> bool:
    """Whether the one use of ``node`` is a reshape that would give the same tensor from ``source``."""
    copied, value = tensor_of(node), tensor_of(source)
    if len(node.users) != 1 or copied is None or value is None:
        return False
    (reshape,) = node.users
    result = tensor_of(reshape)
    if reshape.target is not aten.reshape.default or reshape.args[0] is not node or result is None:
        return False
    if value.dtype != copied.dtype or value.device != copied.device or not same(value.shape, copied.shape):
        return False
    try:
        strides, _ = reshape_strides(value, result.shape)
    except CannotTell:
        return False
    return same(strides, result.stride())


def _annotate(reshape: Node, source: Node) -> None:
    """Say that ``reshape``, which was a view of a copy, is a view of ``source``, if it is one."""
    result, value = tensor_of(reshape), tensor_of(source)
    if result is None or value is None:
        return
    strides, is_view = reshape_strides(value, result.shape)
    if is_view:
        view = value.as_strided(result.shape, strides, value.storage_offset())
        move_views(reshape, result, view)
        reshape.meta["val"] = view
