"""A line in a file for every pass that ran and every rewrite: what `passprint bisect` follows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

from passprint.pipeline.graph_text import line_of
from passprint.pipeline.instruments.base import Instrument, PassRun, PipelineRun, Rewrite


class Trail(Instrument):
    """Appends JSON lines to ``file``: ``{"graph": …}`` when a pipeline begins on a graph,
    ``{"pass": …, "graph": …, "rewrites": …}`` when a pass has run (or failed), and
    ``{"rewrite": …, "run": …, "pass": …, "pattern": …, "node": …}`` for each rewrite of a run. Graphs and runs are
    counted from 0.
    """

    beyond_graphs: ClassVar[bool] = True

    def __init__(self, file: str | Path) -> None:
        self._file = Path(file)
        self._runs = 0
        self._graphs = 0

    def before_pipeline(self, run: PipelineRun) -> None:
        if run.parent is None:
            self._graphs += 1
            self._write({"graph": self._graphs - 1})

    def before_rewrite(self, run: PassRun, rewrite: Rewrite) -> None:
        self._tell_rewrite(run, rewrite)

    def after_rewrite(self, run: PassRun, rewrite: Rewrite) -> None:
        if rewrite.pattern is None:
            self._tell_rewrite(run, rewrite)

    def after_pass(self, run: PassRun) -> None:
        self._tell_pass(run, rewrites=run.rewrites, changed=run.changed)

    def on_error(self, run: PassRun, error: Exception) -> None:
        self._tell_pass(run, rewrites=0, changed=True, error=str(error))

    def _tell_pass(self, run: PassRun, **what: object) -> None:
        self._write({"pass": run.name, "graph": self._graphs - 1, **what})
        self._runs += 1

    def _tell_rewrite(self, run: PassRun, rewrite: Rewrite) -> None:
        self._write(
            {
                "rewrite": rewrite.number,
                "run": self._runs,
                "pass": run.name,
                "pattern": rewrite.pattern,
                "node": line_of(rewrite.node),
            }
        )

    def _write(self, entry: dict[str, Any]) -> None:
        with self._file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(entry) + "\n")
