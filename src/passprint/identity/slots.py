"""What a walk read, so that asking again can compare pointers in place of walking.

Each thing read is a row: ``(kind, owner, expected)`` or ``(kind, owner, key, expected)``. Rows belong to the node
that was being expanded when they were read, so that a node settled by one walk can be taken into another.
"""

from __future__ import annotations

import gc
from collections import defaultdict
from collections.abc import Callable
from operator import attrgetter
from types import MappingProxyType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Row = tuple[Any, ...]

# The kinds of rows; _check.c has the same numbers.
REFERS = 0
"""``(owner, objects)``: all that the garbage collector sees the owner refer to."""
MAPPING = 1
"""``(dict, snapshot)``: the keys and values of a plain dict, in order."""
NAME = 2
"""``(dict, name, object)``: one item of a namespace; `ABSENT` for a name that is not there."""
ITEMS = 3
"""``(list, objects)``: the items of a list."""
SAME = 4
"""``(owner, read, objects)``: a tuple that ``read(owner)`` makes, compared by pointer."""
EQUAL = 5
"""``(owner, read, value)``: what ``read(owner)`` computes, compared by value."""
NEVER = 6
"""Something that only walking again can tell."""
CLASS = 7
"""``(class, name, objects)``: as `REFERS`, and its ``__name__``, which the collector does not see."""
KINDS = 8
"""How many kinds there are. A C module that was built for another number is left alone."""

ABSENT = object()
ROOT = 0
"""The owner in a row of the object that was asked for, which is handed to the check each time, so that it may die.

In rows that were merged for several objects, their positions.
"""

_DICTS = frozenset({dict, defaultdict})
"""Mappings whose items are all that there is to compare."""

_HEAP_TYPE = 1 << 9
"""The flag of a class that was made at run time; others cannot be renamed."""

_gather = gc.get_referents


def _in_order(mapping: Any) -> tuple[Any, ...]:
    return (*mapping.keys(), *mapping.values())


class Slots:
    """Collects the rows of one walk, node by node: ``rows`` is the list of the node that is being expanded."""

    __slots__ = ("is_about_root", "is_volatile", "root", "rows")

    def __init__(self, root: Any = None) -> None:
        self.root = root
        self.rows: list[Row] = []
        self.is_about_root = False
        self.is_volatile = False

    def name(self, namespace: dict[str, Any], name: str, value: Any) -> None:
        """A name looked up in a module's namespace."""
        self.rows.append((NAME, namespace, name, value))

    def missing(self, namespace: dict[str, Any], name: str) -> None:
        """A name that is not in a namespace: were it added, it would shadow what was found elsewhere."""
        self.rows.append((NAME, namespace, name, ABSENT))

    def refer(self, owner: Any) -> None:
        """All that the interpreter's garbage collector sees an object refer to: a function's code, defaults
        and closure, a class's bases, a cell's content."""
        self.rows.append((REFERS, self._held(owner), _gather(owner)))

    def klass(self, owner: type) -> None:
        """A class's bases, metaclass and name; what is in its namespace is a mapping."""
        if owner.__flags__ & _HEAP_TYPE:
            self.rows.append((CLASS, self._held(owner), owner.__name__, _gather(owner)))
        else:
            self.refer(owner)

    def empty(self, mapping: dict[str, Any]) -> None:
        """A mapping with nothing in it, as most functions' attributes are."""
        self.rows.append((MAPPING, mapping, {}))

    def mapping(self, mapping: Any, snapshot: dict[Any, Any]) -> None:
        """A mapping's keys and values."""
        if type(mapping) is MappingProxyType:
            inner = _gather(mapping)
            if len(inner) == 1 and type(inner[0]) is dict:
                mapping = inner[0]
        if type(mapping) in _DICTS:
            self.rows.append((MAPPING, mapping, snapshot))
        else:
            self.rows.append((SAME, self._held(mapping), _in_order, (*snapshot.keys(), *snapshot.values())))

    def items(self, container: Any, snapshot: tuple[Any, ...]) -> None:
        """The items of a list or set."""
        owner = self._held(container)
        if type(owner) is list:
            self.rows.append((ITEMS, owner, snapshot))
        else:
            self.rows.append((SAME, owner, tuple, snapshot))

    def members(self, owner: Any, names: list[str], values: tuple[Any, ...]) -> None:
        """Attributes kept in ``__slots__``."""
        getter = attrgetter(*names)
        read = getter if len(names) > 1 else (lambda obj: (getter(obj),))
        self.rows.append((SAME, self._held(owner), read, values))

    def made(self, owner: Any, read: Callable[[Any], tuple[Any, ...]], values: tuple[Any, ...]) -> None:
        """What ``read(owner)`` gives: compared by pointer with what whoever asks again would read."""
        self.rows.append((SAME, self._held(owner), read, values))

    def computed(self, read: Callable[[Any], bytes], owner: Any, expected: bytes) -> None:
        """Content that only reading it again can compare: a tensor's."""
        self.rows.append((EQUAL, self._held(owner), read, expected))

    def never(self) -> None:
        """Something was computed, so that only walking again can tell whether it is the same."""
        self.rows.append(NEVER_ROW)
        self.is_volatile = True

    def _held(self, owner: Any) -> Any:
        """What is kept of an owner: the root is handed to the check each time, so that it may die."""
        if owner is not self.root or owner is None:
            return owner
        self.is_about_root = True
        return ROOT


NEVER_ROW: Row = (NEVER, None, None)


def at_position(rows: list[Row], position: int) -> list[Row]:
    """Rows whose root is the object at a position among several."""
    if position == ROOT:
        return rows
    return [(row[0], position, *row[2:]) if type(row[1]) is int else row for row in rows]
