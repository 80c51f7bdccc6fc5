"""Reshapes of reshapes."""

from __future__ import annotations

from typing import ClassVar

from torch.fx import Graph, Node

from passprint.passes.base import InductorPass
from passprint.passes.context import may_rewrite
from passprint.passes.library.aliasing import Aliasing
from passprint.passes.library.layout import CannotTell, op_name, reshape_strides, same, same_layout, tensor_of


class FoldReshapes(InductorPass):
    """Let a reshape of a reshape (or of a squeeze, or of an unsqueeze) read the first one's argument.

    A reshape depends on the order of the elements only, so what stands in between does not matter, as long as
    the result has the same strides and is a copy where it was one. A reshape that leads back to the layout of
    the argument disappears.
    """

    asks_before_rewrites: ClassVar[bool] = True

    def __call__(self, graph: Graph) -> None:
        aliasing = Aliasing(graph)
        for node in list(graph.nodes):
            if op_name(node) not in _RESHAPES:
                continue
            inner = node.args[0]
            if not isinstance(inner, Node):
                continue
            while (source := _argument(inner)) is not None and _is_direct(node, inner, source):
                if aliasing.last_write_before(source, node) != aliasing.last_write_before(source, inner):
                    break
                if not may_rewrite(node):
                    break
                node.replace_input_with(inner, source)
                if not inner.users:
                    aliasing.erase(inner)
                inner = source
            if (
                same_layout(tensor_of(node), tensor_of(inner))
                and aliasing.may_replace_view(node, inner)
                and may_rewrite(node)
            ):
                aliasing.replace(node, inner)


_RESHAPES = frozenset({"aten.reshape.default", "aten.view.default", "aten._unsafe_view.default"})
_ORDER_KEEPING = _RESHAPES | {
    "aten.squeeze.default",
    "aten.squeeze.dim",
    "aten.squeeze.dims",
    "aten.unsqueeze.default",
}


def _argument(node: Node) -> Node | None:
    """What ``node`` shows in the same order of elements, if it does no more than that."""
    source = node.args[0] if op_name(node) in _ORDER_KEEPING else None
    return source if isinstance(source, Node) else None


def _is_direct(node: Node, inner: Node, source: Node) -> bool:
    """Whether ``node``, a reshape of ``inner``, is known to be just that of ``source``, its argument."""
    result, between, value = tensor_of(node), tensor_of(inner), tensor_of(source)
    if result is None or between is None or value is None:
        return False
    try:
        strides, is_view = reshape_strides(value, result.shape)
        _, was_view = reshape_strides(value, between.shape)
    except CannotTell:
        return False
    needs_view = op_name(node) != "aten.reshape.default"
    return same(strides, result.stride()) and (is_view if needs_view else was_view or not is_view)
