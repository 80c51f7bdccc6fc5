"""Whether two tensors overlap in memory: a graph that writes to an input relies on it that none does.

Dynamo does not guard on it, and torch's own handling of inputs that share a storage gives wrong results for two views
that overlap (read and run with torch 2.13). So a graph that writes to an input is run only where no two inputs overlap.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from operator import itemgetter
from typing import Any

import torch

_PLAIN = (torch.Tensor, torch.nn.Parameter)
_POINTER = torch.Tensor.data_ptr
_Span = tuple[int, int, int, torch.Tensor]
"""First address, the one behind the last, the place among the tensors, the tensor."""


def overlapping(values: Iterable[Any]) -> tuple[int, int] | None:
    """The places of two plain tensors with memory in common, or None. A tensor that is given twice is no pair."""
    spans = sorted(_spans(enumerate(values)))
    reached = 0
    for index, (start, end, place, value) in enumerate(spans):
        if start < reached:
            for _, other_end, other_place, other in spans[:index]:
                if other_end > start and other is not value and _share(other, value):
                    return other_place, place
        reached = max(reached, end)
    return None


class Apart:
    """The same question, asked at every call of a program: only of tensors that are not always where they were.

    A decode step has hundreds of weights and caches that stay, and a few tensors that are new.
    """

    def __init__(self, varying: Iterable[int]) -> None:
        """``varying`` are the places of tensors that may have other sizes or strides at another call."""
        self._moves = set(varying)
        self._places: list[int] = []
        self._still: Callable[[Any], Sequence[torch.Tensor]] = _nothing
        self._pointers: list[int] = []
        self._starts: list[int] = []
        self._ends: list[int] = []

    def __call__(self, tensors: Sequence[torch.Tensor]) -> bool:
        """Whether no two of the tensors overlap in memory. They are of the same kinds at each call."""
        pointers = list(map(_POINTER, self._still(tensors)))
        if not pointers or pointers != self._pointers:
            pairs = zip(self._places, pointers, self._pointers, strict=True)
            self._moves.update(place for place, now, before in pairs if now != before)
            return self._look_at_all(tensors)
        return self._fit_between(tensors) or overlapping(tensors) is None

    def _look_at_all(self, tensors: Sequence[torch.Tensor]) -> bool:
        if overlapping(tensors) is not None:
            return False
        spans = [span for span in sorted(_spans(enumerate(tensors))) if span[2] not in self._moves]
        if len(spans) < 2:
            spans = []
        self._places = [span[2] for span in spans]
        self._still = itemgetter(*self._places) if spans else _nothing
        self._moves.update(set(range(len(tensors))).difference(self._places))
        self._pointers = [span[0] for span in spans]
        self._starts, self._ends = self._pointers, list(accumulate([span[1] for span in spans], max))
        return True

    def _fit_between(self, tensors: Sequence[torch.Tensor]) -> bool:
        """Whether those that move lie apart from each other, and outside the spans of all that stay."""
        reached = 0
        for start, end, *_ in sorted(_spans((place, tensors[place]) for place in self._moves)):
            after = bisect_right(self._starts, start)
            if start < reached or (after and self._ends[after - 1] > start):
                return False
            if after < len(self._starts) and self._starts[after] < end:
                return False
            reached = end
        return True


def _nothing(tensors: object) -> Sequence[torch.Tensor]:
    return ()


def _spans(placed: Iterable[tuple[int, Any]]) -> Iterator[_Span]:
    """Where plain tensors lie; one without memory, or on the device ``meta``, has no place."""
    for place, value in placed:
        if type(value) in _PLAIN and value.layout is torch.strided:
            start = value.data_ptr()
            length = value.nbytes if value.is_contiguous() else _extent(value)
            if start and length:
                yield start, start + length, place, value


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
