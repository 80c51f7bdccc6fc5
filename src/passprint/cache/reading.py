"""Finding an entry in a cache folder: locked and checked, or the reason why there is none."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Final

from passprint.cache.entry import Entry
from passprint.cache.files import DamagedError, open_locked, read_fd
from passprint.cache.folder import sharded
from passprint.cache.record import UnknownFormatError, decode
from passprint.cache.writing import touch


class Absent(str):
    """Why there is no entry."""

    __slots__ = ()


NO_ENTRY: Final = Absent("no entry")


class Reader:
    """Finds the entries of the cache ``root``; what is wrong with one is said to ``tell``."""

    def __init__(self, root: str, tell: Callable[[str], None]) -> None:
        self._root = root
        self._entries, self._objects = f"{root}/entries", f"{root}/objects"
        self._tell = tell

    def find(self, digest: str, *, check_files: bool = True) -> Entry | Absent:
        """The entry, locked and checked, or why there is none. A damaged one is removed."""
        path = sharded(self._entries, digest)
        try:
            fd = open_locked(path)
        except FileNotFoundError:
            return NO_ENTRY
        except DamagedError as error:
            return self._damaged(path, digest, str(error))
        except OSError as error:
            return self._unreadable(digest, error)
        if fd is None:
            return Absent("the entry is being removed")
        entry: Entry | None = None
        try:
            status = os.fstat(fd)
            entry = Entry(decode(read_fd(fd, status), digest), self._objects, fd)
            if check_files:
                entry.check()
                touch(fd, status)
        except UnknownFormatError as error:
            absent = Absent(f"the entry has the unknown format {error}")
        except DamagedError as error:
            absent = self._damaged(path, digest, str(error), fd)
        except OSError as error:
            absent = self._unreadable(digest, error)
        else:
            return entry
        if entry is not None:
            entry.close()
        else:
            os.close(fd)
        return absent

    def _unreadable(self, digest: str, error: OSError) -> Absent:
        """Say that the system could not read an entry. It stays: nothing may be wrong with it."""
        self._tell(f"The cache entry {digest} of {self._root} cannot be read: {error.strerror}.")
        return Absent(f"cannot be read: {error.strerror}")

    def _damaged(self, path: str, digest: str, reason: str, fd: int | None = None) -> Absent:
        """Remove a damaged entry, so that the next one stored heals it, and say so."""
        with contextlib.suppress(OSError):
            if fd is None or os.path.samestat(os.fstat(fd), os.lstat(path)):  # not one that healed it already
                os.unlink(path)
        self._tell(f"The cache entry {digest} of {self._root} is left out: it {reason}.")
        return Absent("damaged entry")
