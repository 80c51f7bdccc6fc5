"""What a local store gives back is what was put in, also in another process."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from passprint.cache import Entry, LocalStore, NoStore, Store, open_store
from passprint.errors import CacheError
from passprint.identity import compose

from .proof import files_of, is_right, key_of, put


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "cache")


def found(store: LocalStore, name: str) -> Entry:
    entry = store.get(key_of(name).digest)
    assert entry is not None
    return entry


def test_what_was_put_comes_back(store: LocalStore) -> None:
    assert store.get(key_of("a").digest) is None
    assert put(store, "a", 1)
    entry = found(store, "a")
    assert dict(entry.files) == files_of("a", 1)
    assert entry.meta == {"variant": 1, "label": "a"}
    assert entry.digest == key_of("a").digest
    assert entry.kind == "piece"


def test_the_whole_key_comes_back_with_its_parts(store: LocalStore) -> None:
    put(store, "a", 1)
    entry = found(store, "a")
    assert entry.key == key_of("a")
    assert [part.name for part in entry.key.root.children] == [
        part.name for part in key_of("a").root.children
    ]
    assert entry.parts == {part.name: part.digest for part in key_of("a").root.children}


def test_another_process_finds_it(store: LocalStore) -> None:
    put(store, "a", 3)
    program = (
        "import sys; from passprint.cache import LocalStore\n"
        "entry = LocalStore(sys.argv[1]).get(sys.argv[2])\n"
        "assert 'torch' not in sys.modules\n"
        "sys.stdout.buffer.write(entry.files['code.py'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(store.root), key_of("a").digest], capture_output=True, check=True
    )
    assert done.stdout == files_of("a", 3)["code.py"]


def test_keys_do_not_mix(store: LocalStore) -> None:
    put(store, "a", 1)
    put(store, "b", 2)
    assert is_right(found(store, "a"), "a")
    assert is_right(found(store, "b"), "b")
    assert store.get(key_of("c").digest) is None


def test_a_second_put_replaces_the_first(store: LocalStore) -> None:
    put(store, "a", 1)
    put(store, "a", 2)
    assert found(store, "a").meta["variant"] == 2
    assert dict(found(store, "a").files) == files_of("a", 2)


def test_an_open_entry_outlives_being_replaced_and_swept(store: LocalStore) -> None:
    put(store, "a", 1)
    with found(store, "a") as old:
        put(store, "a", 2)
        store.gc()
        assert old.path("kernel.so").read_bytes() == files_of("a", 1)["kernel.so"]
        gone = old.path("kernel.so")
    store.gc()
    assert not gone.exists()
    assert dict(found(store, "a").files) == files_of("a", 2)


def test_an_entry_replaced_between_opening_and_locking(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old record was opened, but not yet held: its objects are gone, and the new one is read."""
    from passprint.cache import files

    put(store, "a", 1)
    real, other = files.open_file, LocalStore(store.root)

    def open_and_be_late(path: str) -> int:
        fd = real(path)
        with monkeypatch.context() as patch:
            patch.setattr(files, "open_file", real)
            if other.counters.here["store", ""] == 0:
                put(other, "a", 2)
                other.gc()
        return fd

    monkeypatch.setattr(files, "open_file", open_and_be_late)
    assert found(store, "a").meta["variant"] == 2


def test_equal_files_are_stored_once_and_have_one_path(store: LocalStore) -> None:
    put(store, "a", 1)
    before = store.stats().objects
    put(store, "b", 2)
    assert store.stats().objects == before + 3  # its key, its code, its kernel; "header" is there already
    assert found(store, "a").path("header") == found(store, "b").path("header")


def test_a_payload_may_be_a_file(store: LocalStore, tmp_path: Path) -> None:
    source = tmp_path / "built.so"
    source.write_bytes(b"\x7fELF" + bytes(5000))
    assert store.put(key_of("a"), {"built.so": source})
    assert found(store, "a").files["built.so"] == source.read_bytes()
    with pytest.raises(CacheError, match=r"'gone' cannot be stored: .*absent"):
        store.put(key_of("b"), {"gone": tmp_path / "absent"})
    assert store.get(key_of("b").digest) is None


