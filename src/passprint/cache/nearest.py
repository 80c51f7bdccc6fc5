"""The entry whose key is nearest to one that missed: what a miss is explained with."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from passprint.cache.entry import Entry
from passprint.errors import CacheError
from passprint.identity import Change, Fingerprint


def nearest_entry(
    entries: Iterable[Entry], key: Fingerprint, label: str | None = None
) -> tuple[Entry, list[Change]] | None:
    """The entry with most in common with ``key``, and the changes from it to ``key``.

    Only entries of the same kind count: the root of their key has the same name, and where ``label`` is
    given, so is their meta's ``"label"`` (what was compiled, such as a model's class). Among them those win
    that share the key's first part, which says what it is of; then the one that shares most parts right below
    the root; of equals the newest. The entry of ``key`` itself does not count. None when there is none, or
    when nothing is shared and no label says that both are of the same thing. The entry is closed (not held).
    """
    parts = {part.name: part.digest for part in key.root.children}
    of = next(iter(parts), "")

    def closeness(entry: Entry) -> tuple[int, bool, float]:
        shared = sum(entry.parts.get(name) == digest for name, digest in parts.items())
        same = entry.parts.get(of) == parts.get(of)
        return shared + same * len(parts), same, entry.created

    candidates = []
    for entry in entries:
        entry.close()  # there may be thousands; each is small, but an open one holds a file
        if entry.digest == key.digest:
            continue
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


def entry_but_for(entries: Iterable[Entry], key: Fingerprint, ignored: Collection[str]) -> Entry | None:
    """The newest entry whose key has all parts of ``key`` right below the root, those ``ignored`` apart.

    The entry is closed (not held).
    """
    parts = {part.name: part.digest for part in key.root.children if part.name not in ignored}
    best: Entry | None = None
    for entry in entries:
        entry.close()
        rest = {name: digest for name, digest in entry.parts.items() if name not in ignored}
        if entry.kind == key.root.name and rest == parts and (best is None or entry.created > best.created):
            best = entry
    return best
