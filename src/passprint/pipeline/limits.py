"""``PASSPRINT_LIMIT``: only so many rewrites or pass runs, to find the one that does harm.

``17``: on every graph, the first 17 rewrites of the pipeline. That is a property of the graph's compile, so it is
part of the pipeline's identity, and cached by it.
``passes=5``: the first five runs of a pass in the process, and ``passes=5,rewrites=2``: of the fifth only its first
two rewrites. What `passprint bisect` asks for. It counts over all graphs of a process, which no key describes, so
while it is set nothing is cached.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from threading import Lock

from passprint.errors import PipelineError

VARIABLE = "PASSPRINT_LIMIT"

_TEXT = re.compile(r"(?:(?P<only>\d+)|passes=(?P<passes>\d+)(?:,rewrites=(?P<rewrites>\d+))?)")


def limit_text() -> str | None:
    """What the environment says, or None."""
    return os.environ.get(VARIABLE) or None


def limit_identity() -> str | None:
    """The limit as a part of an identity; None where none is set.

    Raises PipelineError for a limit that counts over the whole process: nothing has an identity then.
    """
    text = limit_text()
    if text is None:
        return None
    limit = Limit.parse(text)
    if limit.passes is not None:
        raise PipelineError(
            f"{VARIABLE}={text} leaves out passes by a count over the whole process, which no key describes, so "
            "nothing is cached; unset it to cache again"
        )
    return f"the first {limit.rewrites} rewrites of a graph"


@dataclass
class Limit:
    """What may still be done. ``passes`` and ``rewrites`` count down; None is no limit.

    With ``passes``, ``rewrites`` holds for the last of them only. Without, it holds for one graph.
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
    """The limit that the environment sets; one that counts over the process is one object while its text stands."""

    # The manager's identity says what the limit is; with one that counts over the process there is none.
    __fingerprint_ignore__ = ("_text", "_limit", "_lock")

    def __init__(self) -> None:
        self._text: str | None = None
        self._limit: Limit | None = None
        self._lock = Lock()

    def for_graph(self) -> Limit | None:
        """The limit for a pipeline that begins to work on a graph, or None."""
        text = limit_text()
        if text != self._text:
            with self._lock:
                self._limit = None if text is None else Limit.parse(text)
                self._text = text
        limit = self._limit
        return limit if limit is None or limit.passes is not None else replace(limit)

    def forget(self) -> None:
        """Count anew."""
        with self._lock:
            self._text = self._limit = None


environment_limit = _FromEnvironment()
"""The one holder of the limit that the environment sets."""
