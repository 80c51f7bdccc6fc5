"""Who may put entries into a shared cache: ed25519 keys, and a file of the public ones that this machine trusts.

A private key is one line, ``passprint-private-key ed25519 NAME HEX``, in a file that only its owner reads. A public one
is ``passprint-public-key ed25519 NAME HEX``, with the word ``retired`` after it where it is no longer taken; the file
of trusted keys has one a line.
"""

from __future__ import annotations

import os
import re
import secrets
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from passprint.cache.files import mistrust, write_whole
from passprint.errors import CacheError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

TRUSTED_ENVIRONMENT: Final = "PASSPRINT_TRUSTED_KEYS"
"""The environment variable that holds the path of the file of trusted public keys."""

PRIVATE_ENVIRONMENT: Final = "PASSPRINT_PRIVATE_KEY"
"""The environment variable that holds the path of the file with this machine's private key."""

_PRIVATE: Final = "passprint-private-key"
_PUBLIC: Final = "passprint-public-key"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_HEX: Final = re.compile(r"[0-9a-f]{64}")
_MEANT_FOR: Final = (
    b"passprint record\n"  # a signature of anything else that is made with a key fits no record
)


class UntrustedError(Exception):
    """A signature is not one that this machine takes. Internal: a miss with this reason."""


class PublicKey(NamedTuple):
    """A key that checks signatures: its name, 64 hex digits, and whether it is no longer taken."""

    name: str
    hex: str
    retired: bool = False

    def line(self) -> str:
        """The key as a line of a file."""
        return " ".join([_PUBLIC, "ed25519", self.name, self.hex, *(["retired"] if self.retired else [])])


