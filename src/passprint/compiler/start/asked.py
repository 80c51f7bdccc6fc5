"""Questions that a trace asked the process or the machine, to be asked again before its program is used."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from importlib.machinery import ModuleSpec
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
        if self.path == has.__name__:
            return f"hasattr({self.args[0]}, {self.args[1]!r})"
        given = [*map(repr, self.args), *(f"{name}={value!r}" for name, value in self.kwargs.items())]
        return f"{self.module}.{self.path}({', '.join(given)})"


def has(module: str, name: str) -> bool:
    """Whether a module has an attribute: Dynamo guards on those that are there, and not on that one is missing."""
    return hasattr(sys.modules.get(module) or importlib.import_module(module), name)


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
    return f"{asked} gave {asked.answer[:_SHOWN]} and gives {present[:_SHOWN]}"
