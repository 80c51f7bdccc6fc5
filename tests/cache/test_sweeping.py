"""A remote is swept by age and size, and what machines still use stays."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from passprint.cache.remotes.spec import RemoteSpec
from passprint.cache.remotes.sweeping import sweep
from passprint.cache.remotes.tier import Tier
from passprint.errors import CacheError

from .fleet import digest, machine, stored
from .proof import put

DAY = 86400.0


def test_redis_goes_by_the_last_use(redis_url: str, tmp_path: Path) -> None:
    import redis

    stored(machine(tmp_path / "a", redis_url), "a", "b")
    client = redis.Redis.from_url(redis_url)
    tier = Tier(RemoteSpec.parse(redis_url))
    assert sweep(tier, 1, 0.0).entries == 0  # all of it is young
    for key in client.keys("passprint/1/*"):
        client.restore(key, 0, client.dump(key), replace=True, idletime=int(10 * DAY))
    assert machine(tmp_path / "b", redis_url).get(digest("a")) is not None  # used now
    for _ in range(2):  # a sweep is no use
        assert sweep(tier, None, 30 * DAY).entries == 0
    swept = sweep(tier, None, 7 * DAY)
    assert (swept.entries, swept.left_entries) == (1, 1)
    other = machine(tmp_path / "c", redis_url)
    assert other.get(digest("a")) is not None
    assert other.get(digest("b")) is None


def test_the_oldest_go_first_above_a_size_and_shared_objects_stay(tmp_path: Path, trusted: Path) -> None:
    pytest.importorskip("fsspec", reason="the extra [remote] is not installed: no fsspec")
    url = f"file://{tmp_path}/remote"
    store = machine(tmp_path / "a", url)
    from .proof import key_of

    shared = os.urandom(100_000)
    for name in ("old", "new"):
        assert store.put(key_of(name), {"shared": shared, "own": os.urandom(50_000)})
    assert store.flush(30)
    for path in (tmp_path / "remote").rglob("*"):
        if path.is_file():
            moment = time.time() - (5 if path.name == digest("old") else 4) * DAY
            os.utime(path, (moment, moment))
    swept = sweep(Tier(RemoteSpec.parse(url)), 180_000, None)
    assert (swept.entries, swept.left_entries) == (1, 1)
    assert 150_000 < swept.left_bytes < 180_000
    other = machine(tmp_path / "b", url)
    entry = other.get(digest("new"))
    assert entry is not None
    assert entry.read("shared") == shared
    assert other.get(digest("old")) is None


def test_an_old_record_that_is_used_becomes_young(
    tmp_path: Path, trusted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("fsspec", reason="the extra [remote] is not installed: no fsspec")
    url = f"file://{tmp_path}/remote"
    now = time.time()
    monkeypatch.setattr("passprint.cache.local.time.time", lambda: now - 3 * DAY)
    stored(machine(tmp_path / "a", url), "a")
    monkeypatch.undo()
    monkeypatch.setenv("PASSPRINT_TRUSTED_KEYS", str(tmp_path / "trusted-keys"))
    monkeypatch.setenv("PASSPRINT_PRIVATE_KEY", str(trusted))
    (path,) = (tmp_path / "remote").rglob(digest("a"))
    os.utime(path, (now - 3 * DAY, now - 3 * DAY))
    other = machine(tmp_path / "b", url)
    assert other.get(digest("a")) is not None
    assert other.flush(30)
    assert path.stat().st_mtime > now - 60


def test_who_only_reads_a_remote_does_not_sweep_it(tmp_path: Path, trusted: Path) -> None:
    pytest.importorskip("fsspec", reason="the extra [remote] is not installed: no fsspec")
    put(machine(tmp_path / "a", f"file://{tmp_path}/remote"), "a", 1)
    with pytest.raises(CacheError, match="only read here"):
        sweep(Tier(RemoteSpec.parse(f"file://{tmp_path}/remote#mode=readonly")), None, 1.0)
