"""What a trace relies on and Dynamo does not guard on, noted while it traces, by layers that passprint puts in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import NamedTuple

from passprint.compiler.start.asked import Asked


class Folded(NamedTuple):
    """One answer that was taken for a constant: what a later process has to ask, or why nothing can be recorded."""

    asked: Asked | None
    reason: str = ""


@dataclass
class Notes:
    """The answers of one trace, and the sources of the dicts and sets whose order it went through.

    ``is_merging``: what is gone through just now makes the same of any order.
    """

    folded: list[Folded] = field(default_factory=list)
    ordered: list[str] = field(default_factory=list)
    is_merging: bool = False

    def refuse(self, reason: str) -> None:
        """Note why no record can hold this trace."""
        self.folded.append(Folded(None, reason))


_notes: ContextVar[Notes | None] = ContextVar("passprint_notes", default=None)


def current() -> Notes | None:
    """The notes of the trace that this thread is at; what is traced for anybody else is noted nowhere."""
    return _notes.get()


@contextmanager
def noted() -> Iterator[Notes]:
    """What Dynamo meets in this thread from here on."""
    notes = Notes()
    token = _notes.set(notes)
    try:
        yield notes
    finally:
        _notes.reset(token)
