"""A damaged file is a miss with one warning, is never handed out, and the next store heals it."""

from __future__ import annotations

import errno
import hashlib
import linecache
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from passprint.cache import CacheWarning, LocalStore, files, reading
from passprint.cache.record import FORMAT
from passprint.errors import CacheError

from .proof import exit_status, files_of, flips, in_child, is_right, key_of, put

KEY = key_of("a")


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    store = LocalStore(tmp_path / "cache")
    put(store, "a", 1)
    return store


def record_of(store: LocalStore) -> Path:
    return store.root / "entries" / KEY.digest[:2] / KEY.digest


def object_of(store: LocalStore, name: str) -> Path:
    digest = hashlib.sha256(files_of("a", 1)[name]).hexdigest()
    return store.root / "objects" / digest[:2] / digest


def heals(store: LocalStore) -> bool:
    put(store, "a", 1)
    entry = store.get(KEY.digest)
    return entry is not None and is_right(entry, "a")


def test_no_flipped_byte_is_loaded(tmp_path: Path) -> None:
    result = flips(tmp_path / "cache", step=37)
    assert result["ok"], result


@pytest.mark.parametrize(
    "harm",
    [
        lambda path: path.write_bytes(b""),
        lambda path: os.truncate(path, path.stat().st_size - 1),
        lambda path: path.write_bytes(path.read_bytes() + b"\0"),
        lambda path: path.write_bytes(bytes(path.stat().st_size)),
        lambda path: path.chmod(0o666),
        lambda path: (path.unlink(), path.symlink_to("/etc/hostname")),
    ],
    ids=["emptied", "cut", "longer", "zeroed", "writable by others", "a link"],
)
@pytest.mark.parametrize("which", ["record", "object"])
def test_a_damaged_file_is_a_miss_with_one_warning(
    store: LocalStore, harm: Callable[[Path], object], which: str
) -> None:
    harm(record_of(store) if which == "record" else object_of(store, "kernel.so"))
    with pytest.warns(CacheWarning, match=KEY.digest) as caught:
        assert store.get(KEY.digest) is None
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert store.get(KEY.digest) is None
    assert store.stats().counts["miss"] == {"damaged entry": 1, "no entry": 1}
    assert heals(store)


@pytest.mark.parametrize(
    "use",
    [
        lambda store: store.get(KEY.digest),
        lambda store: store.get_but_for(KEY, ()),
        lambda store: list(store.entries()),
        lambda store: store.ls(),
    ],
    ids=["get", "get_but_for", "entries", "ls"],
)
def test_a_warning_stands_beside_the_users_own_line(
    store: LocalStore, use: Callable[[LocalStore], object]
) -> None:
    record_of(store).write_bytes(b"")
    with pytest.warns(CacheWarning, match=KEY.digest) as caught:
        use(store)
    line = linecache.getline(caught[0].filename, caught[0].lineno).strip()
    assert line.startswith("lambda store: ")


