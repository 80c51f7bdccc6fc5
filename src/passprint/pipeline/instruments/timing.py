"""How long each pass takes: a tree, for each graph and summed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar, TextIO

from passprint.pipeline.instruments.base import Instrument, PassRun, PipelineRun
from passprint.pipeline.instruments.session import active
from passprint.wording import many

if TYPE_CHECKING:
    from rich.tree import Tree


@dataclass
class Timed:
    """A pipeline or a pass, and what ran within it.

    ``total``: seconds, with all that ran within; ``self_seconds``: without. ``runs``: how often it ran.
    """

    name: str
    total: float = 0.0
    runs: int = 0
    parts: dict[str, Timed] = field(default_factory=dict)

    @property
    def self_seconds(self) -> float:
        return max(0.0, self.total - sum(part.total for part in self.parts.values()))

    def part(self, name: str) -> Timed:
        """The part of this name, made when it is first asked for."""
        return self.parts.setdefault(name, Timed(name))

    def add(self, other: Timed) -> None:
        """Add another's times, part by part."""
        self.total += other.total
        self.runs += other.runs
        for part in other.parts.values():
            self.part(part.name).add(part)

    def to_dict(self) -> dict[str, Any]:
        """Plain data: seconds in total and of its own, runs, and the parts."""
        return {
            "name": self.name,
            "total": self.total,
            "self": self.self_seconds,
            "runs": self.runs,
            "parts": [part.to_dict() for part in self.parts.values()],
        }


class Timing(Instrument):
    """Measures every pass and pipeline. What instruments take is not counted.

    A pipeline's own time is what the manager needs around its passes: counting rewrites, checking the graph.
    ``graphs``: one `Timed` for each graph, in order; ``summed()``: all of them as one; ``str()`` is the tree as text.
    ``stream``: where the summed tree is written when the instrument is closed (at the end of the process when it
    comes from ``PASSPRINT_INSTRUMENTS``); standard error unless given.
    """

    beyond_graphs: ClassVar[bool] = True

    def __init__(self, stream: TextIO | None = None) -> None:
        self.graphs: list[Timed] = []
        self._stream = stream
        self._open: dict[PipelineRun, tuple[Timed, float, float]] = {}

    def before_pipeline(self, run: PipelineRun) -> None:
        if run.parent in self._open:
            parent = self._open[run.parent][0]
            number = sum(name.startswith(f"{run.label} ") for name in parent.parts) + 1
            timed = parent.part(f"{run.label} {number}")
        else:
            timed = Timed(run.label)
            self.graphs.append(timed)
        timed.runs += 1
        self._open[run] = (timed, perf_counter(), _spent())

    def after_pipeline(self, run: PipelineRun) -> None:
        timed, start, spent = self._open.pop(run)
        timed.total += perf_counter() - start - (_spent() - spent)

    def after_pass(self, run: PassRun) -> None:
        if run.within and run.within[-1] in self._open:
            timed = self._open[run.within[-1]][0].part(run.name)
            timed.runs += 1
            timed.total += run.seconds

    def on_error(self, run: PassRun, error: Exception) -> None:
        for pipeline in run.within:
            self._open.pop(pipeline, None)

    def summed(self) -> Timed:
        """All graphs as one."""
        whole = Timed("all graphs")
        for graph in self.graphs:
            whole.total += graph.total
            whole.runs += graph.runs
            whole.part(graph.name).add(graph)
        return whole

    def tree(self) -> Tree:
        """The summed times for a terminal."""
        from rich.tree import Tree

        whole = self.summed()
        tree = Tree(f"[bold]{many(len(self.graphs), 'graph')}[/], {_shown(whole.total)}")
        for part in whole.parts.values():
            _grow(tree, part, whole.total)
        return tree

    def __str__(self) -> str:
        whole = self.summed()
        rows = [f"{'total':>12} {'self':>12} {'runs':>6}  {many(len(self.graphs), 'graph')}"]
        for depth, timed in _walk(whole, 0):
            own = _shown(timed.self_seconds)
            rows.append(f"{_shown(timed.total):>12} {own:>12} {timed.runs:>6}  {'  ' * depth}{timed.name}")
        return "\n".join(rows)

    def close(self) -> None:
        if self.graphs:
            (self._stream or sys.stderr).write(f"{self}\n")


def _spent() -> float:
    session = active.get()
    return session.seconds if session is not None else 0.0


def _walk(timed: Timed, depth: int) -> Iterator[tuple[int, Timed]]:
    for part in timed.parts.values():
        yield depth, part
        yield from _walk(part, depth + 1)


def _grow(tree: Tree, timed: Timed, whole: float) -> None:
    share = timed.total / whole if whole else 0.0
    text = f"{timed.name}  {_shown(timed.total)}  {share:.0%}"
    if timed.parts:
        text += f"  (self {_shown(timed.self_seconds)})"
    branch = tree.add(text if timed.runs == 1 else f"{text}  ×{timed.runs}")
    for part in timed.parts.values():
        _grow(branch, part, whole)


def _shown(seconds: float) -> str:
    return f"{seconds * 1e3:.3f} ms"
