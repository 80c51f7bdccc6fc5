"""Questions that a trace asked the process or the machine, to be asked again before its program is used."""

from __future__ import annotations

import importlib
import sys
from ast import literal_eval
from collections.abc import Callable, Mapping
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, NamedTuple

from passprint.compiler.guards.refs import find
from passprint.identity import canonical

_SHOWN = 80


class Asked(NamedTuple):
    """A function by name, its arguments, and the answer as text."""

    module: str
    path: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    answer: str

    def __str__(self) -> str:
        if self.is_of(has):
            return f"hasattr({self.args[0]}, {self.args[1]!r})"
        if self.is_of(names):
            return f"dir({'.'.join(filter(None, self.args))})"
        given = [*map(repr, self.args), *(f"{name}={value!r}" for name, value in self.kwargs.items())]
        return f"{self.module}.{self.path}({', '.join(given)})"

    def is_of(self, function: Callable[..., Any]) -> bool:
        """Whether it asks a function of this file."""
        return (self.module, self.path) == (function.__module__, function.__qualname__)


def has(module: str, name: str) -> bool:
    """Whether a module has an attribute: Dynamo guards on those that are there, and not on that one is missing."""
    return hasattr(_module(module), name)


def names(module: str, path: str) -> list[str]:
    """What ``dir`` gives for a module, or for what ``path`` names in it."""
    return dir(find(module, path) if path else _module(module))


def _module(name: str) -> ModuleType:
    return sys.modules.get(name) or importlib.import_module(name)


def answer(asked: Asked) -> str:
    """What the function says here. Where a module lies does not count, only that it is there.

    Raises :class:`OpaqueError` for an answer that is no plain data, and whatever the function raises.
    """
    function: Any = find(asked.module, asked.path)
    given = function(*asked.args, **asked.kwargs)
    if isinstance(given, ModuleSpec):
        return f"a module {given.name}"
    canonical(given)
    return repr(given)


def difference(asked: Asked) -> str | None:
    """Why a program that holds the answer may not be used, or None."""
    try:
        present = answer(asked)
    except Exception as error:  # noqa: BLE001 - told: another function may raise anything
        present = f"a {type(error).__name__}"
    if present == asked.answer:
        return None
    if asked.is_of(names):
        return f"{asked} {_changed(asked.answer, present)}"
    return f"{asked} gave {asked.answer[:_SHOWN]} and gives {present[:_SHOWN]}"


def _changed(before: str, present: str) -> str:
    """Which names came and went, of two lists of them as texts."""
    try:
        was, now = set(literal_eval(before)), set(literal_eval(present))
    except (SyntaxError, ValueError):  # it could not be asked
        return f"gives {present[:_SHOWN]}"
    gained = [f"has gained {name}" for name in sorted(now - was)]
    lost = [f"has lost {name}" for name in sorted(was - now)]
    return ", ".join([*gained, *lost][:3])
