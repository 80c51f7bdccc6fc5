"""A file that many processes append lines to, and that is made shorter when it has grown.

Appending holds a shared lock and shortening an exclusive one, so no line is lost, and a killed process leaves at
most one torn line at the end of its own write.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Final

from passprint.cache.files import FILE_MODE, mistrust, try_lock, wait_lock, write_all, write_whole

_TRIES: Final = 100
_APPEND: Final = (
    os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
)


class Lines:
    """The lines in the file ``path``; above ``limit`` bytes, ``shorten`` gives the bytes to go on with."""

    def __init__(self, path: str, limit: int, shorten: Callable[[bytes], bytes]) -> None:
        self.path = path
        self._limit = limit
        self._shorten = shorten

    def append(self, line: bytes) -> None:
        """Append one line, its end included. Raises ``OSError`` when that is not possible."""
        if self._append(line) > self._limit:
            with contextlib.suppress(OSError):  # the file only stays longer
                self._fold()

    def read(self) -> bytes:
        """All lines; none where there is no file, or one that others could have written."""
        with contextlib.suppress(OSError), open(self.path, "rb") as file:
            if mistrust(os.fstat(file.fileno())) is None:
                return file.read()
        return b""

    def remove(self) -> None:
        """Begin again without a line."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)

    def _append(self, line: bytes) -> int:
        for _ in range(_TRIES):
            fd = os.open(self.path, _APPEND, FILE_MODE)
            try:
                if not wait_lock(fd, exclusive=False, timeout=1.0):
                    raise TimeoutError(f"{self.path} stays locked")
                if os.fstat(fd).st_nlink == 0:  # made shorter and replaced since it was opened
                    continue
                write_all(fd, line)
                return os.fstat(fd).st_size
            finally:
                os.close(fd)
        raise TimeoutError(f"{self.path} is replaced all the time")

    def _fold(self) -> None:
        fd = os.open(self.path, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
        try:
            if not try_lock(fd, exclusive=True) or os.fstat(fd).st_nlink == 0:
                return  # someone appends or shortens at this moment; the next line tries again
            write_whole(self.path, self._shorten(os.pread(fd, os.fstat(fd).st_size, 0)))
        finally:
            os.close(fd)
