"""Export and import: what comes over, what stays, and that no bad archive changes a cache."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from passprint.cache import CacheWarning, LocalStore, files
from passprint.cache.archive import ARCHIVE_FORMAT
from passprint.cache.record import FORMAT
from passprint.errors import CacheError

from .proof import files_of, is_right, key_of, put


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    store = LocalStore(tmp_path / "cache")
    for name in ("a", "b"):
        put(store, name, 1)
    return store


@pytest.fixture
def archive(store: LocalStore, tmp_path: Path) -> Path:
    path = tmp_path / "moved.passprint"
    store.export_to(path)
    return path


@pytest.fixture
def other(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "elsewhere" / "cache")


def holds(store: LocalStore, name: str) -> bool:
    with store.get(key_of(name).digest) or pytest.fail(f"{name} is not there") as entry:
        return is_right(entry, name)


def rewritten(archive: Path, change: Callable[[dict[str, Any], list[bytes]], None]) -> None:
    """Change index and blobs of an archive, and give it right lengths and checksums again: a forger's work."""
    data = archive.read_bytes()
    head, _, rest = data.partition(b"\n")
    length = int(head.split()[2])
    index, rest = json.loads(rest[:length]), rest[length:]
    blobs = []
    for _, size, *_ in [*index["entries"], *index["objects"]]:
        blobs.append(rest[:size])
        rest = rest[size:]
    change(index, blobs)
    for row, blob in zip([*index["entries"], *index["objects"]], blobs, strict=True):
        row[1] = len(blob)
        if len(row) == 3:
            row[2] = hashlib.sha256(blob).hexdigest()
    text = json.dumps(index).encode()
    sum_ = hashlib.sha256(text).hexdigest()
    archive.write_bytes(
        f"passprint-archive {ARCHIVE_FORMAT} {len(text)} {sum_}\n".encode() + text + b"".join(blobs)
    )


def reworded(blob: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    """A record with another body, and the checksum that fits it."""
    body = json.loads(blob.partition(b"\n")[2])
    change(body)
    text = json.dumps(body).encode()
    return f"passprint-entry {FORMAT} {hashlib.sha256(text).hexdigest()}\n".encode() + text


def snapshot(root: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_all_comes_over(store: LocalStore, archive: Path, other: LocalStore) -> None:
    done = other.import_from(archive)
    assert sorted(done.entries) == [("piece", "a"), ("piece", "b")]
    assert (done.present, done.objects) == (0, store.stats().objects)
    assert holds(other, "a")
    assert holds(other, "b")
    assert other.verify().problems == ()
    assert other.verify().orphans == 0
    assert other.stats().counts["store"] == {"imported": 2}


def test_what_is_there_stays_and_counts_as_present(archive: Path, other: LocalStore) -> None:
    put(other, "a", 5)
    put(other, "c", 6)
    done = other.import_from(archive)
    assert (done.entries, done.present) == ((("piece", "b"),), 1)
    with other.get(key_of("a").digest) or pytest.fail("gone") as entry:
        assert entry.meta["variant"] == 5
    assert holds(other, "b")
    assert holds(other, "c")
    assert other.import_from(archive).entries == ()


def test_damaged_entries_and_objects_that_are_there_are_healed(archive: Path, other: LocalStore) -> None:
    other.import_from(archive)
    objects = [path for path in (other.root / "objects").rglob("*") if path.is_file()]
    for path in objects:
        os.truncate(path, 1)
    record = key_of("b").digest
    os.truncate(other.root / "entries" / record[:2] / record, 9)
    with pytest.warns(CacheWarning, match=record):
        done = other.import_from(archive)
    assert (done.objects, done.present, done.entries) == (len(objects), 1, (("piece", "b"),))
    assert holds(other, "a")
    assert holds(other, "b")
    assert other.verify().problems == ()


def test_damaged_entries_are_not_exported(store: LocalStore, tmp_path: Path, other: LocalStore) -> None:
    object_of_a = hashlib.sha256(files_of("a", 1)["kernel.so"]).hexdigest()
    os.truncate(store.root / "objects" / object_of_a[:2] / object_of_a, 7)
    done = store.export_to(tmp_path / "file")
    assert (done.entries, done.left_out) == (1, 1)
    assert other.import_from(tmp_path / "file").entries == (("piece", "b"),)
    assert holds(other, "b")


def test_selected_by_key_and_by_name_with_what_they_need(
    store: LocalStore, tmp_path: Path, other: LocalStore
) -> None:
    store.put(
        key_of("model"),
        {"program": b"x"},
        {"label": "Llama", "variant": 0, "pieces": [key_of("b").digest, key_of("b").digest, "f" * 64]},
    )
    store.export_to(tmp_path / "file", labels=["Llama"])
    done = other.import_from(tmp_path / "file")
    assert sorted(done.entries) == [("piece", "Llama"), ("piece", "b")]
    assert done.entries[-1] == ("piece", "Llama")  # after what it needs
    store.export_to(tmp_path / "file", keys=[key_of("a").digest[:12].upper()])
    assert other.import_from(tmp_path / "file").entries == (("piece", "a"),)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"keys": ["0123456789"]}, "No entry's key begins with '0123456789'"),
        ({"keys": [""]}, "No entry's key begins with ''"),
        ({"labels": ["aa"]}, "No entry is of 'aa'. Did you mean 'a'?"),
    ],
)
def test_selecting_what_is_not_there_is_an_error(
    store: LocalStore, tmp_path: Path, given: dict[str, list[str]], said: str
) -> None:
    with pytest.raises(CacheError) as caught:
        store.export_to(tmp_path / "file", **given)  # type: ignore[arg-type]
    assert said in str(caught.value)
    assert not (tmp_path / "file").exists()


