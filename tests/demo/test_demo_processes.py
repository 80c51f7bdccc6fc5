import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from passprint.demo.processes import ChildError, interrupted_by_signals, run_child
from passprint.demo.task import Task

TASK = Task("eager", threads=1)


def child(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", "import json, os, sys, time\n" + code)


def test_stages_are_told_and_the_result_comes_back(tmp_path: Path) -> None:
    stages: list[str] = []
    code = """
task = json.load(sys.stdin)
print(json.dumps({"stage": "working"}), flush=True)
print(json.dumps({"result": {"kind": task["kind"], "marker": os.environ["MARKER"]}}), flush=True)
"""
    env = {**os.environ, "MARKER": "set"}
    result = run_child(TASK, env=env, log=tmp_path / "log", on_stage=stages.append, command=child(code))
    assert result == {"kind": "eager", "marker": "set"}
    assert stages == ["working"]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("sys.stderr.write('the reason'); sys.exit(3)", "failed with exit status 3"),
        ("sys.stderr.write('the reason')", "ended without a result"),
        ("os.write(2, b'the reason'); os.kill(os.getpid(), 9)", "killed by SIGKILL"),
    ],
)
def test_a_child_without_an_answer_is_an_error_with_its_last_words(
    tmp_path: Path, code: str, message: str
) -> None:
    with pytest.raises(ChildError, match=message) as caught:
        run_child(TASK, env=os.environ, log=tmp_path / "log", on_stage=print, command=child(code))
    assert caught.value.tail == "the reason"


def test_only_the_end_of_long_last_words_is_kept(tmp_path: Path) -> None:
    code = "sys.stderr.write('\\n'.join(map(str, range(1000)))); sys.exit(1)"
    with pytest.raises(ChildError) as caught:
        run_child(TASK, env=os.environ, log=tmp_path / "log", on_stage=print, command=child(code))
    assert caught.value.tail.splitlines()[-1] == "999"
    assert len(caught.value.tail.splitlines()) < 50


def test_an_interruption_ends_the_child_and_what_it_started(tmp_path: Path) -> None:
    """The child starts a process of its own, as Inductor does; both end with the interruption."""
    code = """
import subprocess
inner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(json.dumps({"stage": f"{os.getpid()} {inner.pid}"}), flush=True)
time.sleep(600)
"""
    pids: list[int] = []

    def interrupt(stage: str) -> None:
        pids.extend(map(int, stage.split()))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_child(TASK, env=os.environ, log=tmp_path / "log", on_stage=interrupt, command=child(code))
    assert len(pids) == 2
    assert all(_gone(pid) for pid in pids)


def test_what_a_finished_child_left_running_is_ended(tmp_path: Path) -> None:
    code = """
import subprocess
inner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], stdout=subprocess.DEVNULL)
print(json.dumps({"result": {"pid": inner.pid}}), flush=True)
"""
    result = run_child(TASK, env=os.environ, log=tmp_path / "log", on_stage=print, command=child(code))
    assert _gone(result["pid"])


def test_a_child_that_ignores_sigterm_is_ended_by_force(tmp_path: Path) -> None:
    code = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(json.dumps({"stage": str(os.getpid())}), flush=True)
time.sleep(600)
"""
    pids: list[int] = []

    def interrupt(stage: str) -> None:
        pids.append(int(stage))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_child(TASK, env=os.environ, log=tmp_path / "log", on_stage=interrupt, command=child(code))
    assert _gone(pids[0])


def test_signals_interrupt_only_inside_the_block() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with interrupted_by_signals(), pytest.raises(KeyboardInterrupt):
        _send_self(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def _send_self(number: int) -> None:
    os.kill(os.getpid(), number)
    threading.Event().wait(5)


def _gone(pid: int) -> bool:
    """True once the process no longer runs. A killed orphan may stay a zombie until init reaps it."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False
