"""Operators that give back what they were given."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch.fx import Graph, Node

from passprint.passes.base import InductorPass
from passprint.passes.context import may_rewrite
from passprint.passes.library.aliasing import Aliasing
from passprint.passes.library.layout import op_name, same_layout, tensor_of


class NoopElimination(InductorPass):
    """Remove views, casts and arithmetic that change nothing, also where sizes are symbolic.

    - views whose result has the layout of their argument: ``reshape``, ``view``, ``expand``, ``slice``,
      ``squeeze``, ``alias``, ``detach``. Inductor removes some of these itself, but not ``expand`` and
      ``reshape``, nor a ``slice`` with an open end;
    - casts to the dtype and device that is there already;
    - with ``arithmetic``: a neutral operand, as in ``x * 1.0``, ``x / 1``, ``x - 0``, ``x ** 1.0``,
      ``mask & True``, and ``x + 0`` of integers (``-0.0 + 0`` is ``0.0``, so not of floats).

    Whether a size is the same is answered from what is known for all sizes; no guard is added.
    """

    arithmetic: bool = True

    asks_before_rewrites: ClassVar[bool] = True

    def __call__(self, graph: Graph) -> None:
        aliasing = Aliasing(graph)
        for node in list(graph.nodes):
            if node.op != "call_function" or (source := self._unchanged(node)) is None:
                continue
            may_replace = aliasing.may_replace_view if op_name(node) in _VIEWS else aliasing.may_replace_copy
            if may_replace(node, source) and may_rewrite(node):
                aliasing.replace(node, source)

    def _unchanged(self, node: Node) -> Node | None:
        """The argument that ``node`` gives back unchanged."""
        candidates: tuple[object, ...]
        name = op_name(node)
        if name in _VIEWS or name in _CASTS:
            candidates = (node.args[0],)
        elif self.arithmetic and (neutral := _NEUTRAL.get(name)) is not None:
            candidates = neutral(node)
        else:
            return None
        for source in candidates:
            if isinstance(source, Node) and same_layout(tensor_of(node), tensor_of(source)):
                return source
        return None


# A view in this table whose result has the layout of its argument shows the same elements at the same places.
_VIEWS = frozenset(
    {
        "aten.reshape.default",
        "aten.view.default",
        "aten._unsafe_view.default",
        "aten.expand.default",
        "aten.slice.Tensor",
        "aten.squeeze.default",
        "aten.squeeze.dim",
        "aten.squeeze.dims",
        "aten.alias.default",
        "aten.detach.default",
    }
)

_CASTS = frozenset({"prims.convert_element_type.default", "aten._to_copy.default"})


def _constant(argument: object) -> int | float | bool | None:
    """The number that ``argument`` is, or that it is filled with."""
    if isinstance(argument, Node) and op_name(argument) == "aten.full.default":
        argument = argument.args[1]
    return argument if isinstance(argument, int | float) else None


def _is_exact(node: Node) -> bool:
    """Whether arithmetic with one or zero is exact in the result's dtype: not for complex numbers."""
    value = tensor_of(node)
    return value is not None and not value.is_complex()


def _right(number: int) -> Callable[[Node], tuple[object, ...]]:
    """The left operand, where the right one is ``number`` (and not -0.0)."""

    def candidates(node: Node) -> tuple[object, ...]:
        constant = _constant(node.args[1])
        fits = constant == number and str(constant) != "-0.0" and _is_exact(node)
        return (node.args[0],) if fits else ()

    return candidates


def _either(number: int, applies: Callable[[Node], bool]) -> Callable[[Node], tuple[object, ...]]:
    """Each operand whose other one is ``number``."""

    def candidates(node: Node) -> tuple[object, ...]:
        left, right = node.args[:2]
        if not applies(node):
            return ()
        return tuple(x for x, other in ((left, right), (right, left)) if _constant(other) == number)

    return candidates


def _is_integer(node: Node) -> bool:
    value = tensor_of(node)
    return value is not None and not value.is_floating_point() and not value.is_complex()


def _is_bool(node: Node) -> bool:
    value = tensor_of(node)
    return value is not None and value.dtype == torch.bool


_NEUTRAL: dict[str, Callable[[Node], tuple[object, ...]]] = {
    "aten.mul.Tensor": _either(1, _is_exact),
    "aten.mul.Scalar": _either(1, _is_exact),
    "aten.div.Tensor": _right(1),
    "aten.div.Scalar": _right(1),
    "aten.add.Tensor": _either(0, _is_integer),
    "aten.add.Scalar": _either(0, _is_integer),
    "aten.sub.Tensor": _right(0),
    "aten.sub.Scalar": _right(0),
    "aten.pow.Tensor_Scalar": _right(1),
    "aten.bitwise_and.Tensor": _either(1, _is_bool),
    "aten.bitwise_and.Scalar": _either(1, _is_bool),
    "aten.bitwise_or.Tensor": _either(0, _is_bool),
    "aten.bitwise_or.Scalar": _either(0, _is_bool),
    "aten.logical_and.default": _either(1, _is_bool),
    "aten.logical_or.default": _either(0, _is_bool),
}
