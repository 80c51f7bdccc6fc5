"""Writing objects and records into a cache folder, where others read, write and sweep at the same time."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from typing import Final

from passprint.cache.files import DamagedError, check_file, read_fd, try_lock, write_whole
from passprint.cache.folder import make_shard, sharded
from passprint.cache.limits import REPLACED
from passprint.cache.record import Record, StoredFile, UnknownFormatError, decode

_TOUCH_AFTER: Final = 60.0  # seconds: use is noted once a minute, not at every hit


def put_object(objects: str, stored: StoredFile, data: bytes) -> bool:
    """Write an object, unless a whole one is there; whether it was written."""
    path = sharded(objects, stored.sha256)
    with contextlib.suppress(DamagedError, OSError):  # not there, or damaged: written (again)
        check_file(path, stored.size, stored.sha256)
        return False
    make_shard(path)
    write_whole(path, data)
    return True


def put_record(entries: str, record: Record, encoded: bytes) -> None:
    """Write a record, in place of one of the same key. Who uses the old one keeps it."""
    path = sharded(entries, record.key)
    make_shard(path)
    try:
        fd = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
    except FileNotFoundError:
        write_whole(path, encoded)
        return
    except OSError:
        os.unlink(path)  # a link, a folder: not ours; what cannot be removed is reported by the caller
        write_whole(path, encoded)
        return
    try:
        with contextlib.suppress(DamagedError, UnknownFormatError):
            status = os.fstat(fd)
            if decode(read_fd(fd, status), record.key).same_content(record):
                touch(fd, status)
                return
        if not try_lock(fd, exclusive=True):
            # Someone uses the old entry: it keeps another name, so that a sweep sees what it needs.
            with contextlib.suppress(OSError):  # it was removed meanwhile, or links are not possible here
                os.link(path, f"{path}{REPLACED}{secrets.token_hex(6)}")
        write_whole(path, encoded)
    finally:
        os.close(fd)


def touch(fd: int, status: os.stat_result) -> None:
    """Note that a record was used. Its modification time is the time of its last use."""
    if abs(time.time() - status.st_mtime) > _TOUCH_AFTER:
        with contextlib.suppress(OSError):
            os.utime(fd)
