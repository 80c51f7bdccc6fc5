"""Starting a child, listening to it, and ending it and all it started, whatever happens."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from passprint.demo.models import DemoError
from passprint.demo.task import Task

CHILD = (sys.executable, "-P", "-m", "passprint.demo.child")

_TAIL_LINES = 25
_GRACE_SECONDS = 3.0


class ChildError(DemoError):
    """A process of the demo ended without an answer. ``tail`` is the end of what it wrote to stderr."""

    def __init__(self, message: str, tail: str) -> None:
        super().__init__(message)
        self.tail = tail


def run_child(
    task: Task,
    *,
    env: Mapping[str, str],
    log: Path,
    on_stage: Callable[[str], None],
    command: Sequence[str] = CHILD,
) -> dict[str, Any]:
    """Runs the task in a new process and returns its result.

    The child leads a process group of its own; the group is ended before this returns or raises, so that
    neither the child nor a compiler that it started outlives an interruption. Raises ChildError when no
    result came.
    """
    result: dict[str, Any] | None = None
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=dict(env),
            start_new_session=True,
        )
        try:
            if process.stdin is None or process.stdout is None:
                raise RuntimeError("the child was started without pipes")
            with contextlib.suppress(BrokenPipeError), process.stdin:
                process.stdin.write(json.dumps(task.to_dict()).encode())
            for line in process.stdout:
                entry = json.loads(line)
                if "stage" in entry:
                    on_stage(entry["stage"])
                else:
                    result = entry["result"]
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        finally:
            status = _end_group(process)
            if process.stdout is not None:
                process.stdout.close()
    if status != 0 or result is None:
        raise ChildError(_ending(task, status), _tail(log))
    return result


@contextlib.contextmanager
def interrupted_by_signals() -> Iterator[None]:
    """Within the block SIGTERM and SIGHUP act as Ctrl-C does, so that children and temporary folders go
    too."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_group(process: subprocess.Popen[bytes]) -> int:
    """Ends what is left of the child's process group, politely and by force after a grace period; the
    child's status.

    The child is reaped last: until then its number cannot belong to anyone else.
    """
    if not _has_ended(process.pid):
        _signal_group(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + _GRACE_SECONDS
        while time.monotonic() < deadline and not _has_ended(process.pid):
            time.sleep(0.02)
    _signal_group(process.pid, signal.SIGKILL)
    return process.wait()


def _has_ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _ending(task: Task, status: int) -> str:
    if status < 0:
        how = f"was killed by {signal.Signals(-status).name}"
    elif status:
        how = f"failed with exit status {status}"
    else:
        how = "ended without a result"
    return f"the process of the phase {task.kind!r} {how}"


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return "\n".join(lines[-_TAIL_LINES:])
