"""Many processes at once, and processes killed at any moment: small samples of ``proof.py``."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from passprint.cache import CacheWarning, LocalStore

from . import proof
from .proof import is_right, key_of, put


@pytest.mark.parametrize(
    "arguments",
    [
        ["kills", "--kills", "12", "--seed", "1"],
        ["writers", "--rounds", "3"],
        ["compile"],
        ["archives", "--step", "211"],
        ["full disk", "--step", "139"],
        ["read only", "--writers", "2"],
    ],
    ids=["kill -9", "16 writers", "one compiles", "archives", "full disk", "read only"],
)
def test_proof(arguments: list[str]) -> None:
    """In a fresh interpreter without threads, so that it can fork."""
    done = subprocess.run(
        [sys.executable, proof.__file__, "--only", *arguments], capture_output=True, text=True, check=False
    )
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert results
    assert done.returncode == 0, (results, done.stderr)
    assert done.stderr == ""


def test_one_compiles_and_the_others_find_it(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "cache")
    inside = threading.Event()
    answers = []

    def wait() -> None:
        inside.wait()
        with LocalStore(store.root).compiling(key_of("a").digest, timeout=30) as entry:
            answers.append(entry is not None and is_right(entry, "a"))

    waiters = [threading.Thread(target=wait) for _ in range(3)]
    for waiter in waiters:
        waiter.start()
    with store.compiling(key_of("a").digest) as entry:
        assert entry is None
        inside.set()
        time.sleep(0.1)
        assert answers == []
        put(store, "a", 1)
    for waiter in waiters:
        waiter.join()
    assert answers == [True, True, True]
    assert store.stats().counts["hit"] == {"compiled meanwhile by another": 3}


def test_other_keys_do_not_wait(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "cache")
    with store.compiling(key_of("a").digest), store.compiling(key_of("b").digest, timeout=0) as entry:
        assert entry is None


def test_who_waited_too_long_compiles_too(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "cache")
    other = LocalStore(tmp_path / "cache")
    with store.compiling(key_of("a").digest):
        late = other.compiling(key_of("a").digest, timeout=0.05)
        with pytest.warns(CacheWarning, match="no longer waiting"):
            entry = late.__enter__()
        assert entry is None
        assert put(other, "a", 2)
        late.__exit__(None, None, None)
    found = store.get(key_of("a").digest)
    assert found is not None
    assert is_right(found, "a")


def test_a_failed_compile_lets_the_next_one_try(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "cache")
    other = LocalStore(tmp_path / "cache")
    with pytest.raises(RuntimeError, match="the compiler failed"), store.compiling(key_of("a").digest):
        raise RuntimeError("the compiler failed")
    with other.compiling(key_of("a").digest, timeout=0) as entry:
        assert entry is None
