"""Files of a cache folder: written whole or not at all, checked before use, locked while in use."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import stat
import sys
import time
from collections.abc import Iterator
from typing import Final

FOLDER_MODE: Final = 0o700
FILE_MODE: Final = 0o600
TEMPORARY: Final = ".tmp-"

_CHUNK: Final = 1 << 16
_TRIES: Final = 200
_PAUSE: Final = 0.001

_READ: Final = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
_LOCK: Final = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


class DamagedError(Exception):
    """A stored file is not what was stored. Internal: a reader turns it into a miss with a warning."""


if sys.platform == "win32":

    def try_lock(fd: int, *, exclusive: bool) -> bool:
        """Whether the lock was taken. Windows itself refuses to remove a file that is open."""
        return True

    def mistrust(found: os.stat_result) -> str | None:
        """Windows has no owner and mode bits to look at; the user's profile folder is private there."""
        return None

else:
    import fcntl

    def try_lock(fd: int, *, exclusive: bool) -> bool:
        """Take a ``flock`` without waiting, and say whether it was taken.

        The kernel lets go when the last copy of ``fd`` is closed, so a killed process holds nothing. Where a
        file system has no ``flock``, a shared lock counts as taken (nothing to hold on to) and an
        exclusive one as refused (nobody can prove that the file is unused).
        """
        try:
            fcntl.flock(fd, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return not exclusive
        return True

    def mistrust(found: os.stat_result) -> str | None:
        """Why a file or folder is not to be trusted: someone else could have written it. None when it is."""
        if found.st_uid not in (0, os.geteuid()):
            return f"belongs to user {found.st_uid}"
        if found.st_mode & 0o022:
            return f"can be written by others (mode {stat.S_IMODE(found.st_mode):04o})"
        return None


def wait_lock(fd: int, *, exclusive: bool, timeout: float) -> bool:
    """Take a lock, waiting up to ``timeout`` seconds; False when it was not to be had."""
    deadline = time.monotonic() + timeout
    pause = 0.001
    while not try_lock(fd, exclusive=exclusive):
        if time.monotonic() >= deadline:
            return False
        time.sleep(pause)
        pause = min(pause * 2, 0.05)
    return True


@contextlib.contextmanager
def locked(path: str, *, exclusive: bool, timeout: float) -> Iterator[bool]:
    """Hold the lock file ``path`` (made when absent) for a ``with`` block; yields whether it was taken."""
    fd = os.open(path, _LOCK, FILE_MODE)
    try:
        yield wait_lock(fd, exclusive=exclusive, timeout=timeout)
    finally:
        os.close(fd)


def write_all(fd: int, data: bytes) -> None:
    """``os.write`` until everything is written. All data of the cache goes to disk through here."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def write_whole(path: str, data: bytes) -> None:
    """Make ``path`` hold ``data``: a reader finds the whole of it or what was there before.

    The data goes to a temporary file beside it, which is renamed. It is flushed to the disk first: checksums
    make a file torn by a power cut a miss anyway, but without the flush one cut could tear hundreds.
    The temporary file is locked while it is written, so that a sweep takes only those of the dead.
    """
    folder, _ = os.path.split(path)
    temporary = f"{folder}/{TEMPORARY}{os.getpid()}-{secrets.token_hex(6)}"
    fd = os.open(temporary, _CREATE, FILE_MODE)
    try:
        try:
            try_lock(fd, exclusive=True)
            write_all(fd, data)
            os.fsync(fd)
        finally:
            os.close(fd)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def open_file(path: str) -> int:
    """Open for reading. Raises ``DamagedError`` for a symbolic link, ``OSError`` as ``os.open`` does."""
    try:
        return os.open(path, _READ)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise DamagedError("is a symbolic link") from None
        raise


def read_file(path: str) -> bytes:
    """All bytes of a file. Raises as `open_file` and `read_fd` do."""
    fd = open_file(path)
    try:
        return read_fd(fd, os.fstat(fd))
    finally:
        os.close(fd)


def read_fd(fd: int, found: os.stat_result) -> bytes:
    """All bytes of a file that was just opened.

    Raises ``DamagedError`` for what is not a regular file, not trusted, or not as long as it says.
    """
    _check_status(found)
    data = os.read(fd, found.st_size)
    if len(data) < found.st_size:  # more than one read can give (2 GiB on Linux)
        chunks = [data]
        while chunk := os.read(fd, found.st_size):
            chunks.append(chunk)
        data = b"".join(chunks)
    if len(data) != found.st_size:
        raise DamagedError(f"has {len(data)} bytes of {found.st_size}")
    return data


def read_checked(path: str, size: int, sha256: str) -> bytes:
    """The bytes of a stored file, after its length and checksum were found right.

    Raises ``DamagedError`` when they are not, and when the file is gone; ``OSError`` when the system cannot
    read it at this time, which says nothing about the file.
    """
    fd = _open_sized(path, size)
    try:
        data = read_fd(fd, os.fstat(fd))
    finally:
        os.close(fd)
    _check_sum(hashlib.sha256(data).hexdigest(), sha256)
    return data


def check_file(path: str, size: int, sha256: str) -> None:
    """The same without keeping the bytes; filling fresh memory can cost as much as the sum."""
    fd = _open_sized(path, size)
    try:
        _check_status(os.fstat(fd))
        digest = hashlib.sha256()
        while chunk := os.read(fd, _CHUNK):
            digest.update(chunk)
    finally:
        os.close(fd)
    _check_sum(digest.hexdigest(), sha256)


def _open_sized(path: str, size: int) -> int:
    try:
        fd = open_file(path)
    except FileNotFoundError:
        raise DamagedError("is gone") from None
    found = os.fstat(fd).st_size
    if found != size:
        os.close(fd)
        raise DamagedError(f"has {found} bytes, not {size}")
    return fd


def _check_status(found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise DamagedError("is not a regular file")
    if (reason := mistrust(found)) is not None:
        raise DamagedError(reason)


def _check_sum(found: str, stored: str) -> None:
    if found != stored:
        raise DamagedError("does not have the checksum that it was stored with")


def remove_unused(path: str) -> bool:
    """Remove a file unless a process holds a lock on it; whether it is gone.

    The lock is kept while the name is removed: who opened the file in between sees that it has no name left.
    """
    try:
        fd = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
    except FileNotFoundError:
        return True
    try:
        if not try_lock(fd, exclusive=True):
            return False
        if os.path.samestat(os.fstat(fd), os.lstat(path)):
            os.unlink(path)
    except FileNotFoundError:
        return True
    finally:
        os.close(fd)
    return True


def open_locked(path: str) -> int | None:
    """Open a file and hold it with others; None when it is being removed all the time that we try."""
    for _ in range(_TRIES):
        fd = open_file(path)
        if try_lock(fd, exclusive=False) and os.fstat(fd).st_nlink > 0:
            return fd
        os.close(fd)  # replaced or removed at this moment: look at what is there now
        time.sleep(_PAUSE)
    return None