class TrustedKeys:
    """The public keys in the file ``path``: whose entries this machine takes.

    Default: the file that ``PASSPRINT_TRUSTED_KEYS`` names, or ``trusted-keys`` in the user's configuration folder.
    Raises ``CacheError`` for a file that others can write, or that is not one of keys.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self.path = _path(path, TRUSTED_ENVIRONMENT, "trusted-keys")
        self._keys = {key.hex: key for key in map(self._read, _lines(self.path, "file of trusted keys"))}

    def __iter__(self) -> Any:
        return iter(sorted(self._keys.values()))

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, given: str) -> PublicKey:
        """Trust a key: its line, or the path of a file that has it. Raises ``CacheError``."""
        text = given
        if not given.startswith(_PUBLIC):
            try:
                text = Path(given).expanduser().read_text(encoding="utf-8")
            except (OSError, ValueError) as error:
                raise CacheError(
                    f"The key {given!r} is neither a public key nor a file of one. Give the line that "
                    f"`passprint key new` printed, in quotes, or a file that holds it."
                ) from error
        key = self._read(text.strip())
        for known in self:
            if known.name == key.name and known.hex != key.hex:
                raise CacheError(
                    f"There is another trusted key {key.name!r} in {self.path}. Remove that one first "
                    f"(passprint trust remove {key.name}), or give the new key another name."
                )
        self._keys[key.hex] = key
        self._save()
        return key

    def retire(self, name: str) -> PublicKey:
        """Take nothing any more that this key signed, and say so. Raises ``CacheError`` for an unknown name."""
        key = self._named(name)._replace(retired=True)
        self._keys[key.hex] = key
        self._save()
        return key

    def remove(self, name: str) -> PublicKey:
        """Forget a key. Raises ``CacheError`` for an unknown name."""
        key = self._named(name)
        del self._keys[key.hex]
        self._save()
        return key

    def check(self, data: bytes, public: str, signature: bytes) -> PublicKey:
        """The trusted key that signed ``data``. Raises ``UntrustedError`` when there is none."""
        key = self._keys.get(public)
        if key is None:
            raise UntrustedError(f"signed by the unknown key {public[:16]}…")
        if key.retired:
            raise UntrustedError(f"signed by the retired key {key.name!r}")
        _library()
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        try:
            Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).verify(signature, _MEANT_FOR + data)
        except (InvalidSignature, ValueError):
            raise UntrustedError(f"the signature is not by the key {key.name!r}: it was changed") from None
        return key

    def _named(self, name: str) -> PublicKey:
        for key in self._keys.values():
            if key.name == name:
                return key
        known = ", ".join(key.name for key in self) or "none"
        raise CacheError(f"No trusted key has the name {name!r}. There are: {known} (in {self.path}).")

    def _read(self, line: str) -> PublicKey:
        words = line.split()
        retired = words[4:] == ["retired"]
        if len(words) != 4 + retired or words[:2] != [_PUBLIC, "ed25519"] or not _HEX.fullmatch(words[3]):
            raise CacheError(
                f"A line that begins with {line[:24]!r} is not a public key. Expected a line "
                f"'{_PUBLIC} ed25519 NAME HEX', as `passprint key new` prints it (file: {self.path})."
            )
        return PublicKey(_checked_name(words[2]), words[3], retired)

    def _save(self) -> None:
        text = "".join(f"{key.line()}\n" for key in self)
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_whole(str(self.path), text.encode())
        except OSError as error:
            raise CacheError(
                f"The file of trusted keys {self.path} cannot be written: {error.strerror}. "
                f"Set {TRUSTED_ENVIRONMENT} to a file that you can write."
            ) from error


class PrivateKey:
    """A key that signs. Its text never appears in messages."""

    def __init__(self, name: str, secret: bytes, source: str) -> None:
        self.name = name
        self.source = source
        """Where it came from, for messages."""
        self._secret = secret

    @cached_property
    def _key(self) -> Ed25519PrivateKey:
        """Only who signs imports the library."""
        _library()
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return Ed25519PrivateKey.from_private_bytes(self._secret)

    def __repr__(self) -> str:
        return f"PrivateKey({self.name!r}, {self.source!r})"

    @property
    def public(self) -> PublicKey:
        """The key that checks what this one signs."""
        return PublicKey(self.name, self._key.public_key().public_bytes_raw().hex())

    def sign(self, data: bytes) -> bytes:
        """The signature, 64 bytes."""
        signature: bytes = self._key.sign(_MEANT_FOR + data)
        return signature


def private_key(path: str | os.PathLike[str] | None = None) -> PrivateKey | None:
    """The key in ``path``, or what ``PASSPRINT_PRIVATE_KEY`` names, or ``private-key`` in the user's configuration.

    None where nobody named a file and there is none. Raises ``CacheError`` for a file that is absent though named, that
    others can read or write, or that is not a key.
    """
    place = _path(path, PRIVATE_ENVIRONMENT, "private-key")
    named = path is not None or bool(os.environ.get(PRIVATE_ENVIRONMENT))
    if not named and not place.exists():
        return None
    try:
        with open(place, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            words = file.read(1024).decode(errors="replace").split()
    except OSError as error:
        raise CacheError(
            f"The private key {place} cannot be read: {error.strerror}. Make one with: passprint key new NAME"
        ) from error
    if os.name != "nt" and mode & 0o077:
        raise CacheError(
            f"The private key {place} can be read or written by others, who could then sign. Run: chmod 600 {place}"
        )
    if len(words) != 4 or words[:2] != [_PRIVATE, "ed25519"] or not _HEX.fullmatch(words[3]):
        raise CacheError(
            f"{place} is not a private key. Expected a file that `passprint key new NAME` wrote."
        )
    return PrivateKey(_checked_name(words[2]), bytes.fromhex(words[3]), str(place))


def new_key(name: str, path: str | os.PathLike[str] | None = None) -> PrivateKey:
    """Make a key and write it to ``path`` (default as for :func:`private_key`), for its owner only.

    Raises ``CacheError`` where there is a file already, and for a name that is not one.
    """
    _checked_name(name)
    _library()
    place = _path(path, PRIVATE_ENVIRONMENT, "private-key")
    secret = secrets.token_bytes(32)
    line = f"{_PRIVATE} ed25519 {name} {secret.hex()}\n"
    try:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(fd, "w", encoding="ascii") as file:
            file.write(line)
    except FileExistsError:
        raise CacheError(
            f"There is a file {place} already. Nothing was written. Give another one with --to FILE."
        ) from None
    except OSError as error:
        raise CacheError(f"The private key {place} cannot be written: {error.strerror}.") from error
    return PrivateKey(name, secret, str(place))


def _library() -> None:
    try:
        import cryptography  # noqa: F401
    except ImportError as error:
        raise CacheError(
            "Signatures of shared caches need the library cryptography, which is not installed. "
            "Run: pip install 'passprint[remote]'"
        ) from error


def _checked_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise CacheError(
            f"A key got the name {name!r}. Expected letters, digits and . _ @ -, at most 64, such as ci-2026."
        )
    return name


def _path(given: str | os.PathLike[str] | None, variable: str, default: str) -> Path:
    chosen = given or os.environ.get(variable)
    try:
        if chosen:
            return Path(chosen).expanduser().absolute()
        import platformdirs

        return Path(platformdirs.user_config_dir("passprint", appauthor=False), default).absolute()
    except RuntimeError as error:
        raise CacheError(f"No home folder is known, so {default} has no place. Set {variable}.") from error


def _lines(path: Path, what: str) -> list[str]:
    try:
        with open(path, "rb") as file:
            reason = mistrust(os.fstat(file.fileno()))
            text = file.read().decode("ascii", "replace")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise CacheError(f"The {what} {path} cannot be read: {error.strerror}.") from error
    if reason is not None:
        raise CacheError(
            f"The {what} {path} {reason}, so whom to trust is not yours to say. Run: chmod go-w {path}"
        )
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
