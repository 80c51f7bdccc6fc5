"""Signatures of archives: HMAC-SHA256 with a secret that both machines have, in a file that only its owner reads."""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
from pathlib import Path
from typing import Final

from passprint.errors import CacheError

ENVIRONMENT: Final = "PASSPRINT_SIGNING_KEY"
"""The environment variable that holds the path of the key file."""

_SHORTEST: Final = 32
_LONGEST: Final = 4096
_MEANT_FOR: Final = (
    b"passprint archive\n"  # a signature of anything else that is made with this key fits no archive
)
_MAKE: Final = "Make one with: (umask 077; openssl rand -hex 32 > FILE), and copy it to both machines."


class SigningKey:
    """A shared secret. Whoever has it can sign and check; nobody else can sign."""

    def __init__(self, secret: bytes, source: str) -> None:
        self._secret = secret
        self.source = source
        """Where it came from, for messages."""

    def __repr__(self) -> str:
        return f"SigningKey({self.source!r})"

    def sign(self, index: bytes) -> str:
        """The signature of an archive with this index, which has the checksums of all else: 64 hex digits."""
        return hmac.new(self._secret, _MEANT_FOR + index, hashlib.sha256).hexdigest()

    def fits(self, index: bytes, signature: str) -> bool:
        """Whether a signature is this key's for this index."""
        return hmac.compare_digest(self.sign(index).encode(), signature.encode())


def signing_key(given: str | os.PathLike[str] | None = None) -> SigningKey | None:
    """The key in the file ``given``, or else in the one that ``PASSPRINT_SIGNING_KEY`` names; None where neither is.

    Raises ``CacheError`` for a file that cannot be read, that others can read or write, or that is too short a secret.
    """
    path = given or os.environ.get(ENVIRONMENT)
    if not path:
        return None
    source = os.fspath(path) if given else f"{ENVIRONMENT}={path}"
    try:
        with open(Path(path).expanduser(), "rb") as file:
            found = os.fstat(file.fileno())
            secret = file.read(_LONGEST + 1).strip() if stat.S_ISREG(found.st_mode) else b""
    except OSError as error:
        raise CacheError(f"The signing key {source} cannot be read: {error.strerror}. {_MAKE}") from error
    if found.st_mode & 0o077:
        raise CacheError(
            f"The signing key {source} can be read or written by others, who could then sign. Run: chmod 600 {path}"
        )
    if not _SHORTEST <= len(secret) <= _LONGEST:
        raise CacheError(
            f"The signing key {source} has {len(secret)} bytes. Expected a file of {_SHORTEST} to {_LONGEST}. {_MAKE}"
        )
    return SigningKey(secret, source)
