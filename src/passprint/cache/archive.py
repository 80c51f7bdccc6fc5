"""A cache, or a part of it, as one file that can be moved to another machine.

::

    passprint-archive FORMAT LENGTH SHA256 [SIGNATURE]\\n     of the index
    INDEX                                        JSON: what follows, in order, with lengths and checksums
    records and objects, back to back

Nothing in it is a path: records and objects go by their digests. Nothing is compressed, so that what is read is
never longer than the file; compress the file if it travels far.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from passprint.cache.files import DamagedError, check_file, read_checked, read_file
from passprint.cache.folder import sharded
from passprint.cache.record import Record, StoredFile, UnknownFormatError, check_sound, decode
from passprint.cache.signing import SigningKey
from passprint.cache.store import Exported
from passprint.errors import CacheError

ARCHIVE_FORMAT: Final = 1

_MAGIC: Final = b"passprint-archive"
_LONGEST_HEAD: Final = 200
_CHUNK: Final = 1 << 20
_ENTRY_NAME: Final = re.compile(r"[0-9a-f]{16,128}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class _Blob:
    """One record or object in an archive: its name, length and checksum."""

    name: str
    size: int
    sha256: str


# ---- writing --------------------------------------------------------------------------------------------


def write_archive(
    path: Path,
    entries: str,
    objects: str,
    digests: Iterable[str],
    version: str,
    key: SigningKey | None = None,
) -> Exported:
    """Write the entries of these keys, with all objects that they name, to ``path``: whole or not at all.

    With ``key`` the archive is signed: its index is, which has the checksums of everything else.
    Entries that are damaged or of another format are left out. Raises ``CacheError`` when ``path`` cannot be
    written, and when the cache is changed meanwhile.
    """
    records: dict[str, bytes] = {}
    needed: dict[str, StoredFile] = {}
    left_out = 0
    for digest in digests:
        try:
            data = read_file(sharded(entries, digest))
            record = decode(data, digest)
            for stored in record.objects:
                if stored.sha256 not in needed:
                    check_file(sharded(objects, stored.sha256), stored.size, stored.sha256)
        except (DamagedError, UnknownFormatError, OSError):
            left_out += 1
            continue
        records[digest] = data
        needed.update((stored.sha256, stored) for stored in record.objects)
    index = {
        "passprint": version,
        "entries": [[name, len(data), hashlib.sha256(data).hexdigest()] for name, data in records.items()],
        "objects": [[name, stored.size] for name, stored in needed.items()],
    }
    text = json.dumps(index).encode()
    words = [str(ARCHIVE_FORMAT), str(len(text)), hashlib.sha256(text).hexdigest()]
    if key is not None:
        words.append(key.sign(text))
    head = b"%s %s\n" % (_MAGIC, " ".join(words).encode())
    if os.path.exists(path) and not os.path.isfile(path):  # renaming would replace a device, a pipe
        raise CacheError(
            f"The archive {path} cannot be written: there is something that is no file. Give a name that is free."
        )
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        with open(temporary, "x+b") as file:
            file.write(head + text)
            for data in records.values():
                file.write(data)
            for name, stored in needed.items():
                file.write(read_checked(sharded(objects, name), stored.size, name))
            size = file.tell()
            file.flush()
            file.seek(0)
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except DamagedError as error:
        raise CacheError(f"The cache changed while it was exported: an object {error}. Try again.") from error
    except OSError as error:
        raise CacheError(f"The archive {path} cannot be written: {error.strerror}.") from error
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
    return Exported(str(path), len(records), len(needed), size, left_out, sha256, key is not None)


# ---- reading --------------------------------------------------------------------------------------------


class Archive:
    """An archive that was read and checked from end to end; only then anything of it can be had."""

    def __init__(self, path: Path, key: SigningKey | None = None) -> None:
        """Open and check; with ``key``, first that the archive is signed with it.

        Raises ``CacheError`` that says what is wrong with the file and what to do.
        """
        self.path = path
        self.signed = False
        """Whether the file has a signature, right or not looked at."""
        try:
            self._file: IO[bytes] = open(path, "rb")  # noqa: SIM115  (closed by close)
        except OSError as error:
            raise CacheError(f"The archive {path} cannot be read: {error.strerror}.") from error
        try:
            self._read_index(key)
            self.records = self._read_records()
            for blob in self._objects:
                self._check(blob)
        except OSError as error:
            self.close()
            raise CacheError(f"The archive {path} cannot be read: {error.strerror}.") from error
        except BaseException:
            self.close()
            raise

    def objects(self) -> Iterator[tuple[StoredFile, bytes]]:
        """Every object with its bytes, checked again as they are read."""
        for blob in self._objects:
            data = self._bytes(blob)
            yield StoredFile("", blob.size, blob.sha256), data

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read_index(self, key: SigningKey | None) -> None:
        head = self._file.readline(_LONGEST_HEAD)
        words = head.removesuffix(b"\n").split(b" ")
        if words[0] != _MAGIC or len(words) < 2 or not words[1].isdigit():
            raise CacheError(
                f"{self.path} is not an archive of a passprint cache: it begins with {head[:24]!r}. "
                f"Give a file that `passprint cache export FILE` wrote."
            )
        if int(words[1]) != ARCHIVE_FORMAT:
            raise CacheError(
                f"The archive {self.path} has format {int(words[1])}, and this version of passprint reads format "
                f"{ARCHIVE_FORMAT}. Export it again with this version, or import it with the one that wrote it."
            )
        if len(words) not in (4, 5) or not head.endswith(b"\n") or not words[2].isdigit():
            raise self._damaged("its first line is not whole")
        length = int(words[2])
        whole = os.fstat(self._file.fileno()).st_size
        if len(head) + length > whole:
            raise self._damaged(f"it has {whole} bytes, and its index alone needs {len(head) + length}")
        text = self._file.read(length)
        if hashlib.sha256(text).hexdigest().encode() != words[3]:
            raise self._damaged("its index does not have the checksum that it was written with")
        self.signed = len(words) == 5
        if key is not None:
            self._check_signature(key, text, words[4].decode("ascii", "replace") if self.signed else None)
        try:
            index = json.loads(text)
            entries = [_blob(name, size, sha256) for name, size, sha256 in index["entries"]]
            objects = [_blob(name, size, name) for name, size in index["objects"]]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise self._damaged(f"its index is not one of format {ARCHIVE_FORMAT}: {error}") from error
        self._entries, self._objects, self._places = entries, objects, dict[int, int]()
        place = len(head) + length
        for blob in (*entries, *objects):
            self._places[id(blob)] = place
            place += blob.size
        if place != whole:
            raise self._damaged(f"it has {whole} bytes, and its index says {place}")

    def _check_signature(self, key: SigningKey, index: bytes, signature: str | None) -> None:
        if signature is None:
            raise CacheError(
                f"The archive {self.path} is not signed, and only signed ones are taken where there is a signing key "
                f"({key.source}). Nothing was imported. Export it again with that key."
            )
        if not key.fits(index, signature):
            raise CacheError(
                f"The signature of the archive {self.path} is not by this signing key ({key.source}): it was signed "
                f"with another one, or changed since. Nothing was imported. Export it again with this key."
            )

    def digest(self) -> str:
        """The sha256 of the whole file, as ``sha256sum`` gives it."""
        self._file.seek(0)
        return hashlib.file_digest(self._file, "sha256").hexdigest()  # type: ignore[arg-type]

    def _read_records(self) -> list[tuple[Record, bytes]]:
        held = {blob.name: blob.size for blob in self._objects}
        found = []
        for blob in self._entries:
            data = self._bytes(blob)
            try:
                record = decode(data, blob.name)
                _check_record(record, held)
            except UnknownFormatError as error:
                raise self._damaged(f"its entry {blob.name} has the unknown format {error}") from error
            except DamagedError as error:
                raise self._damaged(f"its entry {blob.name} {error}") from error
            found.append((record, data))
        return found

    def _check(self, blob: _Blob) -> None:
        self._file.seek(self._places[id(blob)])
        digest, left = hashlib.sha256(), blob.size
        while left:
            chunk = self._file.read(min(left, _CHUNK))
            if not chunk:
                raise self._damaged("it became shorter while it was read")
            digest.update(chunk)
            left -= len(chunk)
        if digest.hexdigest() != blob.sha256:
            raise self._damaged(f"its object {blob.name} does not have the checksum that it was written with")

    def _bytes(self, blob: _Blob) -> bytes:
        self._file.seek(self._places[id(blob)])
        data = self._file.read(blob.size)
        if hashlib.sha256(data).hexdigest() != blob.sha256:
            raise self._damaged(f"its part {blob.name} does not have the checksum that it was written with")
        return data

    def _damaged(self, reason: str) -> CacheError:
        return CacheError(
            f"The archive {self.path} is damaged: {reason}. Copy it again from where it was exported, or export "
            f"it again. What it still had to bring was not imported; the cache is as good as before."
        )


def _blob(name: Any, size: Any, sha256: Any) -> _Blob:
    """A row of the index. Names become names of files, so they must be digests: no path, no ``..``."""
    if not isinstance(name, str) or not _ENTRY_NAME.fullmatch(name):
        raise ValueError(f"{str(name)[:60]!r} is not a digest")
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        raise ValueError(f"{str(sha256)[:60]!r} is not a sha256")
    if type(size) is not int or size < 0:
        raise ValueError(f"{str(size)[:60]!r} is not a length")
    return _Blob(name, size, sha256)


def _check_record(record: Record, held: Mapping[str, int]) -> None:
    """Raise ``DamagedError`` for a record that is not sound, or names what the archive does not hold."""
    check_sound(record)
    for stored in record.objects:
        if held.get(stored.sha256) != stored.size:
            raise DamagedError(
                f"names the object {str(stored.sha256)[:64]!r}, which the archive does not hold"
            )
