"""The folder of a cache: made when absent, refused when unsafe or not a cache, usable when read-only."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from passprint.cache import LocalStore, open_store
from passprint.errors import CacheError

from .proof import exit_status, in_child, is_right, key_of, put

NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can take another user's place")


def as_nobody(work: Callable[[], None]) -> int:
    """Do ``work`` in a process of a user whom permission bits stop (they do not stop root)."""

    def change_user() -> None:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
        work()

    return exit_status(in_child(change_user))


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """A folder that other users reach too (pytest's own ones are closed to them)."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


def give_away(root: Path, *, owner: int, writable: bool) -> None:
    for path in [*root.rglob("*"), root]:
        os.chown(path, owner, -1)
        path.chmod(
            stat.S_IMODE(path.stat().st_mode) & (0o777 if writable else 0o555) | 0o044 | path.is_dir() * 0o011
        )


def test_it_is_made_with_its_parents(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "far" / "away")
    assert put(store, "a", 1)
    assert (
        (store.root / "CACHEDIR.TAG").read_bytes().startswith(b"Signature: 8a477f597d28d172789f06886806bc55")
    )


@pytest.mark.parametrize("mode", [0o770, 0o777, 0o702])
@pytest.mark.parametrize("room", ["", "entries", "objects", "locks"])
def test_a_folder_that_others_can_write_is_refused(tmp_path: Path, mode: int, room: str) -> None:
    root = tmp_path / "cache"
    put(LocalStore(root), "a", 1)
    (root / room).chmod(mode)
    with pytest.raises(CacheError, match=f"run: chmod -R go-w {root}$"):
        open_store(root)
    (root / room).chmod(mode & ~0o022)
    entry = LocalStore(root).get(key_of("a").digest)
    assert entry is not None


def test_the_command_mends_a_cache_that_others_can_write_everywhere(tmp_path: Path) -> None:
    root = tmp_path / "cache"
    put(LocalStore(root), "a", 1)
    for path in [root, *root.rglob("*")]:
        path.chmod(path.stat().st_mode | 0o022)
    with pytest.raises(CacheError) as caught:
        LocalStore(root)
    subprocess.run(["sh", "-c", str(caught.value).partition("run: ")[2]], check=True)
    with LocalStore(root).get(key_of("a").digest) or pytest.fail("it is not mended") as entry:
        assert is_right(entry, "a")


def test_files_in_a_folder_that_others_can_write_are_told_with_the_command(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "cache")
    put(store, "a", 1)
    for path in (store.root / "objects").iterdir():
        path.chmod(0o777)
    entry = store.get(key_of("a").digest)
    assert entry is not None
    with pytest.raises(CacheError, match=f"run: chmod -R go-w {store.root}$"):
        entry.path("kernel.so")


@pytest.mark.parametrize("home", ["file/home", None], ids=["not to be written", "none"])
def test_without_a_place_for_the_users_cache_there_is_a_warning_and_none(
    tmp_path: Path, home: str | None
) -> None:
    (tmp_path / "file").write_text("")
    program = (
        "import warnings; from passprint import PassprintError; from passprint.cache import LocalStore, open_store\n"
        "with warnings.catch_warnings(record=True) as caught: store = open_store(None)\n"
        "print(type(store).__name__, *[one.message for one in caught])\n"
        "assert store.get('ab' * 32) is None\n"
        "print(store.stats().counts)\n"
        "for given in (lambda: LocalStore(), lambda: open_store('~absent-user/x')):\n"
        "    try: given()\n"
        "    except PassprintError as error: print(error)\n"
    )
    environment = {"PYTHONPATH": os.pathsep.join(sys.path), "PATH": "/usr/bin:/bin"}
    if home is not None:
        environment["HOME"] = str(tmp_path / home)
    done = subprocess.run(
        [sys.executable, "-c", _without_a_home() + program],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    opened, counted, refused, of_nobody = done.stdout.splitlines()
    assert opened.startswith("NoStore There is no cache: ")
    assert "PASSPRINT_CACHE_DIR" in opened
    assert "not to be had" in counted
    assert "PASSPRINT_CACHE_DIR" in refused
    assert "~absent-user/x" in of_nobody


def _without_a_home() -> str:
    """A user whom the system knows no home of: the password file is looked into only without ``HOME``."""
    return "import pwd\ndef nobody(_): raise KeyError(_)\npwd.getpwuid = pwd.getpwnam = nobody\n"


def test_the_users_home_in_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PASSPRINT_CACHE_DIR", "~/cache")
    assert LocalStore().root == tmp_path / "cache"


def test_a_shared_temporary_folder_is_refused_with_better_advice(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    with pytest.raises(CacheError, match=f"PASSPRINT_CACHE_DIR={tmp_path}/passprint") as caught:
        LocalStore(tmp_path)
    assert "chmod" not in str(caught.value)


@needs_root
def test_a_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "cache"
    LocalStore(root)
    os.chown(root, NOBODY, -1)
    with pytest.raises(CacheError, match=f"belongs to user {NOBODY}.*chown"):
        LocalStore(root)


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "objects").mkdir(mode=0o700)
    precious = tmp_path / "objects" / "precious"
    precious.write_text("mine")
    with pytest.raises(CacheError, match=r"is not a passprint cache: .*'objects'"):
        LocalStore(tmp_path)
    assert precious.read_text() == "mine"


def test_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("")
    with pytest.raises(CacheError, match="must be a folder"):
        LocalStore(path)


def test_a_folder_that_cannot_be_made_is_an_error_that_names_it(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(CacheError, match=f"{file}/cache cannot be made: .*PASSPRINT_CACHE_DIR"):
        LocalStore(file / "cache")


def test_no_permission_to_make_it(open_to_all: Path) -> None:
    def work() -> None:
        with pytest.raises(CacheError, match="cannot be made: Permission denied"):
            LocalStore(open_to_all / "cache")

    open_to_all.chmod(0o555)
    assert as_nobody(work) == 0


@pytest.mark.parametrize("owner", [0, NOBODY], ids=["of root", "one's own"])
@needs_root
def test_a_read_only_cache_works_and_does_not_store(open_to_all: Path, owner: int) -> None:
    root = open_to_all / "cache"
    put(LocalStore(root), "a", 1)
    give_away(root, owner=owner, writable=False)
    before = sorted(root.rglob("*"))

    def work() -> None:
        warnings.simplefilter("always")
        with warnings.catch_warnings(record=True) as caught:
            store = LocalStore(root)
            entry = store.get(key_of("a").digest)
            assert entry is not None
            assert is_right(entry, "a")
            assert entry.path("kernel.so").exists()
            assert caught == []
            assert not put(store, "b", 1)
            assert not put(store, "c", 1)
            with store.compiling(key_of("b").digest, timeout=30) as found:
                assert found is None
            assert store.get(key_of("b").digest) is None
        assert ["Nothing can be stored" in str(one.message) for one in caught] == [True]
        assert (store.stats().hits, store.stats().misses, store.stats().failures) == (1, 1, 2)
        assert store.verify().problems == ()
        for change in (store.clear, store.gc, lambda: store.verify(repair=True)):
            with pytest.raises(CacheError, match="Permission denied"):
                change()

    assert as_nobody(work) == 0
    assert sorted(root.rglob("*")) == before


@needs_root
def test_another_users_files_are_not_loaded(open_to_all: Path) -> None:
    root = open_to_all / "cache"
    store = LocalStore(root)
    put(store, "a", 1)
    record = root / "entries" / key_of("a").digest[:2] / key_of("a").digest
    os.chown(record, NOBODY, -1)
    with pytest.warns(UserWarning, match=f"belongs to user {NOBODY}"):
        assert store.get(key_of("a").digest) is None


@pytest.mark.parametrize("waiting", [False, True])
def test_a_cache_removed_while_in_use_is_made_again(tmp_path: Path, waiting: bool) -> None:
    store = LocalStore(tmp_path / "cache")
    put(store, "a", 1)
    shutil.rmtree(store.root)
    assert store.get(key_of("a").digest) is None
    if waiting:
        with store.compiling(key_of("a").digest) as found:
            assert found is None
            assert put(store, "a", 2)
    else:
        assert put(store, "a", 2)
    assert stat.S_IMODE(store.root.stat().st_mode) == 0o700
    entry = store.get(key_of("a").digest)
    assert entry is not None
    assert is_right(entry, "a")


@needs_root
def test_another_user_imports_what_was_exported(tmp_path: Path, open_to_all: Path) -> None:
    exporting = LocalStore(tmp_path / "cache")
    put(exporting, "a", 1)
    exporting.export_to(open_to_all / "file")
    (open_to_all / "file").chmod(0o644)
    (open_to_all / "of nobody").mkdir(mode=0o700)
    os.chown(open_to_all / "of nobody", NOBODY, -1)
    import passprint.cache.moving  # noqa: F401  (the other user may not be able to read this installation)

    def work() -> None:
        store = LocalStore(open_to_all / "of nobody" / "cache")
        assert store.import_from(open_to_all / "file").entries == (("piece", "a"),)
        with store.get(key_of("a").digest) or pytest.fail("not imported") as entry:
            assert is_right(entry, "a")

    assert as_nobody(work) == 0
