"""The graph after each pass, as the difference that the pass made."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, ClassVar, TextIO

from passprint.errors import PipelineError
from passprint.pipeline.graph_text import cut_text, difference, graph_text, nodes_text
from passprint.pipeline.instruments.base import Instrument, PassRun, PipelineRun
from passprint.pipeline.snapshots import Snapshot
from passprint.pipeline.torch_door import trace_artifact
from passprint.wording import many

_COLOURS = {"+": "\033[32m", "-": "\033[31m", "@": "\033[36m"}


class Dump(Instrument):
    """Shows what each pass changed, as a unified diff of the graph's text; a pass that changed nothing is left out.

    At the scheduler's hooks the text is the nodes in their order; of a partitioner, what it was given and what it made.

    ``folder``: where files go: ``graph000/00-input.txt``, then ``01-noop-elimination.diff`` and ``.txt`` for each pass.
        Without one the diffs go to ``stream`` (standard error).
    ``passes``, ``graphs``: show only passes whose name fits one of these patterns (``"fuse-*"``), and only graphs with
        these numbers (from 0 in this process).
    ``only_changed``: False also writes the graph after passes that changed nothing.
    ``trace``: also add the diffs to torch's structured trace, which ``tlparse`` shows (``TORCH_TRACE=folder``).
    ``colour``: None for colours if the stream is a terminal.
    """

    beyond_graphs: ClassVar[bool] = True

    def __init__(
        self,
        folder: str | Path | None = None,
        *,
        passes: str | Iterable[str] = (),
        graphs: int | Iterable[int] = (),
        only_changed: bool = True,
        trace: bool = True,
        colour: bool | None = None,
        stream: TextIO | None = None,
    ) -> None:
        self._folder = None if folder is None else Path(folder)
        self._passes = (passes,) if isinstance(passes, str) else tuple(passes)
        self._graphs = frozenset((graphs,) if isinstance(graphs, int) else graphs)
        self._only_changed = only_changed
        self._trace = trace
        self._colour = colour
        self._stream = stream
        self._before: dict[PassRun, Callable[[], str]] = {}
        self._begun: set[int] = set()

    def before_pipeline(self, run: PipelineRun) -> None:
        is_new = run is run.outermost_for(self) and run.graph_id not in self._begun
        if is_new and self._wants_graph(run.graph_id):
            self._begun.add(run.graph_id)
            text = graph_text(run.graph)
            if self._folder is not None:
                self._write(f"graph{run.graph_id:03}/00-input.txt", text)
            if self._trace:
                trace_artifact(f"passprint_graph{run.graph_id}_00_input", lambda: text)

    def before_pass(self, run: PassRun) -> None:
        if self._wants(run):
            self._before[run] = _text_later(run)

    def after_pass(self, run: PassRun) -> None:
        before = self._before.pop(run, None)
        if before is None or (self._only_changed and not run.changed):
            return
        after = _text_later(run)()
        number = f"{run.position + 1:02}-{run.name}"
        diff = difference(before(), after, (f"before {run.name}", f"after {run.name}"))
        if self._trace:
            trace_artifact(f"passprint_graph{run.graph_id}_{number.replace('-', '_')}", lambda: diff or after)
        if self._folder is not None:
            self._write(f"graph{run.graph_id:03}/{number}.txt", after)
            self._write(f"graph{run.graph_id:03}/{number}.diff", f"{diff}\n" if diff else "")
        else:
            self._show(run, diff)

    def on_error(self, run: PassRun, error: Exception) -> None:
        before = self._before.pop(run, None)
        if before is not None and self._folder is not None:
            diff = difference(before(), _text_later(run)(), ("before", "after"))
            self._write(
                f"graph{run.graph_id:03}/{run.position + 1:02}-{run.name}.error.txt", f"{error}\n\n{diff}\n"
            )

    def _wants_graph(self, number: int) -> bool:
        return not self._graphs or number in self._graphs

    def _wants(self, run: PassRun) -> bool:
        fits = not self._passes or any(fnmatchcase(run.name, pattern) for pattern in self._passes)
        return fits and self._wants_graph(run.graph_id)

    def _write(self, name: str, text: str) -> None:
        assert self._folder is not None
        path = self._folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise PipelineError(
                f"the graph could not be dumped to {path} ({error}); give Dump a folder that can be written to"
            ) from error

    def _show(self, run: PassRun, diff: str) -> None:
        stream: Any = self._stream if self._stream is not None else sys.stderr
        colour = stream.isatty() if self._colour is None else self._colour
        title = f"graph {run.graph_id}, {run.name}: {many(run.rewrites, 'rewrite')}, "
        title += f"{run.nodes_before} → {run.nodes_after} nodes"
        lines = [f"\033[1m{title}\033[0m" if colour else title]
        for line in diff.splitlines()[2:]:
            shade = _COLOURS.get(line[:1]) if colour else None
            lines.append(f"{shade}{line}\033[0m" if shade else line)
        stream.write("\n".join(lines) + "\n")


def _text_later(run: PassRun) -> Callable[[], str]:
    """What the pass works on as it is now: for most, text that is made when it is asked for."""
    if run.scheduled is not None:
        text = nodes_text(run.scheduled)
    elif run.parts:
        text = cut_text(*run.parts)
    else:
        return Snapshot(run.graph).text
    return lambda: text
