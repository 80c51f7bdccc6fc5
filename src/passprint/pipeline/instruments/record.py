"""What each pass did, kept for the page of the compile report."""

from __future__ import annotations

from typing import Any, Final

from passprint.pipeline.graph_text import difference, graph_text
from passprint.pipeline.instruments.base import Instrument, PassRun

LONGEST: Final = 20_000
"""Texts of graphs are cut to so many characters."""


class Record(Instrument):
    """Keeps time, nodes, matches, near misses and the graph's difference of each pass for ``compiled.report``.

    It writes the graph out before and after every pass, so it costs a few milliseconds for each.
    """

    def __init__(self) -> None:
        self._before: dict[int, str] = {}

    def before_pass(self, run: PassRun) -> None:
        self._before[id(run)] = graph_text(run.graph)

    def after_pass(self, run: PassRun) -> None:
        before = self._before.pop(id(run))
        changes = difference(before, graph_text(run.graph), ("before", "after")) if run.changed else ""
        run.context.runs.append(_row(run, _cut(changes)))

    def on_error(self, run: PassRun, error: Exception) -> None:
        self._before.pop(id(run), None)


def _row(run: PassRun, changes: str) -> dict[str, Any]:
    return {
        "pass": run.name,
        "hook": run.within[0].hook if run.within else "",
        "seconds": run.seconds,
        "nodes_before": run.nodes_before,
        "nodes_after": run.nodes_after,
        "rewrites": run.rewrites,
        "patterns": dict(run.patterns),
        "near_misses": {
            pattern: {"matched": getattr(miss, "matched", 0), "reason": str(miss)}
            for pattern, miss in run.near_misses.items()
        },
        "diff": changes,
    }


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}\n… cut here"
