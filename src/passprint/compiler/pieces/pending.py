"""The pieces of one graph while their kernels are being built."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from passprint.compiler.artifacts.artifact import Runnable
from passprint.compiler.pieces.job import Job, Ready, runnable
from passprint.compiler.record import CompileReport, Origin, PieceReport
from passprint.errors import CompileError

PieceFiles = Mapping[str, bytes | Path]


class PendingPieces:
    """The pieces of one graph, lowered, with kernels that may still be being built. :meth:`finish` may be called often.

    Until it or :meth:`give_up` was, other processes that lack the same pieces wait for this one.

    Attributes:
        writes: whether a piece may write to an input.
        rows: once finished, the pieces in order, for all sizes and for each variant; each with the files that it runs
            from (none if it is not stored).
    """

    def __init__(
        self,
        report: CompileReport,
        jobs: Sequence[Sequence[Job]],
        pieces: Sequence[Sequence[tuple[Ready, Origin]]],
        until_finished: ExitStack,
    ) -> None:
        self._report, self._jobs, self._pieces = report, jobs, pieces
        self._until_finished = until_finished
        self._calls: list[list[Runnable]] | None = None
        self._error: Exception | None = None
        self._lock = threading.RLock()
        self.writes = any(ready.writes for row in pieces for ready, _ in row)
        self.rows: list[list[tuple[PieceReport, PieceFiles]]] = []

    @property
    def is_waiting(self) -> bool:
        """Whether neither :meth:`finish` nor :meth:`give_up` was called."""
        return self._calls is None and self._error is None

    def finish(self) -> list[list[Runnable]]:
        """Wait for the builds and store what they made: one runnable per piece, for all sizes and for each variant.

        Raises what a build raises, each time.
        """
        with self._lock:
            if self._error is not None:
                raise self._error
            if self._calls is None:
                try:
                    self._calls = self._finish()
                except Exception as error:
                    self._error = error
                    raise
            return self._calls

    def give_up(self) -> None:
        """The trace that these pieces belong to has failed: let others make what is not finished."""
        with self._lock:
            if self.is_waiting:
                self._error = CompileError(
                    "This graph was given up before it was finished: its trace failed."
                )
                self._until_finished.close()

    def _finish(self) -> list[list[Runnable]]:
        with self._until_finished:
            for ready, _ in (result for row in self._pieces for result in row):
                if ready.finish is not None:
                    ready.finish()
            self._tell()
        calls = [[runnable(ready) for ready, _ in row] for row in self._pieces]
        self._jobs, self._pieces = (), ()
        return calls

    def _tell(self) -> None:
        """Say in the report what became of each piece."""
        for jobs, results in zip(self._jobs, self._pieces, strict=True):
            self.rows.append(
                [
                    (job.report(ready, origin), ready.files)
                    for job, (ready, origin) in zip(jobs, results, strict=True)
                ]
            )
        general, *variants = ([seen for seen, _ in row] for row in self.rows)
        self._report.pieces_seen.extend(general)
        self._report.variants_seen.extend(piece for row in variants for piece in row)
