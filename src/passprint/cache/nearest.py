"""The entry whose key is nearest to one that missed: what a miss is explained with."""

from __future__ import annotations

from collections.abc import Iterable

from passprint.cache.entry import Entry
from passprint.errors import CacheError
from passprint.identity import Change, Fingerprint


def nearest_entry(
    entries: Iterable[Entry], key: Fingerprint, label: str | None = None
) -> tuple[Entry, list[Change]] | None:
    """The entry with most in common with ``key``, and the changes from it to ``key``.

    Only entries of the same kind count: the root of their key has the same name, and where ``label`` is
    given, so is their meta's ``"label"`` (what was compiled, such as a model's class). Among them the one
    that shares most parts right below the root wins, and of equals the newest. None when there is none, or
    when nothing is shared and no label says that both are of the same thing. The entry is closed (not held).
    """
    parts = {part.name: part.digest for part in key.root.children}

    def closeness(entry: Entry) -> tuple[int, float]:
        return sum(entry.parts.get(name) == digest for name, digest in parts.items()), entry.created

    candidates = []
    for entry in entries:
        entry.close()  # there may be thousands; each is small, but an open one holds a file
        if entry.kind == key.root.name and (label is None or entry.meta.get("label") == label):
            candidates.append(entry)
    candidates.sort(key=closeness, reverse=True)
    for entry in candidates:
        if label is None and closeness(entry)[0] == 0:
            return None
        try:
            return entry, key.diff(entry.key)
        except CacheError:  # its tree is damaged; the next nearest explains as well as it can
            continue
    return None
