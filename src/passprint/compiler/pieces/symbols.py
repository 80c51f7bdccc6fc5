"""Symbolic sizes: what is known of them before a piece is compiled, and what compiling it assumed.

What is reached here is torch's ``ShapeEnv``: its ranges, its guards, and guards as text. Read against torch 2.11 to
2.13.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor

from passprint.passes.context import UNBOUNDED, CompileRange

SYMBOL = re.compile(r"\b(?:s|u|zf|zuf)\d+\b")
"""How torch calls symbols: ``u`` marks those that come from data, ``f`` those that are no integers."""


@dataclass(frozen=True)
class SymbolFacts:
    """What is known of symbolic sizes before a piece is compiled: ranges by symbol, and guards, as text."""

    ranges: Mapping[str, str]
    guards: tuple[str, ...]

    def of_data(self, names: Iterable[str]) -> SymbolFacts:
        """What is known of those of ``names`` that stand for numbers from data."""
        chosen = {name for name in names if is_from_data(name)}
        ranges = {name: known for name, known in self.ranges.items() if name in chosen}
        return SymbolFacts(ranges, tuple(g for g in self.guards if chosen.intersection(SYMBOL.findall(g))))


def fake_mode_of(values: Sequence[object]) -> Any | None:
    """The mode that the fake tensors in ``values`` belong to, or None where there are none."""
    return next((value.fake_mode for value in values if isinstance(value, FakeTensor)), None)


def shape_env_of(values: Sequence[object]) -> Any | None:
    """The ``ShapeEnv`` that the symbols in ``values`` belong to, or None where all sizes are numbers."""
    symbol = next((value for value in values if isinstance(value, torch.SymInt)), None)
    if symbol is not None:
        return symbol.node.shape_env
    fake_mode = fake_mode_of(values)
    return None if fake_mode is None else fake_mode.shape_env


def free_symbols(value: object) -> list[str]:
    """The names of the symbols that a value's sizes, strides and numbers are made of, in order of appearance."""
    found: dict[str, None] = {}

    def visit(item: Any) -> None:
        if isinstance(item, (torch.SymInt, torch.SymFloat, torch.SymBool)):
            found.update(dict.fromkeys(sorted(str(s) for s in item.node.expr.free_symbols)))
        elif isinstance(item, torch.Tensor):
            visit(item.shape)
            if item.layout is torch.strided:
                visit((*item.stride(), item.storage_offset()))
        elif isinstance(item, (tuple, list)):
            for entry in item:
                visit(entry)

    visit(value)
    return list(found)


def carried_symbols(value: object) -> list[str]:
    """The names of the symbols that a tensor has as a size, or that a number is: compiled code reads them there."""
    return [
        str(number.node.expr)
        for number in _numbers(value)
        if isinstance(number, (torch.SymInt, torch.SymFloat)) and number.node.expr.is_symbol
    ]


def _numbers(value: object) -> Sequence[object]:
    return value.shape if isinstance(value, torch.Tensor) else (value,)


def is_from_data(name: str) -> bool:
    """Whether a symbol stands for a number that is known only when the graph runs. Torch tells it by the name, too."""
    return name.startswith(("u", "zuf"))


def named_symbols(values: Sequence[object]) -> dict[str, torch.SymInt]:
    """Each symbol that one of ``values`` carries, as a value; without those from data, on which there are no guards."""
    named: dict[str, torch.SymInt] = {}
    for value in values:
        for number in _numbers(value):
            if isinstance(number, torch.SymInt) and number.node.expr.is_symbol:
                name = str(number.node.expr)
                if not is_from_data(name):
                    named.setdefault(name, number)
    return named


def symbol_facts(shape_env: Any | None) -> SymbolFacts:
    """All that is known of the symbols now. Asserts are what has to hold for numbers that come from data."""
    if shape_env is None:
        return SymbolFacts({}, ())
    like_sizes = shape_env.size_like
    ranges = {
        str(s): f"[{r.lower}, {r.upper}]{', a size' if s in like_sizes else ''}"
        for s, r in shape_env.var_to_range.items()
    }
    guards = {str(g.expr) for g in shape_env.guards}
    asserts = {f"assert {a.expr}" for each in shape_env.deferred_runtime_asserts.values() for a in each}
    return SymbolFacts(ranges, (*sorted(guards), *sorted(asserts)))


def guard_count(shape_env: Any | None) -> int:
    return 0 if shape_env is None else len(shape_env.guards)


def guards_since(shape_env: Any | None, count: int, symbols: Sequence[torch.SymInt | None]) -> str | None:
    """The guards added after the first ``count`` that mention ``symbols``, as an expression over them in order.

    None for none. What was added for other symbols says nothing of a piece with these.
    """
    if shape_env is None or len(shape_env.guards) == count:
        return None
    known = {name for s in symbols if s is not None for name in s.node.expr.free_symbols}
    guards = [g for g in shape_env.guards[count:] if g.expr.free_symbols & known]
    text: str | None = shape_env.produce_guards_expression(list(symbols), guards=guards) if guards else None
    return text


def assume_guards(shape_env: Any | None, guards: str | None, symbols: Sequence[torch.SymInt]) -> bool:
    """Check ``guards`` for ``symbols`` and make them guards of this trace; False where they do not hold."""
    if guards is None:
        return True
    if shape_env is None:
        return False
    return bool(shape_env.evaluate_guards_expression(guards, list(symbols)))


def size_range(symbols: Sequence[Any]) -> CompileRange:
    """The sizes that a graph with these symbols serves: the range of the first one; any size without one.

    A number that may be negative is no size, but an argument.
    """
    for symbol in symbols:
        if symbol is not None:
            bounds = symbol.node.shape_env.bound_sympy(symbol.node.expr)
            if bounds.lower.is_Integer and bounds.lower >= 0:
                last = int(bounds.upper) if bounds.upper.is_Integer else UNBOUNDED
                return CompileRange(int(bounds.lower), last)
    return CompileRange.any()
