"""A store in a folder of this machine, for any number of processes at once.

::

    ROOT/CACHEDIR.TAG            what this folder is
    ROOT/entries/ab/abcd…        one record per key: names, lengths and checksums of its files
    ROOT/objects/12/1234…        the files, each named by its sha256, equal ones stored once
    ROOT/locks/abcd….lock        held while the key is compiled
    ROOT/locks/sweep             held shared by who stores, exclusively by who sweeps
    ROOT/counts                  hits, misses and their reasons
    ROOT/misses                  the last misses, with what differed

Objects are written before the record that names them, and everything appears under its name at once (by
renaming), so a killed writer leaves files that no record names, and nothing that a reader can mistake. A
reader holds a shared lock on the record for as long as its ``Entry`` is open; a sweep removes only records
that nobody holds, and only objects that no record names.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from passprint.cache.counters import Counters
from passprint.cache.entry import Entry, pack_key
from passprint.cache.files import FILE_MODE, DamagedError, check_file, locked
from passprint.cache.folder import check_digest, check_there, prepare, revive, root_of, sharded, warn
from passprint.cache.limits import SWEEP, size_limit
from passprint.cache.nearest import COMPARED, Catalog, entry_but_for, nearest_entry
from passprint.cache.reading import NO_ENTRY, Absent, Reader
from passprint.cache.record import Record, StoredFile
from passprint.cache.store import WAIT_SECONDS, Exported, Imported, Key, Payload, Stats
from passprint.cache.writing import put_object, put_record
from passprint.errors import CacheError
from passprint.identity import Change

if TYPE_CHECKING:
    from passprint.cache import maintenance
    from passprint.cache.miss import Journal, Miss

_SWEEP_WAIT: Final = 30.0
_OWN_SWEEP_WAIT: Final = (
    1.0  # a store that is due for a sweep does not wait long: the next one is due as well
)
_SWEEP_EVERY: Final = 3600.0
_LOW_WATER: Final = 0.9  # a sweep goes on to this share of the limit, so that not every store sweeps


class LocalStore:
    """Artifacts in the folder ``root`` (default: ``PASSPRINT_CACHE_DIR``, or the user's cache folder).

    When the files take more than ``limit_bytes`` (default: ``PASSPRINT_CACHE_LIMIT``, or 5 GiB; 0 for no
    limit), the least recently used entries go. The folder is made where it is absent, unless ``make`` is False.
    Raises ``CacheError`` for a folder that cannot be made, that others can write, or that is absent and not to be made.
    """

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        *,
        limit_bytes: int | None = None,
        make: bool = True,
    ) -> None:
        self.root = root_of(root)
        self.limit_bytes = size_limit(limit_bytes)
        if not make:
            check_there(self.root)
        prepare(self.root)
        self._entries = f"{self.root}/entries"
        self._objects = f"{self.root}/objects"
        self._sweep_lock = f"{self.root}/locks/{SWEEP}"
        self.counters = Counters(f"{self.root}/counts")
        self._catalog = Catalog(self._entries, self._objects)
        self._reader = Reader(str(self.root), self._warn)
        self._warned: set[str] = set()
        self._unusable: dict[str, str] = {}
        self._stored_bytes = 0

    def __reduce__(self) -> tuple[Any, ...]:
        """In another process, or copied: the same folder."""
        return partial(type(self), limit_bytes=self.limit_bytes), (str(self.root),)

    def __repr__(self) -> str:
        return f"LocalStore({str(self.root)!r})"

    @cached_property
    def journal(self) -> Journal:
        """The last misses of all processes, with their reasons. Only a miss imports what it needs."""
        from passprint.cache.miss import Journal

        return Journal(f"{self.root}/misses")

    @property
    def here(self) -> LocalStore:
        """Itself: there is no remote behind it."""
        return self

    def expect(self, digests: Sequence[str], *, certain: bool = True) -> None:
        """Nothing to do: a folder answers at once."""

    def flush(self, timeout: float | None = None) -> bool:
        """Always True: what is stored is stored."""
        return True

    def get(self, digest: str, *, counted: bool = True) -> Entry | None:
        """The entry of the key with this digest, or None.

        Lengths and checksums of all its files are right, or it is a miss: a damaged entry is removed with one
        warning. Close the entry when its files are no longer needed (see ``Entry``). Without ``counted``, it is
        neither a hit nor a miss until :meth:`looked_up` says so.
        """
        found = self._reader.find(check_digest(digest))
        if isinstance(found, Entry):
            if counted:
                self.counters.add("hit")
            return found
        self._not_found(digest, found, counted=counted)
        return None

    def looked_up(self, refused: str | None = None, *, how: str = "") -> None:
        """Count one look-up whose entries were asked for uncounted: a hit, or a miss with the reason ``refused``.

        ``how`` says of a hit how it was found.
        """
        if refused is None:
            self.counters.add("hit", how)
        else:
            self.counters.add("miss", refused)

    def get_but_for(
        self,
        key: Key,
        ignored: Collection[str],
        serves: Callable[[Mapping[str, Any]], bool] | None = None,
        *,
        counted: bool = True,
    ) -> Entry | None:
        """The entry of ``key``, or else the newest whose key has the same parts but those ``ignored``, or None.

        For parts that need not be equal: without a compiler, any compiler's kernels will do; with more instructions,
        code that needs fewer. ``serves`` is asked with an entry's meta whether that one will do. Looks through all
        records, so it is slow when there are many.
        """
        found = self._reader.find(check_digest(key.digest))
        if not isinstance(found, Entry):
            near = entry_but_for(self._catalog.entries(), key, ignored, serves)
            other = self._reader.find(near.digest) if near is not None else found
            if isinstance(other, Entry):
                if counted:
                    self.counters.add("hit", f"without regard to {', '.join(sorted(ignored))}")
                return other
            self._not_found(key.digest, found, counted=counted)
            return None
        if counted:
            self.counters.add("hit")
        return found

    def put(self, key: Key, files: Mapping[str, Payload], meta: Mapping[str, Any] | None = None) -> bool:
        """Store ``files`` and the JSON data ``meta`` under ``key``, in place of what was there.

        Returns whether it was stored; on a full disk or in a read-only folder there is one warning
        and no entry. Raises ``CacheError`` for a ``meta`` that is not JSON data and for an unreadable file.
        """
        contents = {name: _content(name, payload) for name, payload in files.items()}
        tree, sources = pack_key(key)
        record = Record(
            key=check_digest(key.digest),
            kind=key.root.name,
            parts={part.name: part.digest for part in key.root.children},
            tree=StoredFile.of("key", tree),
            files=tuple(StoredFile.of(name, data) for name, data in contents.items()),
            meta=dict(meta or {}),
            created=time.time(),
            sources=StoredFile.of("sources", sources) if sources else None,
        )
        datas = [tree, *([sources] if sources else []), *contents.values()]
        return self._write(record, datas, "")

    def bring(self, record: Record, datas: Sequence[bytes | None], origin: str) -> bool:
        """Store an entry that was made elsewhere and checked: its record, and the bytes of ``record.objects`` in order,
        None for one that lies here.

        ``origin`` is counted with it. Returns whether it was stored, as :meth:`put`.
        """
        check_digest(record.key)
        return self._write(record, datas, origin)

    def has_object(self, stored: StoredFile) -> bool:
        """Whether the object lies here, whole."""
        try:
            check_file(sharded(self._objects, stored.sha256), stored.size, stored.sha256)
        except (DamagedError, OSError):
            return False
        return True

    def has_record(self, digest: str) -> bool:
        """Whether there is a record of this key, whole or not."""
        return os.path.exists(sharded(self._entries, check_digest(digest)))

    def _write(self, record: Record, datas: Sequence[bytes | None], origin: str) -> bool:
        """Objects first, then the record. None stands for an object that lies here."""
        encoded = record.encode()
        try:
            revive(self.root)
            with locked(self._sweep_lock, exclusive=False, timeout=_SWEEP_WAIT) as taken:
                if not taken:
                    raise TimeoutError(errno.ETIMEDOUT, "a sweep of the cache does not end")
                for stored, data in zip(record.objects, datas, strict=True):
                    if data is not None:
                        put_object(self._objects, stored, data)
                put_record(self._entries, record, encoded)
        except OSError as error:
            reason = error.strerror or str(error)
            self.counters.add("fail", reason)
            self._warn(
                f"Nothing can be stored in the cache {self.root}: {reason}. Compiling goes on without it."
            )
            return False
        self.counters.add("store", origin)
        self._stored_bytes += record.size
        self._sweep_if_due()
        return True

    @contextlib.contextmanager
    def compiling(
        self, digest: str, timeout: float = WAIT_SECONDS, *, counted: bool = True
    ) -> Iterator[Entry | None]:
        """Be the only one of all processes and threads that compiles this key::

            with store.compiling(key.digest) as entry:
                if entry is None:
                    ...  # compile, and store.put(key, …) before the block ends

        Waits up to ``timeout`` seconds for another one that does, then looks again: yields the entry, if
        it is there by now (a hit), or else None. Whose time is up compiles as well, with one warning.
        """
        from filelock import FileLock, Timeout  # slow to import, and only a miss comes here

        path = f"{self.root}/locks/{check_digest(digest)}.lock"
        lock = FileLock(path, timeout=timeout, mode=FILE_MODE, thread_local=False)
        try:
            revive(self.root)
            lock.acquire()
        except Timeout:
            self._warn(
                f"Another process has been compiling {digest[:16]}… for {timeout:g} s; no longer waiting."
            )
        except OSError:
            pass  # nobody can store here what we would wait for
        try:
            found = self._reader.find(digest)
            if counted and isinstance(found, Entry):
                self.counters.add("hit", "compiled meanwhile by another")
            yield found if isinstance(found, Entry) else None
        finally:
            lock.release()

    def bypass(self, reason: str) -> None:
        """Count that something was compiled without asking the store, and why."""
        self.counters.add("bypass", reason)

    def why_not(self, digest: str) -> str | None:
        """Why this process found an entry of this key but could not use it (damaged, another format), or None."""
        return self._unusable.get(digest)

    def _not_found(self, digest: str, miss: Absent, *, counted: bool = True) -> None:
        if counted:
            self.counters.add("miss", miss)
        if miss != NO_ENTRY:
            self._unusable[digest] = str(miss)

    def missed(self, miss: Miss) -> None:
        """Remember why something had to be compiled, for ``passprint explain``. Never fails."""
        self.journal.add(miss)

    def nearest(self, key: Key, label: str | None = None) -> tuple[Entry, list[Change]] | None:
        """The entry whose key has most in common with ``key``, and what differs (see ``nearest_entry``)."""
        return nearest_entry(self._catalog.entries(COMPARED), key, label)

    def entries(self) -> Iterator[Entry]:
        """All whole entries, without counting. Damaged records are removed with a warning."""
        from passprint.cache import maintenance

        for digest in maintenance.digests(self._entries):
            found = self._reader.find(digest, check_files=False)
            if isinstance(found, Entry):
                yield found

    def stats(self) -> Stats:
        """Entries, objects and bytes now, and all counts with their reasons."""
        from passprint.cache import maintenance

        held = maintenance.usage(self._entries, self._objects)
        return Stats(
            str(self.root), held.entries, held.objects, held.bytes, self.limit_bytes, self.counters.read()
        )

    def ls(self) -> list[maintenance.Row]:
        """One row per entry, the most recently used first."""
        from passprint.cache import maintenance

        return maintenance.rows(self._entries, self.entries())

    def gc(self, limit_bytes: int | None = None) -> maintenance.Swept:
        """Remove what no entry names, and the least recently used entries down to ``limit_bytes``.

        Entries that a live process holds stay. Raises ``CacheError`` when another sweep does not end.
        """
        limit = self.limit_bytes if limit_bytes is None else size_limit(limit_bytes)
        from passprint.cache import maintenance

        return maintenance.sweep(self.root, limit, timeout=_SWEEP_WAIT)

    def clear(self) -> maintenance.Swept:
        """Remove all entries but those that a live process holds."""
        from passprint.cache import maintenance

        return maintenance.sweep(self.root, 0, everything=True, timeout=_SWEEP_WAIT)

    def verify(self, *, repair: bool = False) -> maintenance.Verified:
        """Read and check every entry and object; with ``repair``, remove the damaged ones."""
        from passprint.cache import maintenance

        return maintenance.verify(self.root, repair=repair)

    def export_to(
        self,
        path: str | os.PathLike[str],
        *,
        keys: Sequence[str] = (),
        labels: Sequence[str] = (),
        key_file: str | os.PathLike[str] | None = None,
    ) -> Exported:
        """Write one file that ``import_from`` reads elsewhere, whole or not at all.

        All entries, or those whose digest begins with one of ``keys`` or whose meta's label is one of
        ``labels``, with the entries that these need. Signed where ``key_file`` (or what ``PASSPRINT_SIGNING_KEY``
        names) holds a key. Raises ``CacheError`` when there is no such entry or the file cannot be written.
        """
        from passprint.cache import moving  # only here: a start does not pay for it

        chosen = moving.select(self.entries(), keys, labels)
        return moving.export_entries(self.root, Path(path), [digest for digest, _ in chosen], key_file)

    def import_from(
        self, path: str | os.PathLike[str], *, key_file: str | os.PathLike[str] | None = None
    ) -> Imported:
        """Bring in what ``export_to`` wrote, beside what is here; entries that are here and whole stay.

        An archive holds code that will be run: import only what you trust. Where there is a signing key (as for
        :meth:`export_to`), only what was signed with it is taken. Raises ``CacheError`` for a file that is
        not a whole archive of a known format (nothing is changed then) and for a cache that cannot be written.
        """
        from passprint.cache import moving

        with contextlib.suppress(OSError):  # importing says itself what is wrong with the folder
            revive(self.root)
        brought = moving.import_entries(self.root, Path(path), self._has, key_file)
        for _ in brought.entries:
            self.counters.add("store", "imported")
        self._stored_bytes += brought.bytes
        self._sweep_if_due()
        return brought

    def _has(self, digest: str) -> bool:
        found = self._reader.find(digest)
        if isinstance(found, Entry):
            found.close()
        return isinstance(found, Entry)

    def _sweep_if_due(self) -> None:
        if not self.limit_bytes:
            return
        with contextlib.suppress(OSError):
            age = time.time() - os.stat(self._sweep_lock).st_mtime
            if age < _SWEEP_EVERY and self._stored_bytes < self.limit_bytes // 10:
                return
        with contextlib.suppress(CacheError):  # another process sweeps
            self._stored_bytes = 0
            low = int(self.limit_bytes * _LOW_WATER)
            from passprint.cache import maintenance

            maintenance.sweep(self.root, self.limit_bytes, down_to=low, timeout=_OWN_SWEEP_WAIT)

    def _warn(self, message: str) -> None:
        if message not in self._warned:
            self._warned.add(message)
            warn(message)


def _content(name: str, payload: Payload) -> bytes:
    if isinstance(payload, bytes):
        return payload
    try:
        return Path(payload).read_bytes()
    except OSError as error:
        raise CacheError(f"The file {name!r} cannot be stored: {payload} {error.strerror}.") from error
