"""Following the single rewrites of one pass: for instruments, and for a limit."""

from __future__ import annotations

import torch

from passprint.passes import RewriteCounter
from passprint.pipeline.instruments.base import PassRun, Rewrite
from passprint.pipeline.instruments.session import Session
from passprint.pipeline.limits import Limit


class Watch:
    """Stands between a running pass and whoever follows it; a `PatternPass` finds it in its `PassContext`."""

    def __init__(self, run: PassRun, session: Session | None, limit: Limit | None) -> None:
        self._run = run
        self._session = session
        self._limit = limit
        self._number = 0
        self._in_pattern = False
        self._asks = False
        self._seconds = 0.0

    def begin(self) -> None:
        """The pass starts now."""
        self._seconds = self._session.seconds if self._session is not None else 0.0

    def allows(self, pattern: str | None, node: torch.fx.Node) -> bool:
        """Whether ``node``, where the match of a pattern ends, may be replaced; None for a pass without patterns."""
        if self._limit is not None and not self._limit.take():
            return False
        self._number += 1
        self._in_pattern = pattern is not None
        self._asks = True
        if self._session is not None:
            self._session.notify("before_rewrite", self._run, Rewrite(node, pattern, self._number))
        return True

    def done(self, pattern: str, node: torch.fx.Node) -> None:
        """The match that ended in ``node`` has been replaced."""
        self._in_pattern = False
        if self._session is not None:
            self._session.notify("after_rewrite", self._run, Rewrite(node, pattern, self._number))

    def replaced(self, old: torch.fx.Node, new: str) -> None:
        """A node was replaced through FX; within a pattern it is a part of that rewrite."""
        if self._in_pattern or self._session is None:
            return
        self._number += not self._asks  # one that was asked for has its number
        self._session.notify("after_rewrite", self._run, Rewrite(old, None, self._number))

    def finish(
        self, counter: RewriteCounter, rewrites: int, patterns: dict[str, int], seconds: float
    ) -> None:
        """Write down what the pass did; the time that instruments took in between is not the pass's."""
        run = self._run
        run.changed, run.rewrites, run.patterns = counter.changed, rewrites, patterns
        run.near_misses = {
            key.removeprefix(f"{run.name}/"): miss
            for key, miss in run.context.near_misses.items()
            if key.startswith(f"{run.name}/")
        }
        run.nodes_after = len(run.graph.nodes)
        listening = self._session.seconds - self._seconds if self._session is not None else 0.0
        run.seconds = max(0.0, seconds - listening)
