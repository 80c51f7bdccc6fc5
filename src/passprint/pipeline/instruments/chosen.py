"""Instruments by name: ``PASSPRINT_INSTRUMENTS=verify,timing`` listens to every pipeline of the process."""

from __future__ import annotations

import atexit
import importlib
import inspect
import os
import re
from collections.abc import Iterable
from threading import Lock
from typing import Any

from passprint.errors import PipelineError
from passprint.pipeline.instruments.base import Instrument
from passprint.pipeline.reading import Reader
from passprint.pipeline.registry import nearest
from passprint.pipeline.values import WrongType, read_value

VARIABLE = "PASSPRINT_INSTRUMENTS"

#: Name → the module of this folder and the class in it. Modules are imported when an instrument is asked for.
SHIPPED: dict[str, tuple[str, str]] = {
    "timing": ("timing", "Timing"),
    "statistics": ("statistics", "Statistics"),
    "dump": ("dump", "Dump"),
    "draw": ("draw", "Draw"),
    "verify": ("verify", "Verify"),
    "numerics": ("numerics", "Numerics"),
    "reproduce": ("reproduce", "Reproduce"),
    "trail": ("trail", "Trail"),
    "overlaps": ("overlaps", "Overlaps"),
    "record": ("record", "Record"),
}

_NAME = re.compile(r"[A-Za-z0-9_-]+")


def instruments_from_text(text: str) -> tuple[Instrument, ...]:
    """The instruments that ``text`` names: ``"verify,dump{folder='graphs'}"``; "" names none.

    Raises PipelineError, with a caret under the mistake, for a name that no instrument has, and for options that it
    does not take.
    """
    reader = Reader(text)
    found: list[Instrument] = []
    reader.skip_space()
    while reader.peek():
        found.append(_member(reader))
        reader.skip_space()
        if reader.peek() not in ("", ","):
            reader.fail(
                reader.at,
                reader.at + 1,
                f"{reader.peek()!r} was not expected in a list of instruments; a comma was, as in "
                "\"verify,dump{folder='graphs'}\"",
            )
        reader.at += 1
        reader.skip_space()
    return tuple(found)


def _member(reader: Reader) -> Instrument:
    start = reader.at
    match = _NAME.match(reader.text, start)
    if match is None:
        reader.fail(
            start, start + 1, f"the name of an instrument was expected and {reader.peek()!r} was found"
        )
    name, reader.at = match.group(), match.end()
    if name not in SHIPPED:
        reader.fail(start, reader.at, f"there is no instrument called {name!r}{nearest(name, SHIPPED)}")
    module, class_name = SHIPPED[name]
    kind = getattr(importlib.import_module(f"passprint.pipeline.instruments.{module}"), class_name)
    reader.skip_space()
    options = _options(reader, name, list(inspect.signature(kind).parameters)) if reader.peek() == "{" else {}
    try:
        made: Instrument = kind(**options)
    except (TypeError, ValueError) as error:
        reader.fail(start, reader.at, f"the instrument {name!r} does not take these options: {error}")
    return made


def _options(reader: Reader, name: str, known: list[str]) -> dict[str, Any]:
    opened = reader.at
    options = {}
    for given in reader.given(reader.brackets("brace"), opened + 1):
        key, start = given.key, given.start
        if key not in known:
            problem = f"the instrument {name!r} has no option {key!r}{nearest(key, known)}"
            reader.fail(start, start + len(key), problem)
        try:
            options[key] = read_value(given.value)
        except WrongType as error:
            problem = f"the instrument {name!r} takes {key} as {error.expected}"
            reader.fail(given.value_start, given.value_end, problem)
    return options


def checked_instruments(instruments: Iterable[Any]) -> tuple[Instrument, ...]:
    """``instruments`` as a tuple; raises PipelineError for what is none."""
    if isinstance(instruments, str):
        return instruments_from_text(instruments)
    members = tuple(instruments)
    for member in members:
        if not isinstance(member, Instrument):
            hint = (
                f"give an instance, {member.__name__}()"
                if isinstance(member, type)
                else "see docs/instruments.md"
            )
            raise PipelineError(
                f"instruments= holds {member!r} ({type(member).__name__}); expected objects such as "
                f"passprint.instruments.Timing(): {hint}"
            )
    return members


class _FromEnvironment:
    """The instruments that the environment asks for: made once per text, closed when the process ends."""

    # Who listens is no part of what a pass does.
    __fingerprint_ignore__ = ("_raw", "_key", "_text", "_instruments", "_lock")

    def __init__(self) -> None:
        # every run of a pipeline asks, so nothing is decoded where nothing is asked for
        self._raw, self._key = vars(os.environ)["_data"], vars(os.environ)["encodekey"](VARIABLE)
        self._text = ""
        self._instruments: tuple[Instrument, ...] = ()
        self._lock = Lock()

    def get(self) -> tuple[Instrument, ...]:
        if not self._text and self._key not in self._raw:
            return ()
        text = os.environ.get(VARIABLE, "")
        if text != self._text:
            with self._lock:
                self._replace(text)
        return self._instruments

    def _replace(self, text: str) -> None:
        try:
            made = instruments_from_text(text)
        except PipelineError as error:
            raise PipelineError(f"{VARIABLE}: {error}") from error
        self.close()
        self._text, self._instruments = text, made
        atexit.unregister(self.close)
        atexit.register(self.close)

    def close(self) -> None:
        for one in self._instruments:
            one.close()
        self._text, self._instruments = "", ()


from_environment = _FromEnvironment()
"""The one holder of what ``PASSPRINT_INSTRUMENTS`` asks for."""
