"""The folder of a local cache: where it is, how it is laid out, and whether it is safe to use."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shlex
import stat
from pathlib import Path
from typing import Final

from passprint import warned
from passprint.cache.files import FOLDER_MODE, TEMPORARY, mistrust, write_whole
from passprint.errors import CacheError

ENVIRONMENT: Final = "PASSPRINT_CACHE_DIR"
TAG: Final = "CACHEDIR.TAG"
ROOMS: Final = ("entries", "objects", "locks")

# The first line is the one that backup tools look for (https://bford.info/cachedir/); the second is ours.
_TAG_TEXT: Final = b"Signature: 8a477f597d28d172789f06886806bc55\n# passprint cache\n"
_CHOOSE: Final = f"Set {ENVIRONMENT} to a folder that you can write, or pass cache=PATH, or cache=False."
_HEX: Final = re.compile(r"[0-9a-f]{16,128}")
_FOREIGN_ALLOWED: Final = {"lost+found"}


class CacheWarning(UserWarning):
    """A cache could not do its work; the program goes on without it."""


class NoPlaceError(CacheError):
    """There is no folder for a cache, and none can be made."""


def warn(message: str) -> None:
    """Issue one ``CacheWarning``, beside the user's own line."""
    warned.warn(message, CacheWarning)


def root_of(given: str | os.PathLike[str] | None) -> Path:
    """Where a cache lies: as given, or ``PASSPRINT_CACHE_DIR``, or where the platform keeps a user's caches.

    Raises ``NoPlaceError`` where that needs a home folder and there is none.
    """
    chosen = os.environ.get(ENVIRONMENT) if given is None else given
    try:
        if chosen:
            return Path(chosen).expanduser().absolute()
        import platformdirs

        return Path(platformdirs.user_cache_dir("passprint", appauthor=False)).absolute()
    except RuntimeError as error:
        raise NoPlaceError(
            f"The cache folder {chosen or 'in your home'} cannot be found: no home folder is known. {_CHOOSE}"
        ) from error


def is_users_own(given: str | os.PathLike[str] | None) -> bool:
    """Whether nobody has named a folder, so that it is the platform's."""
    return given is None and not os.environ.get(ENVIRONMENT)


def sharded(room: str, name: str) -> str:
    """The path of ``name`` in a room, spread over 256 folders by its first two characters."""
    return f"{room}/{name[:2]}/{name}"


def check_digest(digest: str) -> str:
    """``digest`` itself, when it can be a file name: lowercase hex. Raises ``CacheError``."""
    if not _HEX.fullmatch(digest):
        raise CacheError(
            f"A cache key must be 16 to 128 lowercase hex digits, but {digest!r} was given. "
            f"Pass the digest of a Fingerprint."
        )
    return digest


def check_there(root: Path) -> None:
    """Raise ``CacheError`` where there is nothing to look at: no folder, or one that holds nothing."""
    try:
        holds = bool(os.listdir(root))
    except FileNotFoundError:
        holds = False
    except OSError:  # no folder, or one that cannot be read: told by who uses it
        return
    if not holds:
        what = "the folder is empty" if root.exists() else "the folder does not exist"
        raise CacheError(
            f"There is no cache in {root}: {what}. Name the folder of one, here or with {ENVIRONMENT}; "
            f"the first model that is compiled with a folder makes it a cache."
        )


def prepare(root: Path) -> None:
    """Make the folder when it is absent, and refuse one that is not a safe place for code that will be run.

    Raises ``CacheError`` that names the folder and the command that mends it.
    """
    try:
        root.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    except FileExistsError:
        raise CacheError(
            f"The cache must be a folder, but {root} is a file. Remove it, or set {ENVIRONMENT}."
        ) from None
    except OSError as error:
        raise NoPlaceError(f"The cache folder {root} cannot be made: {error.strerror}. {_CHOOSE}") from error
    _check_safe(root, root)
    _check_ours(root)
    for room in ROOMS:
        path = root / room
        with contextlib.suppress(OSError):  # a read-only cache is used as it is; who writes sees the error
            path.mkdir(mode=FOLDER_MODE, exist_ok=True)
        if path.exists():
            _check_safe(path, root)


def revive(root: Path) -> None:
    """Make the folder again if it was removed while in use. Raises ``OSError`` when that is not possible."""
    if not os.path.exists(f"{root}/{TAG}"):
        try:
            prepare(root)
        except CacheError as error:
            raise OSError(errno.ENOENT, str(error)) from error


def make_shard(path: str) -> None:
    """Make the folder that ``path`` lies in."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(os.path.dirname(path), FOLDER_MODE)


def check_shard(path: str) -> str | None:
    """Why the folder that ``path`` lies in is not to be trusted, or None."""
    return mistrust(os.stat(os.path.dirname(path)))


def mending(root: str | os.PathLike[str]) -> str:
    """What to do about a cache that others can write: all of it at once, for files like that count as damaged."""
    return f"If you trust what is in it, run: chmod -R go-w {shlex.quote(str(root))}"


def _check_safe(path: Path, root: Path) -> None:
    try:
        found = path.stat()
    except OSError as error:
        raise CacheError(f"The cache folder {path} cannot be looked at: {error.strerror}.") from error
    reason = mistrust(found)
    if reason is None:
        return
    if found.st_mode & stat.S_ISVTX:
        mend = f"Choose a folder of its own inside it: {ENVIRONMENT}={path / 'passprint'}"
    elif found.st_uid not in (0, os.geteuid()):
        mend = f"Make it yours if you trust what is in it: chown -R $(id -u) {shlex.quote(str(root))}"
    else:
        mend = mending(root)
    raise CacheError(
        f"The cache folder {path} {reason}. "
        f"A cache holds code that will be run, so only you may be able to write it. {mend}"
    )


def _check_ours(root: Path) -> None:
    """Refuse a folder that holds someone's files: sweeping would remove what it does not know."""
    tag = root / TAG
    try:
        if tag.exists():
            return
        strangers = [
            name
            for name in os.listdir(root)
            if not name.startswith(TEMPORARY) and name not in _FOREIGN_ALLOWED
        ]
    except OSError as error:
        raise CacheError(
            f"The cache folder {root} cannot be read: {error.strerror}. "
            f"Run: chmod u+rwx {shlex.quote(str(root))}, or set {ENVIRONMENT} to another folder."
        ) from error
    if strangers and not tag.exists():  # looked at again: another process may have begun it just now
        raise CacheError(
            f"{root} is not a passprint cache: it has no {TAG} but holds {strangers[0]!r}. "
            f"Give an empty or new folder."
        )
    with contextlib.suppress(OSError):
        write_whole(str(tag), _TAG_TEXT)
