"""Objects on their way: compressed with zstd, and never larger when opened than their record says."""

from __future__ import annotations

import hashlib
from typing import Final

from passprint.cache.record import StoredFile

LONGEST_RECORD: Final = 4 << 20
"""Bytes of a signed record at most."""

LARGEST_OBJECT: Final = 2 << 30
"""Bytes of an object at most, opened."""

_LEVEL: Final = 3
_LARGEST_WINDOW: Final = 8 << 20  # what a frame may make a reader allocate; level 3 needs 2 MiB


class RefusedError(Exception):
    """Something from a remote is not what it should be. Internal: the entry is a miss with this reason."""


def compress(data: bytes) -> bytes:
    """``data`` as one zstd frame."""
    import zstandard

    packed: bytes = zstandard.ZstdCompressor(level=_LEVEL).compress(data)
    return packed


def longest_packed(size: int) -> int:
    """How many bytes an object of ``size`` bytes can take when compressed."""
    return size + (size >> 7) + 1024


def unpack(stored: StoredFile, packed: bytes) -> bytes:
    """The object, after its length and checksum were found right.

    Raises ``RefusedError``. Takes no more memory than the record says and the window of level 3.
    """
    import zstandard

    if len(packed) > longest_packed(stored.size):
        raise RefusedError(f"the object {stored.sha256[:16]}… is longer than its record says")
    opener = zstandard.ZstdDecompressor(max_window_size=_LARGEST_WINDOW)
    try:
        with opener.stream_reader(packed, read_across_frames=False) as reader:
            data: bytes = reader.read(stored.size + 1)
    except (zstandard.ZstdError, MemoryError, OverflowError) as error:
        raise RefusedError(f"the object {stored.sha256[:16]}… cannot be opened: {error}") from error
    if len(data) != stored.size:
        told = "more" if len(data) > stored.size else f"{len(data)}"
        raise RefusedError(f"the object {stored.sha256[:16]}… has {told} bytes, not {stored.size}")
    if hashlib.sha256(data).hexdigest() != stored.sha256:
        raise RefusedError(
            f"the object {stored.sha256[:16]}… does not have the checksum that its record gives"
        )
    return data
