"""The one hash of this room, and the bytes that it takes of plain values."""

from __future__ import annotations

import marshal

try:
    from _blake2 import (
        blake2b,
    )  # what hashlib takes it from; hashlib loads OpenSSL besides, which takes milliseconds
except ImportError:
    from hashlib import blake2b

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType
    from typing import Any

__all__ = ["blake2b", "code_digest", "digest32", "pack"]

_MARSHAL_VERSION = 2
"""The newest form that does not depend on which objects are shared or interned."""


def digest32(data: bytes) -> bytes:
    """BLAKE2b of 32 bytes: of what Python comes with, the quickest for the few hundred bytes of a node."""
    return blake2b(data, digest_size=32).digest()


def pack(value: Any) -> bytes:
    """Unambiguous bytes of plain values: None, bool, int, float, str, bytes, and tuples and lists of them.

    The same in every process of one Python minor version. A NaN keeps its bits, so callers take it apart first.
    """
    try:
        return marshal.dumps(value, _MARSHAL_VERSION)
    except ValueError:  # a class derived from str, which code that is made by hand may hold
        return b"\0" + ascii(value).encode()


def code_digest(code: CodeType) -> str:
    """A digest of what a code object does by itself, nested code included, as lowercase hex.

    Where it stands does not count (file, line, the function around it), nor do comments and docstrings. What its names
    stand for is not looked up: :func:`passprint.fingerprint` does that.
    """
    from passprint.identity.bytecode import code_facts
    from passprint.identity.canonical import frame
    from passprint.identity.origin import SEED

    return digest32(SEED + frame(b"code", code_facts(code).payload)).hex()
