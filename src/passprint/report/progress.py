"""Progress of a run of named phases: live lines in a terminal, one line a phase elsewhere."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from passprint.report.format import duration


class PhaseProgress:
    """Shows which phase runs and what it is doing. A context manager; leaving it ends the live display."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = console.is_terminal
        self._tasks: dict[str, TaskID] = {}
        self._started: dict[str, float] = {}
        self._progress = Progress(
            SpinnerColumn(finished_text="[green]✓[/green]"),
            TextColumn("{task.description}"),
            TextColumn("[dim]{task.fields[stage]}[/dim]"),
            TimeElapsedColumn(),
            console=console,
            disable=not self._live,
        )

    def __enter__(self) -> PhaseProgress:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def started(self, phase: str) -> None:
        """The phase begins."""
        self._started[phase] = time.perf_counter()
        self._tasks[phase] = self._progress.add_task(phase, total=1, stage="")

    def stage(self, phase: str, text: str) -> None:
        """The phase now does what the text says."""
        self._progress.update(self._tasks[phase], stage=text)

    def finished(self, phase: str, failed: bool = False) -> None:
        """The phase is over."""
        word = "failed" if failed else "done"
        stage = "[red]failed[/red]" if failed else ""
        self._progress.update(self._tasks[phase], completed=0 if failed else 1, stage=stage)
        self._progress.stop_task(self._tasks[phase])
        if not self._live:
            seconds = time.perf_counter() - self._started[phase]
            self._console.print(f"{phase}: {word} after {duration(seconds)}", highlight=False)
