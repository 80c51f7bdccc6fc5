"""Variants of a graph for some sizes: which there are, and where a call's size is read.

The size is that of the graph's first varying dimension (a serving engine's number of tokens). The graph that serves
every size stays beside the variants and takes what they do not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch.fx import Graph

from passprint.errors import CompileError
from passprint.passes import CompileRange

RangeSpec = tuple[int, int] | CompileRange


@dataclass(frozen=True)
class SizePlan:
    """The sizes and the ranges (both ends included) that get code of their own; a size goes before a range."""

    sizes: tuple[int, ...] = ()
    ranges: tuple[CompileRange, ...] = ()

    @classmethod
    def of(cls, sizes: Sequence[int] | None, ranges: Sequence[RangeSpec] | None) -> SizePlan:
        """Read ``compile_sizes=`` and ``ranges=``. Raises :class:`passprint.CompileError` for what is neither."""
        given = {_size(size) for size in _several("compile_sizes", sizes, "[1, 8]")}
        return cls(tuple(sorted(given)), _ranges(_several("ranges", ranges, "[(1, 512), (513, 8192)]")))

    def __bool__(self) -> bool:
        return bool(self.sizes or self.ranges)

    def __str__(self) -> str:
        told = [f"compile_sizes {list(self.sizes)}"] if self.sizes else []
        told += [f"ranges {[(r.start, r.end) for r in self.ranges]}"] if self.ranges else []
        return ", ".join(told)

    def within(self, bounds: CompileRange) -> list[CompileRange]:
        """The variants for a dimension with these bounds; what lies outside is left out, what sticks out is cut."""
        found = [CompileRange(size, size) for size in self.sizes if size in bounds]
        for r in self.ranges:
            start, end = max(r.start, bounds.start), min(r.end, bounds.end)
            if start <= end:
                found.append(CompileRange(start, end))
        return found


def _several(name: str, given: Any, example: str) -> list[Any]:
    if given is None:
        return []
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise CompileError(f"{name}= is {given!r}. Expected a list, as {example}.")
    return list(given)


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _size(size: Any) -> int:
    if not _is_number(size) or size < 1:
        raise CompileError(f"compile_sizes= has {size!r}. Expected whole numbers from 1, as in [1, 8].")
    return int(size)


def _ranges(given: Sequence[RangeSpec]) -> tuple[CompileRange, ...]:
    found = []
    for pair in given:
        try:
            start, end = (pair.start, pair.end) if isinstance(pair, CompileRange) else pair
            if not (_is_number(start) and _is_number(end)):
                raise TypeError("a bound is no whole number")
            found.append(CompileRange(start, end))
        except (TypeError, ValueError) as error:
            raise CompileError(
                f"ranges= has {pair!r}. Expected pairs of whole numbers (first, last), the first not larger, as in "
                "[(1, 512), (513, 8192)]."
            ) from error
    found.sort()
    for lower, upper in pairwise(found):
        if upper.start <= lower.end:
            raise CompileError(f"ranges= has {lower} and {upper}, which overlap; each size needs one answer.")
    return tuple(found)


@dataclass(frozen=True)
class SizeOf:
    """Where a call's size is read: argument number ``argument``, and its dimension, or None for a plain number."""

    symbol: str
    argument: int
    dimension: int | None
    value: torch.SymInt


def varying_size(graph: Graph) -> SizeOf | None:
    """The first varying size of a graph, or None where all sizes are numbers."""
    placeholders = graph.find_nodes(op="placeholder")
    for index, node in enumerate(placeholders):
        value = node.meta.get("example_value")
        sizes: Sequence[Any] = value.shape if isinstance(value, torch.Tensor) else ()
        if isinstance(value, torch.SymInt) and value.node.expr.is_symbol:
            return SizeOf(str(value.node.expr), index, None, value)
        for dimension, size in enumerate(sizes):
            if isinstance(size, torch.SymInt) and size.node.expr.is_symbol:
                return SizeOf(str(size.node.expr), index, dimension, size)
    return None
