"""What a pass may know about the compile it runs in: the range of sizes, and where matches are counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from passprint.errors import PassprintError

#: The end of a range that has no upper bound.
UNBOUNDED = 2**63 - 1


@dataclass(frozen=True, order=True)
class CompileRange:
    """The sizes that one compiled graph serves, both ends included.

    The unit is the caller's: a serving engine counts tokens. ``CompileRange.any()`` is the range of a graph
    that may be run with any size. Raises ValueError when ``end`` is before ``start``, or ``start`` negative.
    """

    start: int
    end: int

    def __post_init__(self) -> None:
        if self.start < 0 or self.end < self.start:
            raise ValueError(
                f"CompileRange({self.start}, {self.end}) is empty or negative; both ends are included, "
                "so pass 0 <= start <= end"
            )

    @classmethod
    def any(cls) -> CompileRange:
        """The range of a graph about whose sizes nothing is known."""
        return cls(0, UNBOUNDED)

    def is_single_size(self) -> bool:
        """Whether the graph is compiled for one size only."""
        return self.start == self.end

    def __contains__(self, size: int) -> bool:
        return self.start <= size <= self.end

    def __str__(self) -> str:
        end = "" if self.end == UNBOUNDED else str(self.end)
        return f"[{self.start}, {end}]"


class RewriteWatch(Protocol):
    """Who is asked before a pattern's match is replaced, and told after it."""

    def allows(self, pattern: str | None, node: torch.fx.Node) -> bool:
        """Whether ``node``, where the match of a pattern ends, may be replaced; None for a pass without patterns."""

    def done(self, pattern: str, node: torch.fx.Node) -> None:
        """The match that ended in ``node`` has been replaced."""


@dataclass
class PassContext:
    """The surroundings of a running pass.

    ``compile_range``: the sizes that the graph is compiled for.
    ``matches``: how many rewrites each pass made, by pass name; a `PatternPass` also counts under
    ``"pass-name/pattern-name"``. The pass manager fills it; authors never do.
    ``watch``: who follows single rewrites, or None; the pass manager's as well.
    ``near_misses``: how close patterns came that have not matched, by ``"pass-name/pattern-name"``.
    ``is_inference``: whether the graph is compiled for inference, where torch says so (its post-grad hooks), or None.
    ``following``: by a pass (its ``id``), the passes made of patterns that come after it; the pass manager's.
    ``overlaps``: which patterns took nodes that one of a later pass matched as well; the nodes of the first place.
    ``runs``: what each pass did, as plain data, where the instrument ``record`` listens.
    """

    compile_range: CompileRange
    matches: dict[str, int] = field(default_factory=dict)
    watch: RewriteWatch | None = None
    near_misses: dict[str, object] = field(default_factory=dict)
    is_inference: bool | None = None
    following: Mapping[int, Sequence[object]] = field(default_factory=dict)
    overlaps: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    runs: list[dict[str, Any]] = field(default_factory=list)

    def count(self, name: str, matches: int) -> None:
        """Add ``matches`` under ``name``."""
        self.matches[name] = self.matches.get(name, 0) + matches


class _Current:
    """The context of this thread (or task): every thread starts without one."""

    # What is in it at the moment is the surroundings of a pass; the manager's identity says the range.
    __fingerprint_ignore__ = ("_variable", "get")

    def __init__(self) -> None:
        self._variable: ContextVar[PassContext | None] = ContextVar("passprint_pass_context", default=None)
        self.get = self._variable.get  # every pipeline asks, for every graph

    def enter(self, context: PassContext) -> Token[PassContext | None]:
        return self._variable.set(context)

    def leave(self, token: Token[PassContext | None]) -> None:
        self._variable.reset(token)


_current = _Current()


@contextmanager
def pass_context(compile_range: CompileRange) -> Iterator[PassContext]:
    """Enter a fresh context for ``compile_range``; the one found before is back when the block ends."""
    if not isinstance(compile_range, CompileRange):
        raise TypeError(
            f"pass_context() was given {compile_range!r} ({type(compile_range).__name__}); it expects a "
            "CompileRange, as in: with pass_context(CompileRange(1, 512)):"
        )
    context = PassContext(compile_range)
    token = _current.enter(context)
    try:
        yield context
    finally:
        _current.leave(token)


def current_pass_context() -> PassContext | None:
    """The active context, or None outside one."""
    return _current.get()


def get_pass_context() -> PassContext:
    """The active context; raises PassprintError outside one."""
    context = _current.get()
    if context is None:
        raise PassprintError(
            "get_pass_context() was called where no pass context is active in this thread. A PassManager "
            "enters one for the passes it runs; by hand: with pass_context(CompileRange(1, 512)): ..."
        )
    return context


def may_rewrite(node: torch.fx.Node) -> bool:
    """Whether a pass may make its next rewrite, which replaces or changes ``node``: yes, unless someone holds it back.

    For passes that set ``asks_before_rewrites``: `passprint bisect` then finds the single rewrite that does harm.
    """
    context = _current.get()
    return context is None or context.watch is None or context.watch.allows(None, node)


def is_applicable_for_range(pass_: object, compile_range: CompileRange) -> bool:
    """Whether ``pass_`` wants to run on graphs for ``compile_range``: yes, unless it says no."""
    ask = getattr(pass_, "is_applicable_for_range", None)
    return True if ask is None else bool(ask(compile_range))
