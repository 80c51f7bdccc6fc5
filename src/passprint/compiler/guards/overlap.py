"""Whether two tensors overlap in memory: a graph that writes to an input relies on it that none does.

Dynamo does not guard on it, and torch's own handling of inputs that share a storage gives wrong results for two views
that overlap (read and run with torch 2.13). So a graph that writes to an input is run only where no two inputs overlap.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch

_PLAIN = (torch.Tensor, torch.nn.Parameter)


def overlapping(values: Iterable[Any]) -> tuple[int, int] | None:
    """The places of two plain tensors with memory in common, or None. A tensor that is given twice is no pair."""
    spans = []
    for place, value in enumerate(values):
        if type(value) in _PLAIN and value.layout is torch.strided:
            start = value.data_ptr()
            length = value.nbytes if value.is_contiguous() else _extent(value)
            if start and length:  # a tensor without memory, or on the device ``meta``, has no place
                spans.append((start, start + length, place, value))
    spans.sort(key=_start)
    reached = 0
    for index, (start, end, place, value) in enumerate(spans):
        if start < reached:
            for _, other_end, other_place, other in spans[:index]:
                if other_end > start and other is not value and _share(other, value):
                    return other_place, place
        reached = max(reached, end)
    return None


def _start(span: tuple[int, ...]) -> int:
    return span[0]


def _extent(tensor: torch.Tensor) -> int:
    """Bytes from the first element to the end of the last one."""
    if not tensor.numel():
        return 0
    steps = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return (steps + 1) * tensor.element_size()


def _share(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether tensors whose spans overlap have an element in common; True where that is not simple to tell.

    ``cache[:, 0]`` and ``cache[:, 1]`` lie between each other and have none.
    """
    size = one.element_size()
    apart = other.data_ptr() - one.data_ptr()
    if one.device != other.device:
        return False
    if one.stride() != other.stride() or other.element_size() != size or apart % size:
        return True
    dims = sorted(zip(one.stride(), one.shape, other.shape, strict=True), reverse=True)
    return _reaches(apart // size, dims)


def _reaches(distance: int, dims: Sequence[tuple[int, int, int]]) -> bool:
    """Whether an index of the first tensor and one of the second are ``distance`` elements apart."""
    if not dims:
        return distance == 0
    (stride, mine, theirs), inner = dims[0], dims[1:]
    if stride == 0:
        return _reaches(distance, inner)
    most = sum((n - 1) * s for s, n, _ in inner)
    least = -sum((n - 1) * s for s, _, n in inner)
    # first index of one, minus that of the other; what is left has to be made up by the inner dimensions
    first, last = -((most - distance) // stride), (distance - least) // stride
    steps = range(max(first, -(theirs - 1)), min(last, mine - 1) + 1)
    return any(_reaches(distance - step * stride, inner) for step in steps)
