"""Moving entries between caches: which ones an export takes, and how an import merges them with what is there."""

from __future__ import annotations

import difflib
import errno
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from passprint.cache.archive import Archive, write_archive
from passprint.cache.entry import Entry
from passprint.cache.files import locked
from passprint.cache.signing import signing_key
from passprint.cache.store import Exported, Imported, Signature
from passprint.cache.writing import put_object, put_record
from passprint.errors import CacheError

PIECES: Final = "pieces"
"""The place in an entry's meta where the digests of the entries that it needs stand, if it needs any."""

_LOCK_WAIT: Final = 30.0


def needs(meta: Mapping[str, Any]) -> list[str]:
    """The digests of the entries that an entry with this meta needs, each once."""
    listed = meta.get(PIECES)
    return list(dict.fromkeys(str(name) for name in listed)) if isinstance(listed, list) else []


def select(
    found: Iterable[Entry], keys: Sequence[str] = (), labels: Sequence[str] = ()
) -> list[tuple[str, dict[str, Any]]]:
    """The entries to export: those whose digest begins with one of ``keys`` or whose meta's label is one of
    ``labels`` (all when neither is given), and the entries that these need. As ``(digest, meta)``.

    Raises ``CacheError`` for a key or label that no entry has.
    """
    metas = {}
    for entry in found:
        metas[entry.digest] = entry.meta
        entry.close()
    if not keys and not labels:
        return list(metas.items())
    chosen: dict[str, None] = {}
    for prefix in keys:
        these = [digest for digest in metas if digest.startswith(prefix.lower())] if prefix else []
        if not these:
            raise CacheError(f"No entry's key begins with {prefix!r}. `passprint cache ls` lists them.")
        chosen.update(dict.fromkeys(these))
    for label in labels:
        these = [digest for digest, meta in metas.items() if meta.get("label") == label]
        if not these:
            known = sorted({str(meta.get("label", "")) for meta in metas.values()})
            near = difflib.get_close_matches(label, known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise CacheError(f"No entry is of {label!r}.{hint} `passprint cache ls` lists what there is.")
        chosen.update(dict.fromkeys(these))
    work = list(chosen)
    while work:
        below = [digest for digest in needs(metas[work.pop()]) if digest in metas and digest not in chosen]
        chosen.update(dict.fromkeys(below))
        work += below
    return [(digest, metas[digest]) for digest in chosen]


def export_entries(
    root: Path, path: Path, digests: Sequence[str], key_file: str | os.PathLike[str] | None = None
) -> Exported:
    """Write an archive of these entries, signed where there is a key (:func:`passprint.cache.signing.signing_key`).

    No sweep runs meanwhile, unless the cache can only be read.
    """
    from passprint import __version__

    entries, objects, key = f"{root}/entries", f"{root}/objects", signing_key(key_file)
    try:
        lock = locked(f"{root}/locks/sweep", exclusive=False, timeout=_LOCK_WAIT)
        taken = lock.__enter__()
    except OSError:  # nobody can sweep what nobody can write
        return write_archive(path, entries, objects, digests, __version__, key)
    try:
        if not taken:
            raise CacheError(f"A sweep of {root} does not end within {_LOCK_WAIT:g} s. Try later.")
        return write_archive(path, entries, objects, digests, __version__, key)
    finally:
        lock.__exit__(None, None, None)


def import_entries(
    root: Path, path: Path, has: Callable[[str], bool], key_file: str | os.PathLike[str] | None = None
) -> Imported:
    """Bring what the archive ``path`` holds into the cache ``root``, when all of it was checked.

    Entries that are there (``has`` says of which keys) stay; damaged ones are healed. Objects come first and
    entries after those that they need, so that an import that ends early leaves nothing that a reader can
    mistake. Raises ``CacheError`` for an archive that is not whole, for one that is not signed as it should be where
    there is a signing key, and for a folder that cannot be written.
    """
    key = signing_key(key_file)
    brought: list[tuple[str, str]] = []
    counted: Counter[str] = Counter()
    with Archive(path, key) as archive:
        sha256, signed = archive.digest(), archive.signed
        records = sorted(archive.records, key=lambda pair: bool(needs(pair[0].meta)))
        try:
            with locked(f"{root}/locks/sweep", exclusive=False, timeout=_LOCK_WAIT) as taken:
                if not taken:
                    raise OSError(errno.ETIMEDOUT, "a sweep of the cache does not end")
                for stored, data in archive.objects():
                    if put_object(f"{root}/objects", stored, data):
                        counted["objects"] += 1
                        counted["bytes"] += stored.size
                for record, encoded in records:
                    if has(record.key):
                        counted["present"] += 1
                        continue
                    put_record(f"{root}/entries", record, encoded)
                    brought.append((record.kind, str(record.meta.get("label", ""))))
        except OSError as error:
            raise CacheError(
                f"{path} cannot be imported into {root}: {error.strerror or os.strerror(error.errno or 0)}. "
                f"What came so far does no harm; import again when that is mended."
            ) from error
    signature: Signature = "checked" if key is not None else "not checked" if signed else "none"
    return Imported(
        tuple(brought), counted["present"], counted["objects"], counted["bytes"], sha256, signature
    )
