"""Lowering some of a graph's distinct pieces in processes beside this one, where the user asks for it.

``PASSPRINT_COMPILE_WORKERS=2``: up to two such processes for a graph. Each is forked from this one, so it has the
trace, the passes and the compiler as they are; it lowers and builds its pieces and puts them into the store, where this
process takes them from. A piece whose process fails, or takes very long, is compiled here.

It is not on by itself: on two cores it is faster where the kernels are known and only the graphs are lowered, and
slower where kernels are built as well (docs/cold-compile.md has the figures).

Passes run in the other process for its pieces: what they print comes from there, and what they keep in memory stays
there. Where anybody listens to the pipeline, all is done here.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, TypeVar

from passprint.compiler.lowering import builds
from passprint.errors import CompileError

logger = logging.getLogger("passprint")

VARIABLE: Final = "PASSPRINT_COMPILE_WORKERS"
_PATIENCE: Final = (
    10.0  # a process may take so many times as long as this one took for its own share, and at least
)
_AT_LEAST: Final = 120.0  # so many seconds

Item = TypeVar("Item")


def wanted() -> int:
    """How many processes beside this one may lower pieces; raises CompileError for what is no number of processes."""
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return 0
    if not text.isdecimal():
        raise CompileError(
            f"{VARIABLE}={text!r} is no number of processes. Write how many may compile beside this one, "
            f"such as {VARIABLE}=2, or unset it"
        )
    return int(text) if hasattr(os, "fork") else 0


def shares(sizes: Mapping[Item, int], parts: int) -> list[list[Item]]:
    """The items in so many parts (fewer, if there are fewer items) of about the same size; the largest first."""
    found: list[list[Item]] = [[] for _ in range(min(parts, len(sizes)))]
    for item in sorted(sizes, key=lambda item: -sizes[item]):
        min(found, key=lambda part: sum(sizes[one] for one in part)).append(item)
    return sorted(found, key=lambda part: -sum(sizes[item] for item in part))


class Worker:
    """A process forked from this one that does ``work`` and ends."""

    def __init__(self, work: Callable[[], None]) -> None:
        self.started = time.monotonic()
        self._ended: int | None = None
        for stream in (sys.stdout, sys.stderr):
            stream.flush()  # or both would write what is waiting
        with warnings.catch_warnings():
            # Python 3.12 and newer warn of threads: those of this process only wait for compilers meanwhile
            warnings.simplefilter("ignore", DeprecationWarning)
            self._pid = os.fork()
        if self._pid == 0:
            _end_with(work)

    def wait(self, own_seconds: float) -> str | None:
        """Wait for its end, in reason: None where it did its work, or what became of it. ``own_seconds``: see above."""
        until = time.monotonic() + max(_AT_LEAST, _PATIENCE * own_seconds)
        pause = 0.001
        while self._ended is None and time.monotonic() < until:
            self._look()
            time.sleep(0 if self._ended is not None else pause)
            pause = min(0.02, pause * 1.5)
        if self._ended is None:
            self.kill()
            return f"did not end in {time.monotonic() - self.started:.0f} s"
        if os.WIFSIGNALED(self._ended):
            return f"was killed by signal {os.WTERMSIG(self._ended)}"
        return None if self._ended == 0 else "failed"

    def kill(self) -> None:
        """End it now, if it has not ended."""
        if self._ended is None:
            os.kill(self._pid, signal.SIGKILL)
            self._look(0)

    def _look(self, options: int = os.WNOHANG) -> None:
        try:
            pid, status = os.waitpid(self._pid, options)
        except ChildProcessError:  # somebody waits for all children of this process
            pid, status = self._pid, 0
        if pid:
            self._ended = status


def _end_with(work: Callable[[], None]) -> None:
    """Do the work in a process that was just forked, and leave without what the other one has to clean up."""
    code = 1
    try:
        builds.forked()
        work()
        code = 0
    except BaseException:  # nothing may get out of here; the other process compiles what is missing
        logger.info("A piece could not be compiled in a process of its own", exc_info=True)
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


@contextmanager
def beside(works: Sequence[Callable[[], None]]) -> Iterator[list[Worker]]:
    """One process for each of ``works`` meanwhile; whatever has not ended at the end of the block is killed."""
    workers: list[Worker] = []
    try:
        workers.extend(map(Worker, works))
        yield workers
    finally:
        for worker in workers:
            worker.kill()