def test_an_empty_cache_can_be_moved(tmp_path: Path, other: LocalStore) -> None:
    done = LocalStore(tmp_path / "empty").export_to(tmp_path / "file")
    assert (done.entries, done.objects) == (0, 0)
    assert other.import_from(tmp_path / "file").entries == ()


def test_no_path_of_this_machine_is_in_it(archive: Path, tmp_path: Path) -> None:
    assert os.fsencode(tmp_path) not in archive.read_bytes()


def test_each_cut_and_flipped_byte_is_an_error_and_changes_nothing(archive: Path, other: LocalStore) -> None:
    """A sample; ``python -m tests.cache.proof --only archive`` takes each byte."""
    whole = archive.read_bytes()
    put(other, "a", 5)
    before = snapshot(other.root)
    rng = random.Random(1)
    for place in [*range(90), *rng.sample(range(90, len(whole)), 120)]:
        flipped = bytearray(whole)
        flipped[place] ^= 1 << rng.randrange(8)
        for bad in (bytes(flipped), whole[:place]):
            archive.write_bytes(bad)
            with pytest.raises(CacheError, match="archive"):
                other.import_from(archive)
    archive.write_bytes(whole + b"\0")
    with pytest.raises(CacheError, match="damaged"):
        other.import_from(archive)
    assert snapshot(other.root) == before


def test_an_unknown_format_says_what_to_do(archive: Path, other: LocalStore) -> None:
    newer = b"passprint-archive %d " % (ARCHIVE_FORMAT + 1)
    archive.write_bytes(newer + archive.read_bytes()[len(newer) :])
    with pytest.raises(CacheError) as caught:
        other.import_from(archive)
    assert f"has format {ARCHIVE_FORMAT + 1}" in str(caught.value)
    assert "Export it again with this version" in str(caught.value)
    assert other.stats().entries == 0


@pytest.mark.parametrize("content", [b"", b"\n", b"PK\x03\x04 something else", b"passprint-archive\n"])
def test_another_file_is_refused(content: bytes, tmp_path: Path, other: LocalStore) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(CacheError, match="is not an archive of a passprint cache"):
        other.import_from(tmp_path / "file")
    with pytest.raises(CacheError, match="cannot be read: No such file"):
        other.import_from(tmp_path / "absent")


@pytest.mark.parametrize("name", ["../../../etc/passwd", "/etc/passwd", "ab" * 200, "", "A" * 64, 7])
def test_a_forged_name_never_becomes_a_path(name: object, archive: Path, other: LocalStore) -> None:
    def forge_object(index: dict[str, Any], _: list[bytes]) -> None:
        index["objects"][0][0] = name

    def forge_entry(index: dict[str, Any], _: list[bytes]) -> None:
        index["entries"][0][0] = name

    whole = archive.read_bytes()
    for forge in (forge_object, forge_entry):
        archive.write_bytes(whole)
        rewritten(archive, forge)
        with pytest.raises(CacheError, match="is damaged: its index"):
            other.import_from(archive)
    assert other.stats().objects == 0


