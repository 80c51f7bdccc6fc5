"""Looking after a cache folder: what it holds, what may go, and whether it is whole."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from passprint.cache.entry import Entry
from passprint.cache.files import (
    TEMPORARY,
    DamagedError,
    check_file,
    locked,
    read_file,
    remove_unused,
)
from passprint.cache.folder import sharded
from passprint.cache.limits import REPLACED, SWEEP
from passprint.cache.record import UnknownFormatError, decode, mentioned
from passprint.errors import CacheError

_TEMPORARY_SECONDS: Final = 600.0
_LOCK_FILE_SECONDS: Final = 86400.0
_ENTRY_NAME: Final = re.compile(r"[0-9a-f]{16,128}")
_OBJECT_NAME: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Usage:
    """What a cache holds: entries, objects, and the bytes of both."""

    entries: int
    objects: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Row:
    """One entry, as ``passprint cache ls`` shows it. Times are in seconds since 1970."""

    digest: str
    kind: str
    meta: dict[str, Any]
    files: int
    bytes: int
    created: float
    used: float


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep removed and what it left; ``in_use`` entries would have gone but are held by a process."""

    entries: int
    objects: int
    bytes: int
    in_use: int
    left_bytes: int


@dataclass(frozen=True, slots=True)
class Problem:
    """Something damaged: the entry (or object) and what is wrong with it."""

    digest: str
    reason: str


@dataclass(frozen=True, slots=True)
class Verified:
    """The result of reading everything. ``orphans`` are whole objects that no entry names: no damage."""

    entries: int
    objects: int
    orphans: int
    unknown_format: int
    problems: tuple[Problem, ...]
    repaired: bool


@dataclass(slots=True)
class _Seen:
    """A record as a sweep sees it."""

    path: str
    used: float
    size: int
    objects: set[str]


def digests(entries: str) -> Iterator[str]:
    """The digests of all keys that have an entry."""
    for folder in _folders(entries):
        for item in _listed(folder):
            if _ENTRY_NAME.fullmatch(item.name):
                yield item.name


def record_files(entries: str) -> Iterator[tuple[str, os.stat_result]]:
    """The path and status of every record."""
    for folder in _folders(entries):
        for item in _listed(folder):
            if _ENTRY_NAME.fullmatch(item.name):
                with contextlib.suppress(FileNotFoundError):
                    yield item.path, item.stat(follow_symlinks=False)


def usage(entries: str, objects: str) -> Usage:
    """Count what is there now; nothing is read."""
    records = [size for name, size in _sizes(entries) if _ENTRY_NAME.fullmatch(name)]
    stored = [size for name, size in _sizes(objects) if _OBJECT_NAME.fullmatch(name)]
    return Usage(len(records), len(stored), sum(records) + sum(stored))


def rows(entries: str, found: Iterable[Entry]) -> list[Row]:
    """A row per entry, the most recently used first."""
    result = []
    for entry in found:
        with contextlib.suppress(OSError):
            used = os.stat(sharded(entries, entry.digest)).st_mtime
            count = len(entry.files)
            result.append(Row(entry.digest, entry.kind, entry.meta, count, entry.size, entry.created, used))
        entry.close()
    return sorted(result, key=lambda row: row.used, reverse=True)


def sweep(
    root: Path,
    limit_bytes: int,
    *,
    down_to: int | None = None,
    everything: bool = False,
    timeout: float = 30.0,
) -> Swept:
    """Remove garbage, and the least recently used entries above ``limit_bytes`` (0: no limit), or all.

    Above the limit, entries go until ``down_to`` bytes (default: the limit) are left.

    Garbage is objects that no entry names, temporary files of dead writers, and old lock files. A record
    that a process holds stays, with its objects. Who stores waits meanwhile; who reads does not. Raises
    ``CacheError`` when the folder cannot be written or another sweep does not end within ``timeout`` seconds.
    """
    lock = f"{root}/locks/{SWEEP}"
    try:
        with locked(lock, exclusive=True, timeout=timeout) as taken:
            if not taken:
                raise CacheError(f"Other processes have been writing {root} for {timeout:g} s. Try later.")
            swept = _sweep(str(root), limit_bytes, limit_bytes if down_to is None else down_to, everything)
            os.utime(lock)
    except OSError as error:
        raise CacheError(f"The cache {root} cannot be swept: {error.strerror}.") from error
    return swept