def test_an_entry_healed_by_another_meanwhile_is_not_removed(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def heal_and_fail(fd: int, status: os.stat_result) -> bytes:
        monkeypatch.undo()
        put(LocalStore(store.root), "a", 2)
        raise files.DamagedError("was damaged when it was read")

    monkeypatch.setattr(reading, "read_fd", heal_and_fail)
    with pytest.warns(CacheWarning, match="was damaged"):
        assert store.get(KEY.digest) is None
    entry = store.get(KEY.digest)
    assert entry is not None
    assert entry.meta["variant"] == 2


def test_a_missing_object_is_a_miss(store: LocalStore) -> None:
    object_of(store, "code.py").unlink()
    with pytest.warns(CacheWarning, match=r"'code\.py' .*is gone"):
        assert store.get(KEY.digest) is None
    assert heals(store)


def test_a_record_of_another_key_is_a_miss(store: LocalStore) -> None:
    other = key_of("b").digest
    path = store.root / "entries" / other[:2] / other
    path.parent.mkdir(mode=0o700, exist_ok=True)
    record_of(store).rename(path)
    with pytest.warns(CacheWarning, match="is of another key"):
        assert store.get(other) is None


def test_an_unknown_format_is_a_miss_and_is_left_alone(store: LocalStore) -> None:
    data = record_of(store).read_bytes()
    newer = data.replace(b"passprint-entry %d " % FORMAT, b"passprint-entry %d " % (FORMAT + 1), 1)
    assert newer != data
    record_of(store).write_bytes(newer)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert store.get(KEY.digest) is None
        store.gc()
    assert record_of(store).read_bytes() == newer
    assert object_of(store, "kernel.so").exists()  # what it names is kept for those who can read it
    assert store.stats().counts["miss"] == {f"the entry has the unknown format {FORMAT + 1}": 1}
    assert heals(store)


def test_a_file_changed_after_the_check_is_refused(store: LocalStore) -> None:
    entry = store.get(KEY.digest)
    assert entry is not None
    os.truncate(object_of(store, "kernel.so"), 10)
    with pytest.raises(CacheError, match="changed while in use"):
        entry.path("kernel.so")
    large = {"large": bytes(2 << 20)}
    store.put(key_of("large"), large)
    entry = store.get(key_of("large").digest)
    assert entry is not None
    entry.path("large").write_bytes(b"\1" * (2 << 20))
    with pytest.raises(CacheError, match="changed while in use"):
        entry.files["large"]


def test_a_damaged_key_is_an_error_only_for_who_reads_it(store: LocalStore) -> None:
    entry = store.get(KEY.digest)
    assert entry is not None
    tree = next(
        path
        for path in (store.root / "objects").rglob("*")
        if path.is_file() and path not in [object_of(store, name) for name in entry.files]
    )
    os.truncate(tree, 3)
    again = store.get(KEY.digest)
    assert again is not None
    assert dict(again.files) == files_of("a", 1)
    with pytest.raises(CacheError, match="The key of entry"):
        _ = again.key
    assert store.nearest(KEY) is None
    assert heals(store)


def test_too_many_open_files_is_a_miss_that_removes_nothing(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_more(path: str) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr(files, "open_file", no_more)
        with pytest.warns(CacheWarning, match="Too many open files"):
            assert store.get(KEY.digest) is None
    entry = store.get(KEY.digest)
    assert entry is not None
    assert is_right(entry, "a")


@pytest.mark.parametrize("seed", range(3))
def test_a_disk_that_fills_up_while_storing(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """After each possible number of bytes: a warning, no new entry, no crash, nothing left behind."""
    real = files.write_all
    total = sum(len(data) for data in files_of("b", 1).values())
    for room in range(seed * 100, total + 500, 300):
        left = room

        def until_full(fd: int, data: bytes) -> None:
            nonlocal left
            if len(data) > left:
                real(fd, data[:left])
                left = 0
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            left -= len(data)
            real(fd, data)

        with monkeypatch.context() as patch, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            patch.setattr(files, "write_all", until_full)
            mine = LocalStore(store.root)
            stored = [put(mine, "b", 1), put(mine, "b", 1)]
        messages = [str(one.message) for one in caught]
        if False in stored:
            assert len(messages) == 1
            assert "No space left" in messages[0]
        assert not list(store.root.rglob(".tmp-*"))
        entry = store.get(key_of("b").digest)
        assert (entry is not None) == (True in stored)
        if entry is not None:
            assert is_right(entry, "b")
            entry.close()
        entry = store.get(KEY.digest)
        assert entry is not None
        assert is_right(entry, "a")
        entry.close()
        store.clear()
        assert heals(store)


def test_a_real_limit_on_file_size(store: LocalStore) -> None:
    """The kernel itself refuses to write more: as on a full disk, but with a real short write."""
    resource = pytest.importorskip("resource")

    def work() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        warnings.simplefilter("always")
        with warnings.catch_warnings(record=True) as caught:
            mine = LocalStore(store.root)
            assert not mine.put(key_of("b"), {"large": bytes(100_000)})
            assert mine.get(key_of("b").digest) is None
        assert ["File too large" in str(one.message) for one in caught] == [True]

    assert exit_status(in_child(work)) == 0
    assert not list(store.root.rglob(".tmp-*"))
    assert store.put(key_of("b"), {"large": bytes(100_000)})


def test_a_real_full_disk(tmp_path: Path) -> None:
    """A small file system of its own, where the user may mount one."""
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare command here")
    disk = tmp_path / "disk"
    disk.mkdir(mode=0o700)
    program = (
        "import os, sys, warnings; from passprint.cache import LocalStore\n"
        "from passprint.identity import compose\n"
        "warnings.simplefilter('ignore'); store = LocalStore(sys.argv[1] + '/cache')\n"
        "keys = [compose('piece', {'number': number}) for number in range(40)]\n"
        "stored = [store.put(key, {'k': os.urandom(20_000)}) for key in keys]\n"
        "found = [store.get(key.digest) is not None for key in keys]\n"
        "print(sum(stored), stored == found, len(store.verify().problems))\n"
    )
    script = 'mount -t tmpfs -o size=256k,mode=700 tmpfs "$1" || exit 77; exec "$2" -c "$3" "$1"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", disk, sys.executable, program],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode in (1, 77) and "ermitted" in done.stderr + done.stdout:
        pytest.skip("this user may not mount a file system")
    assert done.returncode == 0, done.stderr
    stored, same, problems = done.stdout.split()
    assert 0 < int(stored) < 40
    assert (same, problems) == ("True", "0")
