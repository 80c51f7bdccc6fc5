"""Whether anything that a program depends on has changed since it was last looked at, by pointer and at every call.

The walk of the ledger collects what it went through: the model's modules, their classes, containers, globals, cells.
While all of that holds the very objects that it held, nothing has changed, which the C check of the identity room says
in microseconds. Where something has, the walk is done again: what counts is what it finds, not which objects there are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from passprint.compiler.guards.refs import CannotRecordError
from passprint.identity.guards import build_check
from passprint.identity.memo import CHANGED


class Walked(Protocol):
    """What a walk found."""

    @property
    def digest_at_call(self) -> str: ...

    @property
    def watched(self) -> Sequence[tuple[Any, ...]]: ...


class Watch:
    """One walk, and the check that its objects are the same; ``again`` walks once more."""

    def __init__(self, walked: Walked, again: Callable[[], Walked]) -> None:
        self._digest = walked.digest_at_call
        self._rows: Sequence[tuple[Any, ...]] = walked.watched
        self._again = again
        self._check: Callable[[tuple[Any, ...]], bool] | None = None

    def unchanged(self) -> bool:
        """Whether every object is the one that it was."""
        if self._check is None:
            self._check = build_check(list(self._rows))
            self._rows = ()
        try:
            return self._check(())
        except CHANGED:
            return False

    def renewed(self) -> bool:
        """Walk again: whether all that counts is the same, whatever objects it is in by now."""
        try:
            walked = self._again()
        except CannotRecordError:
            return False
        if walked.digest_at_call != self._digest:
            return False
        self._rows, self._check = walked.watched, None
        return True


def ordered(everything: Sequence[Any], first: Sequence[int]) -> list[Any]:
    """The items at ``first``, in that order, and then the others."""
    chosen = set(first)
    return [everything[index] for index in first] + [
        item for index, item in enumerate(everything) if index not in chosen
    ]
