"""Instruments by name: ``PASSPRINT_INSTRUMENTS=verify,timing`` listens to every pipeline of the process."""

from __future__ import annotations

import ast
import atexit
import importlib
import os
import re
from collections.abc import Iterable
from threading import Lock
from typing import Any

from passprint.errors import PipelineError
from passprint.pipeline.instruments.base import Instrument
from passprint.pipeline.registry import nearest

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
}

_MEMBER = re.compile(r"\s*([a-z][a-z0-9-]*)\s*(\{[^{}]*\})?\s*(?:,|$)")


def instruments_from_text(text: str) -> tuple[Instrument, ...]:
    """The instruments that ``text`` names: ``"verify,dump{folder='graphs'}"``; "" names none.

    Raises PipelineError for a name that no instrument has, and for options that it does not take.
    """
    found: list[Instrument] = []
    at = 0
    while text[at:].strip():
        member = _MEMBER.match(text, at)
        if member is None:
            raise PipelineError(
                f"{text[at:].strip()!r} is no list of instruments; write it as in "
                "\"verify,dump{folder='graphs'}\""
            )
        at = member.end()
        found.append(_make(member.group(1), member.group(2)))
    return tuple(found)


def _make(name: str, options: str | None) -> Instrument:
    if name not in SHIPPED:
        raise PipelineError(f"there is no instrument called {name!r}{nearest(name, SHIPPED)}")
    module, class_name = SHIPPED[name]
    kind = getattr(importlib.import_module(f"passprint.pipeline.instruments.{module}"), class_name)
    try:
        call = ast.parse(f"f({(options or '{}')[1:-1]})", mode="eval").body
        assert isinstance(call, ast.Call) and not call.args  # noqa: PT018 - what `f(...)` parses to
        given = {str(one.arg): ast.literal_eval(one.value) for one in call.keywords}
        made: Instrument = kind(**given)
    except (SyntaxError, AssertionError, TypeError, ValueError) as error:
        raise PipelineError(
            f"the instrument {name!r} does not take the options {options}: {error}. "
            f"Write {{key=value,key=value}}; {kind.__name__}'s docstring lists them"
        ) from error
    return made


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
        made = instruments_from_text(text)
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