def _sweep(root: str, limit_bytes: int, down_to: int, everything: bool) -> Swept:
    sizes = {name: size for name, size in _sizes(f"{root}/objects") if _OBJECT_NAME.fullmatch(name)}
    kept, removed, in_use = [], 0, 0
    for seen in _records(f"{root}/entries"):
        replaced = REPLACED in os.path.basename(seen.path)
        if not (replaced or everything) or not remove_unused(seen.path):
            kept.append(seen)
            in_use += everything and not replaced
        else:
            removed += not replaced
    users: dict[str, int] = {}
    for seen in kept:
        for name in seen.objects & sizes.keys():
            users[name] = users.get(name, 0) + 1
    total = sum(sizes[name] for name in users) + sum(seen.size for seen in kept)
    if limit_bytes and total > limit_bytes:
        for seen in sorted(kept, key=lambda seen: seen.used):
            if total <= down_to:
                break
            if not remove_unused(seen.path):
                in_use += 1
                continue
            removed += 1
            total -= seen.size
            for name in seen.objects & sizes.keys():
                users[name] -= 1
                if users[name] == 0:
                    del users[name]
                    total -= sizes[name]
    gone = [name for name in sizes if name not in users]
    for name in gone:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(sharded(f"{root}/objects", name))
    _remove_old(root)
    return Swept(removed, len(gone), sum(sizes[name] for name in gone), in_use, total)


def _records(entries: str) -> Iterator[_Seen]:
    """All records, replaced ones that are still held included. What cannot be read names no objects."""
    for folder in _folders(entries):
        for item in _listed(folder):
            name, _, _ = item.name.partition(REPLACED)
            if not _ENTRY_NAME.fullmatch(name):
                continue
            with contextlib.suppress(FileNotFoundError):
                status = item.stat(follow_symlinks=False)
                data = b""
                with contextlib.suppress(DamagedError, OSError):
                    data = read_file(item.path)
                yield _Seen(item.path, status.st_mtime, status.st_size, mentioned(data))


def _remove_old(root: str) -> None:
    """Remove temporary files of dead writers, and lock files that nobody has used for a day."""
    for folder in [root, *_folders(f"{root}/entries"), *_folders(f"{root}/objects")]:
        for item in _listed(folder):
            if item.name.startswith(TEMPORARY) and _older(item, _TEMPORARY_SECONDS):
                remove_unused(item.path)
    for item in _listed(f"{root}/locks"):
        if item.name.endswith(".lock") and _older(item, _LOCK_FILE_SECONDS):
            remove_unused(item.path)


def verify(root: Path, *, repair: bool = False, timeout: float = 30.0) -> Verified:
    """Read every record and object of the cache, and with ``repair`` remove what is damaged.

    Raises ``CacheError`` when others do not stop writing for ``timeout`` seconds, so that it cannot repair.
    """
    if not repair:
        return _verify(str(root), repair=False)
    try:
        with locked(f"{root}/locks/{SWEEP}", exclusive=True, timeout=timeout) as taken:
            if not taken:
                raise CacheError(f"Other processes have been writing {root} for {timeout:g} s. Try later.")
            return _verify(str(root), repair=True)
    except OSError as error:
        raise CacheError(f"The cache {root} cannot be repaired: {error.strerror}.") from error


def _verify(root: str, *, repair: bool) -> Verified:
    entries, objects = f"{root}/entries", f"{root}/objects"
    problems: list[Problem] = []
    whole: dict[str, int] = {}
    for name, size in list(_sizes(objects)):
        if _OBJECT_NAME.fullmatch(name):
            try:
                check_file(sharded(objects, name), size, name)
            except DamagedError as error:
                problems.append(Problem(name, f"object {error}"))
                if repair:
                    os.unlink(sharded(objects, name))
            except OSError as error:
                problems.append(Problem(name, f"object cannot be read: {error.strerror}"))
            else:
                whole[name] = size
    named: set[str] = set()
    counted = unknown = 0
    for digest in list(digests(entries)):
        path = sharded(entries, digest)
        try:
            data = read_file(path)
            named |= mentioned(data)
            record = decode(data, digest)
            for stored in record.objects:
                if whole.get(stored.sha256) != stored.size:
                    raise DamagedError(
                        f"names {stored.name!r}, whose object {stored.sha256} is missing or damaged"
                    )
            counted += 1
        except UnknownFormatError:
            unknown += 1
        except FileNotFoundError:
            continue  # removed since it was listed
        except DamagedError as error:
            problems.append(Problem(digest, f"entry {error}"))
            if repair:
                os.unlink(path)
        except OSError as error:
            problems.append(Problem(digest, f"entry cannot be read: {error.strerror}"))
    orphans = len(whole.keys() - named)
    return Verified(counted, len(whole), orphans, unknown, tuple(problems), repair)


def _older(item: os.DirEntry[str], seconds: float) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return time.time() - item.stat(follow_symlinks=False).st_mtime > seconds
    return False


def _sizes(room: str) -> Iterator[tuple[str, int]]:
    for folder in _folders(room):
        for item in _listed(folder):
            with contextlib.suppress(FileNotFoundError):
                yield item.name, item.stat(follow_symlinks=False).st_size


def _folders(room: str) -> list[str]:
    return [item.path for item in _listed(room) if item.is_dir(follow_symlinks=False)]


def _listed(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as items:
            return sorted(items, key=lambda item: item.name)
    except (FileNotFoundError, NotADirectoryError):
        return []
