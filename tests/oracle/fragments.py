"""A fragment: one piece of state, one way to read it, and the mutations of it.

A kind is a function that fills a fragment in. Its texts have slots: ``<k>`` is the present choice of slot ``k``,
``<n>`` the fragment's own name. In live code ``o`` is the object that owns the state.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

PLACES = ("main", "a", "b", "c")
"""The modules of a model's package: the one with the model, and three with helpers."""


@dataclass
class Slot:
    """A text that varies: the base has the first choice. ``reads``: whether forward can see which it is."""

    choices: list[str]
    reads: bool


@dataclass
class Live:
    """Statements that mutate a model or its modules while they are in use."""

    name: str
    code: str
    reads: bool


@dataclass
class Fragment:
    """What one kind adds to a model.

    ``whole``: what it lists as a whole ("self", "a", "env", "order" of sets), so that a mutation there can be seen.
    """

    kind: str
    name: str
    random: Random
    tops: dict[str, list[str]] = field(default_factory=lambda: {place: [] for place in PLACES})
    inits: list[str] = field(default_factory=list)
    members: list[str] = field(default_factory=list)
    inherited: list[str] = field(default_factory=list)
    body: list[str] = field(default_factory=list)
    expression: str = "0"
    slots: dict[str, Slot] = field(default_factory=dict)
    lives: list[Live] = field(default_factory=list)
    variables: dict[str, Slot] = field(default_factory=dict)
    whole: set[str] = field(default_factory=set)

    def slot(self, name: str, *choices: Any, reads: bool = True) -> None:
        """A text that forward can read, by default one of a few small numbers."""
        given = [str(choice) for choice in choices] or [str(n) for n in self.random.sample(range(1, 7), 3)]
        self.slots[name] = Slot(given, reads)

    def idle(self, name: str, *choices: Any) -> None:
        """A text that changes nothing that forward can read."""
        self.slot(name, *choices, reads=False)

    def top(self, place: str, text: str) -> None:
        """Statements of a module."""
        self.tops[place].append(_plain(text))

    def init(self, text: str) -> None:
        """Statements of the owner's ``__init__``."""
        self.inits.append(_plain(text))

    def member(self, text: str, *, inherited: bool = False) -> None:
        """A method or an attribute of the owner's class, or of its base class."""
        (self.inherited if inherited else self.members).append(_plain(text))

    def value(self, expression: str, *before: str) -> None:
        """The small number that forward reads, and the statements before it."""
        self.body.extend(before)
        self.expression = expression

    def live(self, name: str, code: str, *, reads: bool = True) -> None:
        """A mutation by statements. They know ``m``, the modules, ``os`` and ``torch``."""
        self.lives.append(Live(name, code, reads))

    def variable(self, name: str, *choices: str | None, reads: bool = True) -> None:
        """An environment variable; None: it is not set."""
        self.variables[self.fill(name)] = Slot([choice or "" for choice in choices], reads)

    def pick(self, *options: Any) -> Any:
        """One of several ways."""
        return self.random.choice(options)

    def fill(self, text: str, chosen: dict[str, str] | None = None) -> str:
        """A text with its slots filled in."""

        def of(match: re.Match[str]) -> str:
            name = match[1]
            if name == "n":
                return self.name
            if name not in self.slots:
                return match[0]
            return (chosen or {}).get(name, self.slots[name].choices[0])

        for _ in range(3):  # choices have slots too
            text = re.sub(r"<(\w+)>", of, text)
        return text


def _plain(text: str) -> str:
    """A text without the indentation that it has in a kind's source."""
    return textwrap.dedent(text).strip()


Kind = Callable[[Fragment], None]
KINDS: dict[str, Kind] = {}


def kind(function: Kind) -> Kind:
    """Register a kind under its function's name."""
    KINDS[function.__name__] = function
    return function


def named(names: Sequence[str]) -> list[str]:
    """The kinds whose names start with one of these; all where there is none."""
    return [name for name in KINDS if not names or any(name.startswith(start) for start in names)]
