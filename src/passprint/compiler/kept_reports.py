"""The reports of the last starts, beside the cache that they used: what ``passprint report`` shows.

A cold start writes its report when it is over, a warm one when its process ends, so that nobody waits for it.
Keeping never fails: without a cache folder, or where it cannot be written, nothing is kept.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from passprint.compiler.record import CompileReport

FOLDER: Final = "reports"
MOST: Final = 20
"""So many reports are kept beside one cache."""

_MOST_WAITING: Final = 8
_waiting: OrderedDict[str, CompileReport] = OrderedDict()


def keep(report: CompileReport) -> None:
    """Keep a report that has changed: at once where something was compiled, or when the process ends."""
    if report.status in ("cold", "bypass"):
        _waiting.pop(report.name, None)
        _write(report)
        return
    if not _waiting:
        atexit.register(_write_waiting)
    _waiting[report.name] = report
    if len(_waiting) > _MOST_WAITING:
        _waiting.popitem(last=False)


def kept(root: Path) -> list[Path]:
    """The reports that are kept beside the cache ``root``, the newest first."""
    return newest_first(root / FOLDER, ".json")


def newest_first(folder: Path, suffix: str) -> list[Path]:
    """The files of a folder with this ending, the newest first; none where there is no such folder."""
    with contextlib.suppress(OSError):
        found = [(item.stat().st_mtime_ns, item.path) for item in os.scandir(folder)]
        return [Path(path) for _, path in sorted(found, reverse=True) if path.endswith(suffix)]
    return []


def write_bounded(folder: Path, name: str, text: str, most: int) -> None:
    """Write a file that a reader never sees in part, and remove the oldest with its ending beyond ``most``.

    Raises OSError.
    """
    suffix = os.path.splitext(name)[1]
    part = folder / f".{name}.{os.getpid()}"
    part.write_text(text, encoding="utf-8")
    os.replace(part, folder / name)
    for old in newest_first(folder, suffix)[most:]:
        old.unlink(missing_ok=True)


def _write_waiting() -> None:
    while _waiting:
        _, report = _waiting.popitem()
        _write(report)


def _write(report: CompileReport) -> None:
    root: Any = None if report.store is None else getattr(report.store.here, "root", None)
    if root is None or not os.path.isdir(root):
        return
    folder = Path(root) / FOLDER
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
        write_bounded(folder, f"{report.name}.json", json.dumps(report.to_dict()), MOST)
