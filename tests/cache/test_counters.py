"""Counts are exact whoever counts at once, have reasons, and stay small."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from passprint.cache import LocalStore, counters
from passprint.cache.counters import Counters

from .proof import key_of, put


def test_hits_misses_stores_and_bypasses_with_reasons(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "cache")
    store.get(key_of("a").digest)
    put(store, "a", 1)
    store.get(key_of("a").digest)
    store.get(key_of("a").digest)
    store.bypass("MyPass → CONFIG: a lock")
    store.bypass("MyPass → CONFIG: a lock")
    store.bypass("two\tlines\nof text")
    stats = LocalStore(store.root).stats()  # as another process sees them
    assert (stats.hits, stats.misses, stats.stores, stats.bypasses, stats.failures) == (2, 1, 1, 3, 0)
    assert stats.counts["miss"] == {"no entry": 1}
    assert stats.counts["bypass"] == {"MyPass → CONFIG: a lock": 2, "two lines of text": 1}
    assert stats.to_dict()["reasons"]["bypass"] == stats.counts["bypass"]


def test_a_look_up_of_several_entries_counts_once(tmp_path: Path) -> None:
    """Whoever asks uncounted says what came of it: an entry that was found and does not serve is no hit."""
    store = LocalStore(tmp_path / "cache")
    put(store, "a", 1)
    for name in ("a", "b"):
        store.get(key_of(name).digest, counted=False)
    store.looked_up("stored, but a guard does not hold")
    store.get(key_of("a").digest, counted=False)
    store.looked_up()
    stats = LocalStore(store.root).stats()
    assert (stats.hits, stats.misses) == (1, 1)
    assert stats.counts["miss"] == {"stored, but a guard does not hold": 1}


def test_no_event_is_lost_while_the_file_is_added_up(tmp_path: Path) -> None:
    path = tmp_path / "counts"
    program = (
        "import sys; from passprint.cache import counters\n"
        "counters.FOLD_BYTES = 200\n"
        "mine = counters.Counters(sys.argv[1])\n"
        "for number in range(300): mine.add('hit', f'reason {number % 3}')\n"
    )
    started = [subprocess.Popen([sys.executable, "-c", program, str(path)]) for _ in range(4)]
    assert [process.wait() for process in started] == [0] * 4
    assert Counters(str(path)).read()["hit"] == {f"reason {number}": 400 for number in range(3)}
    assert path.stat().st_size < 2000
    assert list(tmp_path.iterdir()) == [path]


def test_many_different_reasons_stay_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counters, "FOLD_BYTES", 4000)
    mine = Counters(str(tmp_path / "counts"))
    for number in range(1000):
        mine.add("bypass", f"{'long ' * 100}{number}")
        mine.add("bypass", f"reason {number}")
    read = mine.read()["bypass"]
    assert sum(read.values()) == 2000
    assert "(other reasons)" in read
    assert (tmp_path / "counts").stat().st_size < 10_000


def test_a_torn_line_costs_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "counts"
    path.write_bytes(b"hit\t3\t\nmiss\t1\tno entry\nhi\xff\t\n\nhit\tx\ty\nhit\t1\t\nmis")
    assert Counters(str(path)).read() == {
        "hit": {"": 4},
        "miss": {"no entry": 1},
        "bypass": {},
        "store": {},
        "fail": {},
    }


def test_where_nothing_can_be_written_this_process_still_counts(tmp_path: Path) -> None:
    mine = Counters(str(tmp_path / "absent" / "counts"))
    mine.add("hit")
    assert mine.read()["hit"] == {"": 1}
    assert not os.path.exists(tmp_path / "absent")


def test_reset(tmp_path: Path) -> None:
    mine = Counters(str(tmp_path / "counts"))
    mine.add("hit")
    mine.reset()
    mine.reset()
    assert mine.read()["hit"] == {}
