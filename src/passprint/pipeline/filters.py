"""Only and skip: which passes run, without touching code.

``PASSPRINT_PASSES="-fuse-rms-norm"`` leaves a pass out, ``PASSPRINT_PASSES="fold-reshapes,drop-clones"`` runs only
these, and ``name#2`` is the second pass of that name at its hook. A pipeline under a selection is the pipeline
without the passes left out, and has the identity of that.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from passprint.errors import PipelineError
from passprint.pipeline.limits import VARIABLE as LIMIT_VARIABLE
from passprint.pipeline.reading import marked
from passprint.warned import warn

PASSES_VARIABLE = "PASSPRINT_PASSES"

_NAME = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9_-]*)(?:#(?P<number>[1-9][0-9]*))?")


class SelectionWarning(UserWarning):
    """A selection names a pass that is nowhere."""


@dataclass(frozen=True)
class Chosen:
    """A name in a selection; ``number`` is which of the passes of that name, from 1, or None for all."""

    name: str
    number: int | None = None

    def __str__(self) -> str:
        return self.name if self.number is None else f"{self.name}#{self.number}"


@dataclass(frozen=True)
class Selection:
    """Which passes run: all, or ``only`` these, but not ``skip``."""

    only: tuple[Chosen, ...] = ()
    skip: tuple[Chosen, ...] = ()

    def __str__(self) -> str:
        return ",".join([*map(str, self.only), *(f"-{one}" for one in self.skip)])

    def takes(self, name: str, number: int) -> bool:
        """Whether the pass runs that is the ``number``-th of this name."""
        wanted = not self.only or any(_is(one, name, number) for one in self.only)
        return wanted and not any(_is(one, name, number) for one in self.skip)

    def warn_of_unknown(self, members: Sequence[str]) -> None:
        """Warn, once, of names that neither ``members`` nor any known pass has."""
        _warn_of_unknown(self, tuple(sorted(set(members))))


def parse_selection(text: str | None) -> Selection | None:
    """The selection that ``text`` says, or None for all passes. Raises PipelineError for a name that is none."""
    only: list[Chosen] = []
    skip: list[Chosen] = []
    end = -1
    for item in (text or "").split(","):
        start, end = end + 1, end + 1 + len(item)
        word = item.strip()
        if not word:
            continue
        at = start + item.index(word)
        found = _NAME.fullmatch(word.removeprefix("-"))
        if found is None:
            raise PipelineError(
                "a selection of passes names them (name, -name to leave one out, name#2 for the second one), "
                f"and {word!r} is no such name\n{marked(text or '', at, at + len(word))}"
            )
        number = found["number"]
        chosen = Chosen(found["name"], int(number) if number else None)
        (skip if word.startswith("-") else only).append(chosen)
    return Selection(tuple(only), tuple(skip)) if only or skip else None


class _Environment:
    """What the environment asks of every pipeline, noticed without decoding it: ``uuid()`` asks very often."""

    # The manager's identity says what is selected.
    __fingerprint_ignore__ = ("_raw", "_passes", "_limit", "_inside")

    def __init__(self) -> None:
        self._raw = vars(os.environ)["_data"]
        encode = vars(os.environ)["encodekey"]
        self._passes, self._limit = encode(PASSES_VARIABLE), encode(LIMIT_VARIABLE)
        self._inside: ContextVar[tuple[Selection | None] | None] = ContextVar(
            "passprint_selection", default=None
        )

    def selection(self) -> Selection | None:
        inside = self._inside.get()
        if inside is not None:
            return inside[0]
        return _from_environment(os.environ[PASSES_VARIABLE]) if self._passes in self._raw else None

    def is_limited(self) -> bool:
        return self._limit in self._raw

    @contextmanager
    def selecting(self, selection: Selection | None) -> Iterator[None]:
        token = self._inside.set((selection,))
        try:
            yield
        finally:
            self._inside.reset(token)


@functools.lru_cache(maxsize=64)
def _from_environment(text: str) -> Selection | None:
    try:
        return parse_selection(text)
    except PipelineError as error:
        raise PipelineError(f"{PASSES_VARIABLE}: {error}") from error


_environment = _Environment()

#: The selection that holds in this thread: the innermost `selected` block's, else the environment's.
current_selection = _environment.selection

#: Whether ``PASSPRINT_LIMIT`` is set at all.
is_limited = _environment.is_limited


@contextmanager
def selected(passes: str | None = None) -> Iterator[None]:
    """Within the block, pipelines of this thread run only what ``passes`` says, as ``PASSPRINT_PASSES`` would.

    It stands in for the environment's; ``selected()`` selects everything. Raises PipelineError for a text that
    cannot be
    read.
    """
    selection = parse_selection(passes)
    if selection is not None:
        # Where nothing has imported the default pipeline, a warm start takes it to be whole and does not look.
        import passprint.passes.library  # noqa: F401
    with _environment.selecting(selection):
        yield


def _is(chosen: Chosen, name: str, number: int) -> bool:
    return chosen.name == name and chosen.number in (None, number)


@functools.lru_cache(maxsize=64)
def _warn_of_unknown(selection: Selection, members: tuple[str, ...]) -> None:
    from passprint.pipeline.registry import nearest, pass_names

    known = {*members, *pass_names()}
    for chosen in (*selection.only, *selection.skip):
        if chosen.name not in known:
            warn(
                f"the selection of passes names {chosen.name!r}, and there is no such pass"
                f"{nearest(chosen.name, known)}",
                SelectionWarning,
            )
