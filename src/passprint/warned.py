"""Warnings that point at the user's own line, however deep in a compile they are found."""

from __future__ import annotations

import sys
import warnings
from types import FrameType

#: What stands between a user's line and the place of a warning.
_BETWEEN = frozenset({"passprint", "torch", "contextlib", "threading", "concurrent"})


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the innermost line that is neither ours nor torch's: a call that compiled, the end of a block, a pass.

    Where there is none, at the caller's.
    """
    caller = sys._getframe(1)
    frame: FrameType | None = caller
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _BETWEEN:
        frame = frame.f_back
    place = frame or caller
    warnings.warn_explicit(
        message,
        category,
        place.f_code.co_filename,
        place.f_lineno,
        module=place.f_globals.get("__name__") or "<unknown>",
        registry=place.f_globals.setdefault("__warningregistry__", {}),
    )
