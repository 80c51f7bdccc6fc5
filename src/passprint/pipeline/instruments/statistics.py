"""What each pass did: rewrites, nodes before and after, matches of each pattern, and near misses."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TextIO

from passprint.passes.naming import name_of
from passprint.pipeline.instruments.base import Instrument, PassRun, PipelineRun

if TYPE_CHECKING:
    from rich.table import Table


@dataclass
class PassStatistics:
    """One pass, over all graphs that it ran on.

    ``nodes_before`` and ``nodes_after`` are sums over its runs. ``patterns``: matches by pattern name;
    ``near_misses``: how close patterns came that never matched. ``skipped``: how often it was left out, by reason.
    """

    name: str
    runs: int = 0
    changed: int = 0
    rewrites: int = 0
    nodes_before: int = 0
    nodes_after: int = 0
    patterns: dict[str, int] = field(default_factory=dict)
    near_misses: dict[str, object] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            **vars(self),
            "patterns": dict(self.patterns),
            "near_misses": {name: str(miss) for name, miss in self.near_misses.items()},
            "skipped": dict(self.skipped),
        }


class Statistics(Instrument):
    """Counts what passes do. ``passes``: a `PassStatistics` by pass name, in the order in which they first ran.

    ``stream``: where the table is written when the instrument is closed; standard error unless given.
    """

    beyond_graphs: ClassVar[bool] = True

    def __init__(self, stream: TextIO | None = None) -> None:
        self.passes: dict[str, PassStatistics] = {}
        self._stream = stream

    def after_pass(self, run: PassRun) -> None:
        one = self._of(run.name)
        one.runs += 1
        one.changed += run.changed
        one.rewrites += run.rewrites
        one.nodes_before += run.nodes_before
        one.nodes_after += run.nodes_after
        for pattern, count in run.patterns.items():
            one.patterns[pattern] = one.patterns.get(pattern, 0) + count
        for pattern, miss in run.near_misses.items():
            known = one.near_misses.get(pattern)
            if known is None or getattr(miss, "matched", 0) > getattr(known, "matched", 0):
                one.near_misses[pattern] = miss
        for pattern, count in one.patterns.items():
            if count:
                one.near_misses.pop(pattern, None)

    def on_skip(self, pass_: Any, reason: str, run: PipelineRun) -> None:
        skipped = self._of(name_of(pass_)).skipped
        skipped[reason] = skipped.get(reason, 0) + 1

    def _of(self, name: str) -> PassStatistics:
        return self.passes.setdefault(name, PassStatistics(name))

    def table(self) -> Table:
        """For a terminal."""
        from rich.table import Table

        table = Table(title="passes", title_justify="left", title_style="bold")
        for column in ("pass", "runs", "changed", "rewrites", "nodes", "patterns"):
            table.add_column(column, justify="left" if column in ("pass", "patterns") else "right")
        for one in self.passes.values():
            told = [f"{name}: {count}" for name, count in one.patterns.items()]
            told += [f"{name} nearly: {miss}" for name, miss in one.near_misses.items()]
            told += [f"left out {count}×: {reason}" for reason, count in one.skipped.items()]
            table.add_row(
                one.name,
                str(one.runs),
                str(one.changed),
                str(one.rewrites),
                f"{one.nodes_before} → {one.nodes_after}",
                "\n".join(told),
            )
        return table

    def __str__(self) -> str:
        rows = [f"{'runs':>5} {'changed':>8} {'rewrites':>9} {'nodes':>15}  pass"]
        for one in self.passes.values():
            nodes = f"{one.nodes_before} → {one.nodes_after}"
            rows.append(f"{one.runs:>5} {one.changed:>8} {one.rewrites:>9} {nodes:>15}  {one.name}")
            rows += [f"{'':>42}{name}: {count} match(es)" for name, count in one.patterns.items() if count]
            rows += [f"{'':>42}{name}: nearly: {miss}" for name, miss in one.near_misses.items()]
            rows += [f"{'':>42}left out {count}×: {reason}" for reason, count in one.skipped.items()]
        return "\n".join(rows)

    def close(self) -> None:
        if self.passes:
            (self._stream or sys.stderr).write(f"{self}\n")
