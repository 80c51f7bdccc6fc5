"""The record of one entry: what it is the answer to, and which objects hold the answer.

A record is one line, ``passprint-entry FORMAT CHECKSUM``, and then JSON. The checksum is of the JSON.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from passprint.cache.files import DamagedError
from passprint.errors import CacheError

FORMAT: Final = 2

_MAGIC: Final = b"passprint-entry"
_DIGEST: Final = re.compile(rb"[0-9a-f]{64}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_LATEST: Final = 1e11  # seconds since 1970; no clock says more


class UnknownFormatError(Exception):
    """A record of another version of passprint. Internal: a miss, and none of our business otherwise."""


class StoredFile(NamedTuple):
    """A file of an entry: its name there, its length in bytes, and the object that holds it."""

    name: str
    size: int
    sha256: str

    @classmethod
    def of(cls, name: str, data: bytes) -> StoredFile:
        """The file of this name with these bytes."""
        return cls(name, len(data), hashlib.sha256(data).hexdigest())


class Record(NamedTuple):
    """What one entry says.

    ``key`` is the digest of the key, ``kind`` the name of its root (``"piece"``), ``parts`` the digests of
    the named parts right below the root (enough to find near keys without reading their trees), ``tree`` the
    object with the whole key, ``sources`` the one with sources of code that the key is made of, if they were
    kept, ``created`` seconds since 1970. Tree and sources serve to explain: a reader of files does not read them.
    """

    key: str
    kind: str
    parts: Mapping[str, str]
    tree: StoredFile
    files: tuple[StoredFile, ...]
    meta: Mapping[str, Any]
    created: float
    sources: StoredFile | None = None

    @property
    def objects(self) -> tuple[StoredFile, ...]:
        """Everything that it names: the key's tree, its sources and the files."""
        return (self.tree, *([self.sources] if self.sources else []), *self.files)

    @property
    def size(self) -> int:
        """Bytes of all objects of this entry."""
        return sum(stored.size for stored in self.objects)

    def same_content(self, other: Record) -> bool:
        """Whether both say the same, whenever they were written."""
        return self._replace(created=0.0) == other._replace(created=0.0)

    def encode(self) -> bytes:
        """The bytes of the record. Raises ``CacheError`` when ``meta`` is not plain JSON data."""
        body = {
            "key": self.key,
            "kind": self.kind,
            "parts": dict(self.parts),
            "tree": _file_row(self.tree),
            "files": [_file_row(file) for file in self.files],
            "meta": dict(self.meta),
            "created": self.created,
            **({"sources": _file_row(self.sources)} if self.sources else {}),
        }
        try:
            text = json.dumps(body, allow_nan=False).encode("ascii")
        except (TypeError, ValueError) as error:
            raise CacheError(
                f"An entry's meta must be JSON data (dict, list, str, finite number, bool or None): {error}."
            ) from error
        return b"%s %d %s\n%s" % (_MAGIC, FORMAT, hashlib.sha256(text).hexdigest().encode(), text)


def decode(data: bytes, digest: str) -> Record:
    """Read the record of the key ``digest``.

    Raises ``UnknownFormatError`` for another version's record and ``DamagedError`` for one that is not whole.
    """
    head, newline, text = data.partition(b"\n")
    words = head.split(b" ")
    if not newline or len(words) != 3 or words[0] != _MAGIC or not words[1].isdigit():
        raise DamagedError("does not begin as a record does")
    if words[1] != b"%d" % FORMAT:
        raise UnknownFormatError(words[1].decode("ascii"))
    if hashlib.sha256(text).hexdigest().encode() != words[2]:
        raise DamagedError("does not have the checksum that it was stored with")
    try:
        body = json.loads(text)
        record = Record(
            key=body["key"],
            kind=body["kind"],
            parts=body["parts"],
            tree=StoredFile(*body["tree"]),
            files=tuple(StoredFile(*row) for row in body["files"]),
            meta=body["meta"],
            created=body["created"],
            sources=StoredFile(*body["sources"]) if "sources" in body else None,
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedError(f"lacks what format {FORMAT} has: {error}") from error
    if record.key != digest:
        raise DamagedError(f"is of another key, {record.key}")
    return record


def check_sound(record: Record) -> None:
    """Raise ``DamagedError`` for a record from elsewhere that does not say what a store would have written."""
    names = [file.name for file in record.files]
    sound = (
        isinstance(record.created, int | float)
        and 0 <= record.created < _LATEST
        and isinstance(record.meta, dict)
        and all(_can_be_shown(text) for text in (record.kind, record.meta.get("label", "")))
        and isinstance(record.parts, dict)
        and all(isinstance(text, str) for pair in record.parts.items() for text in pair)
        and all(isinstance(file.name, str) for file in record.objects)
        and all(type(file.size) is int and file.size >= 0 for file in record.objects)
        and all(isinstance(file.sha256, str) and _SHA256.fullmatch(file.sha256) for file in record.objects)
        and len(set(names)) == len(names)
    )
    if not sound:
        raise DamagedError("does not say what a stored entry says")
    for name in names:
        if name.startswith(("/", "\\")) or ":" in name or ".." in re.split(r"[/\\]", name):
            raise DamagedError(f"names a file {name!r} that lies outside of the entry")


def _can_be_shown(text: object) -> bool:
    """Whether it is a name without control characters: it is printed to terminals."""
    return isinstance(text, str) and text.isprintable()


def mentioned(data: bytes) -> set[str]:
    """Every object that a record could mean, whatever its format: what a sweep must keep."""
    return {found.decode("ascii") for found in _DIGEST.findall(data)}


def _file_row(file: StoredFile) -> list[str | int]:
    return [file.name, file.size, file.sha256]
