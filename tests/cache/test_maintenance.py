"""Sweeping, listing, verifying: what goes, what stays, and what is said about it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from passprint.cache import LocalStore, files
from passprint.cache.limits import parse_size
from passprint.errors import CacheError

from .proof import files_of, is_right, key_of, put


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "cache")


def put_block(store: LocalStore, name: str, size: int = 100_000) -> None:
    store.put(key_of(name), {"block": name.encode() * (size // len(name))}, {"label": name})


def record_of(store: LocalStore, name: str) -> Path:
    digest = key_of(name).digest
    return store.root / "entries" / digest[:2] / digest


def has(store: LocalStore, name: str) -> bool:
    return record_of(store, name).exists()


def set_used(store: LocalStore, name: str, seconds_ago: float) -> None:
    moment = time.time() - seconds_ago
    os.utime(record_of(store, name), (moment, moment))


def test_the_least_recently_used_go_first(store: LocalStore) -> None:
    for age, name in enumerate(["new", "mid", "old"]):
        put_block(store, name)
        set_used(store, name, age * 1000.0)
    swept = store.gc(limit_bytes=250_000)
    assert (has(store, "new"), has(store, "mid"), has(store, "old")) == (True, True, False)
    assert swept.entries == 1
    assert swept.left_bytes == store.stats().bytes <= 250_000


def test_an_explicit_limit_is_used_in_full(store: LocalStore) -> None:
    put_block(store, "a")
    size = store.stats().bytes
    assert store.gc(limit_bytes=size).entries == 0
    assert store.gc(limit_bytes=size - 1).entries == 1


def test_reading_counts_as_use(store: LocalStore) -> None:
    for name in ("read", "unread"):
        put_block(store, name)
        set_used(store, name, 5000.0 if name == "read" else 1000.0)
    entry = store.get(key_of("read").digest)
    assert entry is not None
    entry.close()
    store.gc(limit_bytes=150_000)
    assert (has(store, "read"), has(store, "unread")) == (True, False)


def test_within_the_limit_nothing_goes_but_garbage(store: LocalStore) -> None:
    put(store, "a", 1)
    put(store, "a", 2)  # the first one's code and kernel are now named by nobody
    orphan = store.root / "objects" / "ab" / ("ab" * 32)
    orphan.parent.mkdir(mode=0o700, exist_ok=True)
    orphan.write_bytes(b"orphan")
    torn = orphan.with_name(".tmp-1-dead")
    fresh = orphan.with_name(".tmp-1-alive")
    lock = store.root / "locks" / "ab12.lock"
    for path in (torn, fresh, lock):
        path.write_bytes(b"")
    for path in (torn, lock):
        os.utime(path, (0, 0))
    assert store.gc().objects == 3
    assert not orphan.exists()
    assert (torn.exists(), fresh.exists(), lock.exists()) == (False, True, False)
    entry = store.get(key_of("a").digest)
    assert entry is not None
    assert is_right(entry, "a")


def test_strange_files_are_left_alone(store: LocalStore) -> None:
    put(store, "a", 1)
    strange = [store.root / "entries" / "note", store.root / "objects" / "ab" / "README", store.root / "mine"]
    for path in strange:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.write_text("mine")
    store.clear()
    assert all(path.exists() for path in strange)


def test_what_a_live_process_holds_stays(store: LocalStore) -> None:
    put(store, "held", 1)
    put(store, "free", 2)
    program = (
        "import sys; from passprint.cache import LocalStore\n"
        "entry = LocalStore(sys.argv[1]).get(sys.argv[2]); path = entry.path('kernel.so')\n"
        "print(path, flush=True); sys.stdin.read(1); print(len(path.read_bytes()), flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(store.root), key_of("held").digest],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        path = Path(holder.stdout.readline().strip())
        assert store.gc(limit_bytes=1).in_use == 1
        swept = store.clear()
        assert (swept.in_use, has(store, "held"), has(store, "free")) == (1, True, False)
        assert path.exists()
        holder.stdin.write("go")
        holder.stdin.close()
        assert int(holder.stdout.readline()) == len(files_of("held", 1)["kernel.so"])
        assert holder.wait() == 0
    assert store.clear().entries == 1  # the process is gone, so is its hold
    assert not path.exists()


def test_a_file_replaced_while_it_is_removed_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    replacement = tmp_path / "replacement"
    replacement.write_text("new")

    def replace_first(fd: int, *, exclusive: bool) -> bool:
        replacement.replace(path)
        return True

    monkeypatch.setattr(files, "try_lock", replace_first)
    files.remove_unused(str(path))
    assert path.read_text() == "new"


def test_a_killed_process_holds_nothing(store: LocalStore) -> None:
    put(store, "held", 1)
    program = (
        "import sys; from passprint.cache import LocalStore\n"
        "entry = LocalStore(sys.argv[1]).get(sys.argv[2])\n"
        "print(entry, flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(store.root), key_of("held").digest],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert b"Entry" in holder.stdout.readline()
        holder.kill()
        holder.wait()
    assert store.clear().entries == 1


def test_a_full_store_sweeps_by_itself(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "cache", limit_bytes=500_000)
    for number in range(20):
        put_block(store, f"block {number}")
    assert store.stats().bytes <= 500_000
    assert has(store, "block 19")


def test_the_limit_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PASSPRINT_CACHE_LIMIT", "1.5M")
    assert LocalStore(tmp_path / "cache").limit_bytes == 3 << 19
    assert LocalStore(tmp_path / "cache", limit_bytes=7).limit_bytes == 7
    assert [parse_size(text) for text in ("10", "1k", "2 KiB", "3GB")] == [10, 1024, 2048, 3 << 30]
    for wrong in ("", "big", "-1", "5X"):
        with pytest.raises(CacheError, match="must be like 500M"):
            parse_size(wrong)


def test_no_limit_means_no_eviction(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "cache", limit_bytes=0)
    put_block(store, "a")
    store.gc()
    assert has(store, "a")


def test_a_sweep_waits_for_who_stores_and_gives_up_in_time(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    from passprint.cache import local
    from passprint.cache.files import locked

    put(store, "a", 1)
    monkeypatch.setattr(local, "_SWEEP_WAIT", 0.05)
    with locked(f"{store.root}/locks/sweep", exclusive=False, timeout=0) as taken:
        assert taken
        with pytest.raises(CacheError, match="Try later"):
            store.gc()
    with locked(f"{store.root}/locks/sweep", exclusive=True, timeout=0) as taken:
        assert taken
        with pytest.warns(UserWarning, match="does not end"):
            assert not put(store, "b", 1)
    assert put(store, "b", 1)


def test_verify_names_what_is_damaged_and_repairs_it(store: LocalStore) -> None:
    for name in ("whole", "bad record", "bad object"):
        put(store, name, 1)
    os.truncate(record_of(store, "bad record"), 10)
    entry = store.get(key_of("bad object").digest)
    assert entry is not None
    bad = entry.path("code.py")
    entry.close()
    bad.write_bytes(bad.read_bytes()[::-1])
    found = store.verify()
    named = {problem.digest for problem in found.problems}
    assert named == {key_of("bad record").digest, key_of("bad object").digest, bad.name}
    assert found.entries == 1
    assert bad.exists()
    assert {problem.digest for problem in store.verify(repair=True).problems} == named
    again = store.verify()
    assert (again.entries, again.problems) == (1, ())
    assert not bad.exists()
    assert again.orphans > 0  # what only the removed entries named is left to the next sweep
    store.gc()
    assert store.verify().orphans == 0


def test_rows_tell_what_there_is(store: LocalStore) -> None:
    for age, name in enumerate(["b", "a"]):
        put(store, name, 1)
        set_used(store, name, age * 1000.0)
    rows = store.ls()
    assert [row.meta["label"] for row in rows] == ["b", "a"]
    assert [row.digest for row in rows] == [key_of("b").digest, key_of("a").digest]
    assert rows[0].files == 3
    assert rows[0].bytes > sum(map(len, files_of("b", 1).values()))
    assert rows[0].used - rows[1].used == pytest.approx(1000.0, abs=60.0)


def test_stats_count_bytes_of_equal_files_once(store: LocalStore) -> None:
    put(store, "a", 1)
    stats = store.stats()
    assert (stats.entries, stats.objects) == (1, 4)
    on_disk = [
        path for room in ("entries", "objects") for path in (store.root / room).rglob("*") if path.is_file()
    ]
    assert stats.bytes == sum(path.stat().st_size for path in on_disk)
    assert stats.to_dict()["bytes"] == stats.bytes
