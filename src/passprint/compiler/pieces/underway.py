"""The pieces of one graph while their kernels are being built."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from passprint.compiler.artifacts.artifact import Runnable
from passprint.compiler.pieces.job import Job, Ready, runnable
from passprint.compiler.record import Origin
from passprint.errors import CompileError

if TYPE_CHECKING:
    from passprint.compiler.pieces.find import PieceCompiler


class PiecesUnderway:
    """The pieces of one graph, lowered, with kernels that may still be being built. :meth:`finish` may be called often.

    Until it or :meth:`give_up` was, other processes that lack the same pieces wait for this one.
    """

    def __init__(
        self,
        compiler: PieceCompiler,
        jobs: Sequence[Sequence[Job]],
        rows: Sequence[Sequence[tuple[Ready, Origin]]],
        until_finished: ExitStack,
    ) -> None:
        self._compiler, self._jobs, self._rows = compiler, jobs, rows
        self._until_finished = until_finished
        self._calls: list[list[Runnable]] | None = None
        self._error: Exception | None = None
        self.writes = any(ready.writes for row in rows for ready, _ in row)
        """Whether a piece may write to an input."""
        self._lock = threading.RLock()

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
            if self._calls is None and self._error is None:
                self._error = CompileError(
                    "This graph was given up before it was finished: its trace failed."
                )
                self._compiler.ended(self)
                self._until_finished.close()

    def _finish(self) -> list[list[Runnable]]:
        with self._until_finished:
            try:
                for ready, _ in (result for row in self._rows for result in row):
                    if ready.finish is not None:
                        ready.finish()
                self._compiler.finished(self._jobs, self._rows)
            finally:
                self._compiler.ended(self)
        calls = [[runnable(ready) for ready, _ in row] for row in self._rows]
        self._jobs, self._rows = (), ()
        return calls
