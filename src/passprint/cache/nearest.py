"""The entry whose key is nearest to one that missed: what a miss is explained with."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final

from passprint.cache.entry import Entry
from passprint.cache.files import DamagedError, open_file, read_fd
from passprint.cache.record import UnknownFormatError, decode
from passprint.errors import CacheError
from passprint.identity import Change, Fingerprint

COMPARED: Final = 1000
"""With how many entries a key is compared, the most recently used: explaining a miss must not take seconds."""

_COUNTED: Final = 8
"""Of how many of them changes are counted: each key is read for it."""


class Catalog:
    """What the records of a cache say, remembered by a process: a record is read again only when it was replaced.

    The entries are not held: they serve to compare keys, not to load files.
    """

    def __init__(self, entries: str, objects: str) -> None:
        self._entries, self._objects = entries, objects
        self._known: dict[str, tuple[tuple[int, int], Entry]] = {}

    def entries(self, most: int | None = None) -> list[Entry]:
        """All whole ones, or the ``most`` recently used; damaged and unknown records are left out."""
        from passprint.cache.maintenance import record_files  # only a miss compares

        items = sorted(record_files(self._entries), key=lambda item: item[1].st_mtime, reverse=True)
        known = {}
        for path, status in items[:most]:
            digest, version = os.path.basename(path), (status.st_ino, status.st_size)
            before = self._known.get(digest)
            if before is not None and before[0] == version:
                known[digest] = before
                continue
            try:
                fd = open_file(path)
                try:
                    data = read_fd(fd, os.fstat(fd))
                finally:
                    os.close(fd)
                known[digest] = (version, Entry(decode(data, digest), self._objects, None))
            except (DamagedError, UnknownFormatError, OSError):
                continue
        self._known = known
        return [entry for _, entry in known.values()]


def nearest_entry(
    entries: Iterable[Entry], key: Fingerprint, label: str | None = None
) -> tuple[Entry, list[Change]] | None:
    """The entry with most in common with ``key``, and the changes from it to ``key``.

    Only entries of the same kind count: the root of their key has the same name, and where ``label`` is
    given, so is their meta's ``"label"`` (what was compiled, such as a model's class). Among them those win
    that share the key's first part, which says what it is of; then the one from which there are fewest changes;
    of equals the newest. (Changes are counted for the few that share most parts right below the root.) The entry
    of ``key`` itself does not count. None when there is none, or when nothing is shared and no label says that
    both are of the same thing.
    """
    parts = {part.name: part.digest for part in key.root.children}
    of = next(iter(parts), "")

    def closeness(entry: Entry) -> tuple[int, bool, float]:
        shared = sum(entry.parts.get(name) == digest for name, digest in parts.items())
        same = entry.parts.get(of) == parts.get(of)
        return shared + same * len(parts), same, entry.created

    candidates = []
    for entry in entries:
        if entry.digest == key.digest:
            continue
        if entry.kind == key.root.name and (label is None or entry.meta.get("label") == label):
            candidates.append(entry)
    candidates.sort(key=closeness, reverse=True)
    best: Entry | None = None
    least: tuple[bool, int, int] | None = None
    counted = 0
    for entry in candidates:
        shared, same, _ = closeness(entry)
        if counted == _COUNTED or (label is None and shared == 0):
            break
        try:
            far = (not same, *key.distance(entry.key))
        except CacheError:  # its tree is damaged; the others explain as well as they can
            continue
        counted += 1
        if (
            least is None
            or far < least
            or (far == least and best is not None and entry.created > best.created)
        ):
            best, least = entry, far
    return None if best is None else (best, key.diff(best.key))


def entry_but_for(
    entries: Iterable[Entry],
    key: Fingerprint,
    ignored: Collection[str],
    serves: Callable[[Mapping[str, Any]], bool] | None = None,
) -> Entry | None:
    """The newest entry that ``serves`` and whose key has all parts of ``key`` below the root, ``ignored`` apart."""
    parts = {part.name: part.digest for part in key.root.children if part.name not in ignored}
    best: Entry | None = None
    for entry in entries:
        rest = {name: digest for name, digest in entry.parts.items() if name not in ignored}
        if entry.kind != key.root.name or rest != parts or (serves is not None and not serves(entry.meta)):
            continue
        if best is None or entry.created > best.created:
            best = entry
    return best
