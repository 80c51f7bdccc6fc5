"""A warning for a pattern pass that matched nothing in a whole compile, saying how close it came."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from passprint.passes import PassContext
from passprint.passes.near_miss import NearMiss
from passprint.pipeline.torch_door import is_at_a_branch
from passprint.warned import warn
from passprint.wording import many


class ZeroMatchWarning(UserWarning):
    """A pass made of patterns matched nothing.

    Filter it by its class, as any warning: ``warnings.simplefilter("ignore", passprint.instruments.ZeroMatchWarning)``.
    """


@dataclass
class Compile:
    """What the pattern passes found so far in the graphs of one compile, by ``"pass-name/pattern-name"``."""

    matches: dict[str, int] = field(default_factory=dict)
    near_misses: dict[str, NearMiss] = field(default_factory=dict)
    graphs: int = 0

    def add_matches(self, matches: Mapping[str, int]) -> None:
        """Count what was found; also for graphs that a cache had, on which no pass ran."""
        for key, count in matches.items():
            self.matches[key] = self.matches.get(key, 0) + count

    def add(self, context: PassContext) -> None:
        """Count what the passes of ``context`` found, and keep the nearest misses."""
        self.graphs += 1
        self.add_matches({key: count for key, count in context.matches.items() if "/" in key})
        for key, miss in context.near_misses.items():
            known = self.near_misses.get(key)
            if isinstance(miss, NearMiss) and (known is None or miss.matched > known.matched):
                self.near_misses[key] = miss

    def silent_passes(self) -> dict[str, tuple[str, NearMiss]]:
        """The passes none of whose patterns matched: which pattern came nearest, and how near."""
        matched = {key.partition("/")[0] for key, count in self.matches.items() if count}
        nearest: dict[str, tuple[str, NearMiss]] = {}
        for key, miss in self.near_misses.items():
            name, _, pattern = key.partition("/")
            if name in matched:
                continue
            if name not in nearest or miss.matched > nearest[name][1].matched:
                nearest[name] = (pattern, miss)
        return nearest


class _Alarm:
    """The compile that is under way in this thread, and which passes this process has seen matching."""

    # A warning changes no graph.
    __fingerprint_ignore__ = ("_compile", "_settled", "_heard", "_branches")

    def __init__(self) -> None:
        self._compile: ContextVar[Compile | None] = ContextVar("passprint_compile", default=None)
        self._branches: ContextVar[Compile | None] = ContextVar("passprint_branches", default=None)
        self._settled: set[str] = set()
        self._heard: set[str] = set()  # of these passes, the patterns that came to nothing

    @contextmanager
    def compile(self) -> Iterator[Compile]:
        """All graphs within the block are one compile; the warnings come at its end, unless an error ends it."""
        outer = self._compile.get()
        if outer is not None:
            yield outer
            return
        current = Compile()
        token = self._compile.set(current)
        try:
            yield current
        finally:
            self._compile.reset(token)
        self._warn(current, f"in {many(current.graphs, 'graph')}")

    def graph_done(self, context: PassContext) -> None:
        """A pipeline is through with a graph. Where no one said what the whole compile is, the graph is all of it.

        A pass that has matched before in this process is then taken to be sound: the graph may be a model's
        backward, or what comes after a graph break. Graphs of control flow count with the one around them.
        """
        patterns = [key for key in context.matches if "/" in key]
        if not patterns and not context.near_misses:
            return
        current = self._compile.get()
        if current is not None:
            current.add(context)
            return
        whole = self._branches.get()
        if whole is not None or not self._heard.issuperset(context.near_misses):
            whole = whole or Compile()
            whole.add(context)
            is_branch = is_at_a_branch()
            self._branches.set(whole if is_branch else None)
            if not is_branch:
                self._warn(whole, "in this graph")
                self._heard.update(whole.near_misses)  # each is of a pass that matched, or was warned of
        self._settled.update(key.partition("/")[0] for key in patterns if context.matches[key])

    def _warn(self, found: Compile, where: str) -> None:
        for name, (pattern, miss) in found.silent_passes().items():
            if name in self._settled and where == "in this graph":
                continue
            self._settled.add(name)
            warn(
                f"the pass '{name}' matched nothing {where}. Its pattern '{pattern}' came nearest: {miss}",
                ZeroMatchWarning,
            )


alarm: Any = _Alarm()
"""The one alarm of the process."""
