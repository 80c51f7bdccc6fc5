"""One machine compiles a key, the others wait for it: leases in a real Redis."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from .fleet import digest, machine
from .proof import is_right, put

_PROGRAM = """
import sys, time
from pathlib import Path
from tests.cache.fleet import digest, machine
from tests.cache.proof import put

folder, url, seconds = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
store = machine(folder, url)
with store.compiling(digest("a")) as entry:
    print("found" if entry is not None else "compiles", flush=True)
    if entry is None:
        time.sleep(seconds)
        put(store, "a", 1)
"""


def begin(folder: Path, url: str, seconds: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, str(folder), url, str(seconds)], stdout=subprocess.PIPE, text=True
    )


def test_of_four_machines_one_compiles(redis_url: str, tmp_path: Path) -> None:
    machines = [begin(tmp_path / str(number), redis_url, 0.5) for number in range(4)]
    said = [process.communicate(timeout=60)[0].strip() for process in machines]
    assert sorted(said) == ["compiles", "found", "found", "found"]


def test_a_holder_that_dies_is_replaced_after_its_lease(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import redis

    holder = begin(tmp_path / "holder", redis_url, 600)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "compiles\n"
    client = redis.Redis.from_url(redis_url)
    (key,) = client.keys("passprint/1/locks/*")
    assert 0 < client.pttl(key) <= 15000
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    client.pexpire(key, 500)  # its time, made shorter
    store, moment = machine(tmp_path / "next", redis_url), time.monotonic()
    with store.compiling(digest("a")) as entry:
        assert entry is None
        assert 0.2 < time.monotonic() - moment < 5
        assert put(store, "a", 1)
    assert store.flush(30)
    assert client.keys("passprint/1/locks/*") == []


def test_a_lease_is_renewed_while_it_is_held(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("tier", "leasing"):
        monkeypatch.setattr(f"passprint.cache.remotes.{module}.LEASE_SECONDS", 0.6)
    first, second = machine(tmp_path / "a", redis_url), machine(tmp_path / "b", redis_url)
    order: list[str] = []

    def other() -> None:
        with second.compiling(digest("a")) as entry:
            order.append("found" if entry is not None else "compiles")

    with first.compiling(digest("a")) as entry:
        assert entry is None
        thread = threading.Thread(target=other)
        thread.start()
        time.sleep(2)
        order.append("stored")
        assert put(first, "a", 1)
    thread.join(30)
    assert order == ["stored", "found"]
    found = second.get(digest("a"))
    assert found is not None
    assert is_right(found, "a")


def test_whose_time_is_up_compiles_as_well(redis_url: str, tmp_path: Path) -> None:
    first, second = machine(tmp_path / "a", redis_url), machine(tmp_path / "b", redis_url)
    with first.compiling(digest("a")):
        moment = time.monotonic()
        with second.compiling(digest("a"), timeout=0.5) as entry:
            assert entry is None
        assert 0.4 < time.monotonic() - moment < 3


def test_a_machine_that_only_reads_takes_no_lease(redis_url: str, tmp_path: Path) -> None:
    reader, other = machine(tmp_path / "a", f"{redis_url}#mode=readonly"), machine(tmp_path / "b", redis_url)
    with reader.compiling(digest("a")), other.compiling(digest("a"), timeout=0) as entry:
        assert entry is None
    assert reader.stats().tiers[0].requests == 0


def test_a_remote_without_leases_says_so(tmp_path: Path, trusted: Path) -> None:
    pytest.importorskip("fsspec", reason="the extra [remote] is not installed: no fsspec")
    store = machine(tmp_path / "a", f"file://{tmp_path}/remote")
    with store.compiling(digest("a")) as entry:
        assert entry is None
    assert store.stats().tiers[0].leases is False