@pytest.mark.parametrize(
    "forge",
    [
        lambda body: body["files"][0].__setitem__(0, "../escape"),
        lambda body: body["files"][0].__setitem__(0, "/absolute"),
        lambda body: body["files"][0].__setitem__(0, "C:\\absolute"),
        lambda body: body["files"][0].__setitem__(2, "../../../../etc/passwd"),
        lambda body: body["files"][0].__setitem__(2, "0" * 64),
        lambda body: body["files"][0].__setitem__(2, ["a list"]),
        lambda body: body["files"][0].__setitem__(1, 3),
        lambda body: body["files"].append(body["files"][0]),
        lambda body: body.__setitem__("meta", ["no", "mapping"]),
        lambda body: body.__setitem__("created", "yesterday"),
        lambda body: body.__setitem__("created", 10**400),
        lambda body: body.__setitem__("created", float("nan")),
        lambda body: body.__setitem__("created", float("-inf")),
        lambda body: body.__setitem__("kind", "model\n+ another"),
        lambda body: body["meta"].__setitem__("label", "\x1b[31mred"),
        lambda body: body["meta"].__setitem__("label", "\ud800"),
        lambda body: body["meta"].__setitem__("label", {}),
        lambda body: body.__setitem__("key", "1" * 64),
    ],
)
def test_a_forged_record_is_refused(
    forge: Callable[[dict[str, Any]], None], archive: Path, other: LocalStore
) -> None:
    rewritten(archive, lambda _, blobs: blobs.__setitem__(0, reworded(blobs[0], forge)))
    with pytest.raises(CacheError, match="is damaged: its entry"):
        other.import_from(archive)
    assert (other.stats().entries, other.stats().objects) == (0, 0)


@pytest.mark.parametrize("of_record", [False, True])
def test_what_is_nested_too_deeply_is_refused(of_record: bool, archive: Path, other: LocalStore) -> None:
    deep = b"[" * 100_000 + b"]" * 100_000
    sum_ = hashlib.sha256(deep).hexdigest()
    if of_record:
        record = f"passprint-entry {FORMAT} {sum_}\n".encode() + deep
        rewritten(archive, lambda _, blobs: blobs.__setitem__(0, record))
    else:
        archive.write_bytes(f"passprint-archive {ARCHIVE_FORMAT} {len(deep)} {sum_}\n".encode() + deep)
    with pytest.raises(CacheError, match=r"is damaged: its (entry|index)"):
        other.import_from(archive)
    assert (other.stats().entries, other.stats().objects) == (0, 0)


def test_a_full_disk_while_importing(
    archive: Path, other: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, left = files.write_all, 4000

    def until_full(fd: int, data: bytes) -> None:
        nonlocal left
        left -= len(data)
        if left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(fd, data)

    with monkeypatch.context() as patch:
        patch.setattr(files, "write_all", until_full)
        with pytest.raises(CacheError, match="No space left on device"):
            other.import_from(archive)
    assert other.verify().problems == ()
    assert not list(other.root.rglob(".tmp-*"))
    other.import_from(archive)
    assert holds(other, "a")


def test_a_full_disk_while_exporting_leaves_the_older_file(
    store: LocalStore, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = archive.read_bytes()

    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(CacheError, match="cannot be written: No space left"):
            store.export_to(archive)
    assert archive.read_bytes() == whole
    assert [path.name for path in archive.parent.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("linked", [False, True])
def test_only_a_file_is_replaced_by_an_export(store: LocalStore, tmp_path: Path, linked: bool) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    path = tmp_path / "link" if linked else pipe
    if linked:
        path.symlink_to(pipe)
    with pytest.raises(CacheError, match=r"something that is no file.*Give a name that is free"):
        store.export_to(path)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert path.is_symlink() == linked


def test_what_is_imported_is_closed_to_others(archive: Path, other: LocalStore) -> None:
    other.import_from(archive)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in other.root.rglob("*")}
    assert modes == {0o600, 0o700}