def test_odd_names_and_empty_files(store: LocalStore) -> None:
    files = {"../../outside": b"1", "": b"2", "ü/\n": b"", "large": bytes(3 << 20)}
    store.put(key_of("odd"), files)
    entry = found(store, "odd")
    assert dict(entry.files) == files
    assert store.root in entry.path("../../outside").parents
    assert "absent" not in entry.files
    with pytest.raises(KeyError):
        entry.path("absent")


def test_meta_must_be_json_data(store: LocalStore) -> None:
    for meta in ({"a": object()}, {"a": float("nan")}):
        with pytest.raises(CacheError, match="must be JSON data"):
            store.put(key_of("a"), {}, meta)
    assert store.get(key_of("a").digest) is None
    assert store.stats().objects == 0


def test_a_digest_must_be_hex(store: LocalStore) -> None:
    for digest in ("", "../../../etc/passwd", "ABCDEF0123456789", "abc"):
        with pytest.raises(CacheError, match="16 to 128 lowercase hex digits"):
            store.get(digest)


def test_files_and_folders_are_for_their_owner_only(store: LocalStore) -> None:
    old = os.umask(0)
    try:
        put(store, "a", 1)
        with store.compiling(key_of("a").digest):
            pass
    finally:
        os.umask(old)
    for path in [store.root, *store.root.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_no_absolute_path_is_stored(store: LocalStore, tmp_path: Path) -> None:
    put(store, "a", 1)
    for path in store.root.rglob("*"):
        if path.is_file():
            assert str(tmp_path).encode() not in path.read_bytes()
    moved = tmp_path / "moved"
    store.root.rename(moved)
    assert is_right(found(LocalStore(moved), "a"), "a")


def test_the_nearest_entry_and_what_differs(store: LocalStore) -> None:
    store.put(compose("piece", {"graph": "g", "passes": ["p"], "torch": "2.12"}), {}, {"label": "M"})
    store.put(compose("piece", {"graph": "h", "passes": ["q"], "torch": "2.12"}), {}, {"label": "M"})
    store.put(compose("model", {"graph": "g", "passes": ["p"], "torch": "2.13"}), {}, {"label": "M"})
    asked = compose("piece", {"graph": "g", "passes": ["p"], "torch": "2.13"})
    answer = store.nearest(asked)
    assert answer is not None
    entry, changes = answer
    assert entry.key == compose("piece", {"graph": "g", "passes": ["p"], "torch": "2.12"})
    assert len(changes) >= 1
    assert all("torch" in change.path for change in changes)
    assert store.nearest(asked, "another model") is None
    assert store.nearest(compose("piece", {"graph": "x", "passes": ["y"], "torch": "z"})) is None
    assert store.nearest(compose("piece", {"graph": "x", "passes": ["y"], "torch": "z"}), "M") is not None


def test_what_open_store_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PASSPRINT_CACHE_DIR", str(tmp_path / "default"))
    default = open_store(None)
    assert isinstance(default, LocalStore)
    assert default.root == tmp_path / "default"
    given = open_store(tmp_path / "given")
    assert isinstance(given, LocalStore)
    assert given.root == tmp_path / "given"
    assert open_store(given) is given
    assert isinstance(given, Store)
    for wrong in (True, 3, object()):
        with pytest.raises(CacheError, match="must be None"):
            open_store(wrong)  # type: ignore[arg-type]
    with pytest.raises(CacheError, match="s3://bucket"):
        open_store("s3://bucket")


def test_without_the_variable_the_platform_chooses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PASSPRINT_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    root = LocalStore().root
    assert tmp_path in root.parents
    assert "passprint" in root.parts


def test_no_store_keeps_nothing() -> None:
    store = open_store(False)
    assert isinstance(store, NoStore)
    assert isinstance(store, Store)
    assert store.put(key_of("a"), files_of("a", 1)) is False
    assert store.get(key_of("a").digest) is None
    with store.compiling(key_of("a").digest) as entry:
        assert entry is None
    assert store.nearest(key_of("a")) is None
    assert (store.stats().entries, store.stats().bypasses) == (0, 1)
