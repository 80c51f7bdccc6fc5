"""What is known about the layout of a node's value without running anything and without adding a guard.

Sizes may be symbolic. Every question here is answered from what the shape environment already knows; "cannot
tell" is an answer of its own, and a pass that gets it leaves the graph alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from torch.fx import Node
from torch.fx.experimental.symbolic_shapes import statically_known_true, sym_eq

Size: TypeAlias = Sequence[int | torch.SymInt]
Strides: TypeAlias = tuple[int | torch.SymInt, ...]


def op_name(node: object) -> str:
    """``aten.slice.Tensor`` for a node that calls an operator; "" for anything else.

    Passes compare names: a table of names is plain data, in a file and in a pass's identity.
    """
    if isinstance(node, Node) and isinstance(node.target, torch._ops.OpOverload):
        return str(node.target)
    return ""


def tensor_of(node: object) -> torch.Tensor | None:
    """The fake tensor that ``node`` is annotated with; None for anything but a node with one tensor."""
    if not isinstance(node, Node):
        return None
    value = node.meta.get("val")
    return value if isinstance(value, torch.Tensor) else None


def known(condition: Any) -> bool:
    """Whether ``condition`` (a bool or a symbolic one) is true for every size the graph may see."""
    return bool(statically_known_true(condition))


def same(left: Size, right: Size) -> bool:
    """Whether two sizes, or two strides, are known to be equal in rank and in every entry."""
    return len(left) == len(right) and known(sym_eq(tuple(left), tuple(right)))


def same_layout(left: torch.Tensor | None, right: torch.Tensor | None) -> bool:
    """Whether two values are known to agree in everything but their numbers and their memory."""
    return (
        left is not None
        and right is not None
        and left.dtype == right.dtype
        and left.device == right.device
        and left.layout == right.layout == torch.strided
        and left.is_conj() == right.is_conj()
        and left.is_neg() == right.is_neg()
        and same(left.shape, right.shape)
        and same(left.stride(), right.stride())
    )


def contiguous_strides(size: Size) -> Strides:
    """The strides of a contiguous tensor of ``size``, as torch computes them (a size of 0 counts as 1)."""
    strides: list[int | torch.SymInt] = []
    step: int | torch.SymInt = 1
    for length in reversed(size):
        strides.append(step)
        if not (isinstance(length, int) and length == 0):
            step = step * length
    return tuple(reversed(strides))


def is_contiguous(size: Size, strides: Size) -> bool:
    """Whether a tensor of this layout is known to be contiguous; the stride of a size of 1 does not count."""
    step: int | torch.SymInt = 1
    for length, stride in zip(reversed(size), reversed(strides), strict=True):
        if known(length == 1):
            continue
        if not known(stride == step):
            return False
        step = step * length
    return True


class CannotTell(Exception):
    """A question about a layout depends on a size that is not known."""


def sym_not(condition: Any) -> Any:
    """The opposite of a bool or of a symbolic one."""
    return torch.sym_not(condition)  # type: ignore[no-untyped-call]


def _ask(condition: Any) -> bool:
    if known(condition):
        return True
    if known(sym_not(condition)):
        return False
    raise CannotTell


def view_strides(size: Size, strides: Size, target: Size) -> Strides | None:
    """The strides that ``target`` has as a view of a tensor of this layout; None where it needs a copy.

    ``target`` is a full size, without -1, of as many elements. Raises CannotTell where it depends on a size
    that is not known. The rule is ATen's (``computeStride`` in ``ATen/TensorUtils.cpp``): runs of dimensions
    that lie contiguously in memory are cut up or joined freely, others are not.
    """
    if is_contiguous(size, strides):
        return contiguous_strides(target)
    if any(not known(length > 0) for length in (*size, *target)):
        raise CannotTell
    found: list[int | torch.SymInt] = []
    wanted = list(target)
    run: int | torch.SymInt = 1
    base = strides[-1]
    for dim in reversed(range(len(size))):
        run = run * size[dim]
        ends = dim == 0 or (not _ask(size[dim - 1] == 1) and not _ask(strides[dim - 1] == run * base))
        if not ends:
            continue
        covered: int | torch.SymInt = 1
        while wanted and (_ask(covered < run) or _ask(wanted[-1] == 1)):
            found.append(covered * base)
            covered = covered * wanted.pop()
        if not _ask(covered == run):
            return None
        if dim > 0:
            base = strides[dim - 1]
            run = 1
    return None if wanted else tuple(reversed(found))


def reshape_strides(value: torch.Tensor, target: Size) -> tuple[Strides, bool]:
    """The strides of ``value.reshape(target)`` and whether it is a view. Raises CannotTell."""
    strides = view_strides(value.shape, value.stride(), target)
    return (contiguous_strides(target), False) if strides is None else (strides, True)
