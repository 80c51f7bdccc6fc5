"""Large buffers that pieces use one after the other: kept and taken again, and not given to the system in between.

Within one graph Inductor takes a buffer for another. A model in pieces has no such graph: each block would ask for its
megabytes and free them, and the C library returns what lies on top of its heap to the system, so that every block has
to have its pages mapped again (a decode step of 30 layers with 19 MB for each expanded cache: 480 ms instead of 190).

A buffer is taken again only if nothing else refers to it: not its tensor, from Python or from C++, and not its memory,
as a result of the piece or a view of one does.
"""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Final

import torch

LARGE: Final = 1 << 20
"""Bytes from which on a buffer is kept; smaller ones stay in the heap anyway."""
MOST: Final = 128 << 20
"""So many bytes are kept in a process; those that were used longest ago go first."""

Runnable = Callable[[list[Any]], Sequence[Any]]
_Key = tuple[Any, ...]
_guards: Any = torch._C._dynamo.guards
_storage_count: Any = getattr(torch._C, "_storage_Use_Count", None)  # read in torch 2.11 to 2.15


class Buffers:
    """Buffers that nobody uses, by size, stride and type."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._free: OrderedDict[_Key, list[torch.Tensor]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        self._own = threading.local()

    def take(self, size: Sequence[int], stride: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        """A tensor whose memory holds anything, to be called within :meth:`borrowing`."""
        key = (size, stride, dtype, torch.is_inference_mode_enabled())
        with self._lock:
            kept = self._free.get(key)
            found = kept.pop() if kept else None
            if found is not None:
                self._bytes -= found.nbytes
        if found is None:
            found = _guards._empty_strided_cpu(size, stride, dtype)
        self._own.taken.append((key, found))
        made: torch.Tensor = found
        return made

    def borrowing(self, call: Runnable) -> Runnable:
        """``call``, after which what it took can be taken again, unless it is referred to."""

        def run(inputs: list[Any]) -> Sequence[Any]:
            before = getattr(self._own, "taken", None)
            taken = self._own.taken = []
            try:
                return call(inputs)
            finally:
                self._own.taken = before
                while taken:
                    self._give_back(*taken.pop())

        return run

    def _give_back(self, key: _Key, buffer: torch.Tensor) -> None:
        if _ALONE is None or _references(buffer) != _ALONE:
            return
        if (*buffer.shape,) != key[0] or buffer.stride() != key[1] or buffer.requires_grad or vars(buffer):
            return  # an operator of somebody's made something else of it
        with self._lock:
            self._free.setdefault(key, []).append(buffer)
            self._free.move_to_end(key)
            self._bytes += buffer.nbytes
            while self._bytes > self._most:
                oldest = next(iter(self._free))
                if not self._free[oldest]:
                    del self._free[oldest]
                    continue
                self._bytes -= self._free[oldest].pop().nbytes


def _references(buffer: torch.Tensor) -> tuple[int, ...]:
    """How often a tensor and its memory are referred to, each from Python and from C++."""
    typed: Any = buffer
    memory: Any = buffer.untyped_storage()
    counts = sys.getrefcount(buffer), typed._use_count()
    return *counts, sys.getrefcount(memory), _storage_count(memory._cdata)


def _count_alone(key: _Key, buffer: torch.Tensor) -> tuple[int, ...]:
    """What :func:`_references` gives where :meth:`Buffers._give_back` has the only reference."""
    return _references(buffer)


def _alone() -> tuple[int, ...] | None:
    """The counts of a buffer that nobody else has; None on a torch that does not tell."""
    if _storage_count is None or not hasattr(torch.Tensor, "_use_count"):
        return None
    taken = [((), _guards._empty_strided_cpu((1,), (1,), torch.uint8))]  # as it lies in the list of a call
    return _count_alone(*taken.pop())


_ALONE: Final = _alone()
_shared = Buffers()
take, borrowing = _shared.take, _shared.borrowing
