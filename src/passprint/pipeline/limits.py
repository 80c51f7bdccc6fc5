"""``PASSPRINT_LIMIT``: only so many pass runs or rewrites in a process, to find the one that does harm.

``17``: the first 17 rewrites. ``passes=5``: the first five runs of a pass. ``passes=5,rewrites=2``: the same, and of
the fifth only its first two rewrites. A limit counts over all graphs of the process, so while it is set nothing is
cached.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from threading import Lock

from passprint.errors import PipelineError

VARIABLE = "PASSPRINT_LIMIT"

_TEXT = re.compile(r"(?:(?P<only>\d+)|passes=(?P<passes>\d+)(?:,rewrites=(?P<rewrites>\d+))?)")


def limit_text() -> str | None:
    """What the environment says, or None; cheap enough for every lookup."""
    return os.environ.get(VARIABLE) or None


@dataclass
class Limit:
    """What may still be done. ``passes`` and ``rewrites`` count down; None is no limit.

    With ``passes``, ``rewrites`` holds for the last of them only.
    """

    passes: int | None
    rewrites: int | None

    @classmethod
    def parse(cls, text: str) -> Limit:
        """Read the variable's text; raises PipelineError for anything else than the three forms above."""
        found = _TEXT.fullmatch(text.strip())
        if found is None:
            raise PipelineError(
                f"{VARIABLE}={text!r} is no limit; write 17 (rewrites), passes=5, or passes=5,rewrites=2"
            )
        if found["only"] is not None:
            return cls(None, int(found["only"]))
        return cls(int(found["passes"]), None if found["rewrites"] is None else int(found["rewrites"]))

    def begin_pass(self) -> bool:
        """Whether one more pass may run; counts it."""
        if self.passes is None:
            return True
        if self.passes == 0:
            return False
        self.passes -= 1
        return True

    @property
    def remaining(self) -> int | None:
        """How many rewrites the pass that began last may make; None for any number."""
        return self.rewrites if not self.passes else None

    def take(self, rewrites: int = 1) -> bool:
        """Whether so many more rewrites may be made; counts them if so."""
        remaining = self.remaining
        if remaining is None or self.rewrites is None:
            return True
        if rewrites > remaining:
            return False
        self.rewrites -= rewrites
        return True


class _FromEnvironment:
    """The process's limit: one object for one text, so that it counts over all graphs."""

    # A pipeline with a limit has no identity at all.
    __fingerprint_ignore__ = ("_text", "_limit", "_lock")

    def __init__(self) -> None:
        self._text: str | None = None
        self._limit: Limit | None = None
        self._lock = Lock()

    def get(self) -> Limit | None:
        """The limit that is in force, or None."""
        text = limit_text()
        if text != self._text:
            with self._lock:
                self._limit = None if text is None else Limit.parse(text)
                self._text = text
        return self._limit


process_limit = _FromEnvironment()
"""The one holder of the process's limit."""
