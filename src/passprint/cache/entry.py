"""An entry that was found: its files, checked, and its key."""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from passprint.cache.files import DamagedError, check_file, read_checked
from passprint.cache.folder import check_shard, mending, sharded
from passprint.cache.record import Record, StoredFile
from passprint.errors import CacheError
from passprint.identity import Fingerprint

KEPT_IN_MEMORY: Final = 1 << 15
"""Files up to this many bytes are read once; a larger one is read (and checked) again when asked for."""


class Entry:
    """The answer to a key. Nothing of it was handed out before its length and checksum were right.

    While an entry is open, no sweep of any process removes it or the files that it names. It is
    open until ``close``, the end of its ``with`` block, or until nothing refers to it.
    """

    __slots__ = ("_bytes", "_fd", "_files", "_key", "_record", "_room")

    def __init__(self, record: Record, objects: str, fd: int | None) -> None:
        self._record = record
        self._room = objects
        self._fd = fd
        self._key: Fingerprint | None = None
        self._bytes: dict[str, bytes] = {}
        self._files = {file.name: file for file in record.files}

    @property
    def record(self) -> Record:
        """What the entry says, as it is stored."""
        return self._record

    @property
    def digest(self) -> str:
        """The digest of the key."""
        return self._record.key

    @property
    def kind(self) -> str:
        """The name of the key's root part: what kind of thing is kept."""
        return self._record.kind

    @property
    def parts(self) -> Mapping[str, str]:
        """The digests of the key's parts right below its root, by name."""
        return self._record.parts

    @property
    def meta(self) -> dict[str, Any]:
        """The JSON data that the entry was stored with."""
        return dict(self._record.meta)

    @property
    def created(self) -> float:
        """When it was stored, in seconds since 1970."""
        return self._record.created

    @property
    def size(self) -> int:
        """Bytes of all its files and of its key's tree."""
        return self._record.size

    @property
    def files(self) -> Mapping[str, bytes]:
        """Its files by name, as checked bytes."""
        return _Files(self)

    @property
    def key(self) -> Fingerprint:
        """The whole key with the sources that were kept, read when first asked for.

        Raises ``CacheError`` when it is damaged.
        """
        if self._key is None:
            sources = self._record.sources
            try:
                tree, shared = self.load(self._record.tree), self.load(sources) if sources else b""
                self._key = unpack_key(tree, shared)
            except (
                DamagedError,
                OSError,
                ValueError,
                KeyError,
                TypeError,
                RecursionError,
                zlib.error,
            ) as error:
                raise CacheError(
                    f"The key of entry {self.digest} {error}. Run: passprint cache verify --repair"
                ) from error
        return self._key

    def read(self, name: str) -> bytes:
        """The bytes of one file. Raises ``KeyError`` for an unknown name, ``CacheError`` if damaged since."""
        data = self._bytes.get(name)
        if data is None:
            try:
                data = self.load(self._files[name])
            except (DamagedError, OSError) as error:
                raise CacheError(
                    f"The file {name!r} of entry {self.digest} {error}: it was changed while in use. "
                    f"Run: passprint cache verify --repair"
                ) from error
        return data

    def path(self, name: str) -> Path:
        """Where one file lies in the store, to be opened or given to ``dlopen`` as it is, and only read.

        Equal files of any entries have the same path. It stays as long as this entry is open. Raises
        ``KeyError`` for an unknown name and ``CacheError`` if the file was changed since it was checked.
        """
        stored = self._files[name]
        path = sharded(self._room, stored.sha256)
        try:
            if (reason := check_shard(path)) is not None:
                raise CacheError(
                    f"The file {name!r} of entry {self.digest} lies in a folder that {reason}. "
                    f"{mending(os.path.dirname(self._room))}"
                )
            if os.stat(path).st_size != stored.size:
                raise DamagedError("has another length")
        except (DamagedError, OSError) as error:
            raise CacheError(
                f"The file {name!r} of entry {self.digest} {error}: changed while in use."
            ) from error
        return Path(path)

    def check(self) -> None:
        """Read every file and check it.

        Raises ``DamagedError`` that names the first bad one, ``OSError`` where the system cannot read one.
        """
        for stored in self._record.files:
            try:
                if stored.size <= KEPT_IN_MEMORY:
                    self._bytes[stored.name] = self.load(stored)
                else:
                    check_file(sharded(self._room, stored.sha256), stored.size, stored.sha256)
            except DamagedError as error:
                raise DamagedError(f"its file {stored.name!r} (object {stored.sha256}) {error}") from error

    def close(self) -> None:
        """Let go: from now on a sweep may remove the entry. Bytes already read stay readable."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError, OSError):  # half-built, or the interpreter is going down
            self.close()

    def __repr__(self) -> str:
        return f"<Entry {self.digest[:16]} {self.kind} {len(self._files)} files, {self.size} bytes>"

    def load(self, stored: StoredFile) -> bytes:
        """One object of the record, checked. Raises ``DamagedError`` and ``OSError``."""
        return read_checked(sharded(self._room, stored.sha256), stored.size, stored.sha256)


def pack_key(key: Fingerprint) -> tuple[bytes, bytes]:
    """A key as two objects: its tree, and the sources of what the parts below its root reach (empty: none).

    Texts of those parts themselves stay with the tree, so that equal passes have equal sources, stored once.
    """
    own = {part.digest for part in key.root.children}
    sources = {digest: text for digest, text in sorted(key.sources.items()) if digest not in own}
    texts = {digest: text for digest, text in key.sources.items() if digest in own}
    tree = Fingerprint(key.digest, key.root, key.opaque, texts).to_dict()
    return zlib.compress(_dump(tree), 1), _dump(sources) if sources else b""


def unpack_key(tree: bytes, sources: bytes) -> Fingerprint:
    """The key that ``pack_key`` was given. Raises ``ValueError``, ``KeyError``, ``TypeError``, ``zlib.error``."""
    key = Fingerprint.from_dict(json.loads(zlib.decompress(tree)))
    shared = json.loads(sources) if sources else {}
    return Fingerprint(key.digest, key.root, key.opaque, {**shared, **key.sources})


def _dump(data: object) -> bytes:
    return json.dumps(data, separators=(",", ":")).encode()


class _Files(Mapping[str, bytes]):
    """The files of an entry, read when asked for."""

    def __init__(self, entry: Entry) -> None:
        self._entry = entry

    def __getitem__(self, name: str) -> bytes:
        return self._entry.read(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entry._files)

    def __len__(self) -> int:
        return len(self._entry._files)

    def __contains__(self, name: object) -> bool:
        return name in self._entry._files
