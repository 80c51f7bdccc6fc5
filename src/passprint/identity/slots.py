"""What a walk read, so that asking again can compare pointers in place of walking.

Recorded are the owner, the name and the object of every slot, and a snapshot of every mutable container.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from operator import attrgetter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ROOT = object()
"""Stands for the object that was asked for."""

_gather = gc.get_referents


class Slots:
    """The slots read by one walk."""

    __slots__ = (
        "absent",
        "contents",
        "mappings",
        "names",
        "of_root",
        "references",
        "root",
        "strict",
        "volatile",
    )

    def __init__(self, root: Any = None) -> None:
        self.root = root
        self.of_root: list[Any] | None = None
        self.names: dict[int, tuple[dict[str, Any], dict[str, Any]]] = {}
        self.absent: dict[int, tuple[dict[str, Any], set[str]]] = {}
        self.references: list[tuple[Any, list[Any]]] = []
        self.mappings: list[tuple[Mapping[Any, Any], dict[Any, Any]]] = []
        self.strict: list[tuple[Callable[[Any], Any], Any, tuple[Any, ...]]] = []
        self.contents: list[tuple[Callable[[Any], bytes], Any, bytes]] = []
        self.volatile = False
        """Something was computed, so that only walking again can tell whether it is the same."""

    def name(self, namespace: dict[str, Any], name: str, value: Any) -> None:
        """A name looked up in a module's namespace."""
        entry = self.names.get(id(namespace))
        if entry is None:
            entry = self.names[id(namespace)] = (namespace, {})
        entry[1][name] = value

    def missing(self, namespace: dict[str, Any], name: str) -> None:
        """A name that is not in a namespace: were it added, it would shadow what was found elsewhere."""
        entry = self.absent.get(id(namespace))
        if entry is None:
            entry = self.absent[id(namespace)] = (namespace, set())
        entry[1].add(name)

    def refer(self, owner: Any) -> None:
        """All that the interpreter's garbage collector sees an object refer to: a function's code, defaults
        and closure, a class's bases, a cell's content."""
        found = _gather(owner)
        if owner is self.root:
            self.of_root = found
        else:
            self.references.append((owner, found))

    def empty(self, mapping: dict[str, Any]) -> None:
        """A mapping with nothing in it, as most functions' attributes are."""
        self.references.append((mapping, []))

    def mapping(self, mapping: Mapping[Any, Any], snapshot: dict[Any, Any]) -> None:
        """A mapping's keys and values."""
        self.mappings.append((mapping, snapshot))

    def items(self, container: Any, snapshot: tuple[Any, ...]) -> None:
        """The items of a list or set."""
        self.strict.append((tuple, self._held(container), snapshot))

    def members(self, owner: Any, names: list[str], values: tuple[Any, ...]) -> None:
        """Attributes kept in ``__slots__``."""
        getter = attrgetter(*names)
        read = getter if len(names) > 1 else (lambda obj: (getter(obj),))
        self.strict.append((read, self._held(owner), values))

    def computed(self, read: Callable[[Any], bytes], owner: Any, expected: bytes) -> None:
        """Content that only reading it again can compare: a tensor's."""
        self.contents.append((read, self._held(owner), expected))

    def _held(self, owner: Any) -> Any:
        """What is kept of an owner: the root is handed to the check each time, so that it may die."""
        return ROOT if owner is self.root else owner

    def is_mergeable(self) -> bool:
        """Whether these can be checked together with other roots' slots."""
        return self.of_root is not None and all(
            owner is not ROOT for rows in (self.strict, self.contents) for _, owner, _ in rows
        )

    def release(self) -> None:
        """Let go of the root."""
        self.root = None


def merge_slots(parts: list[Slots]) -> Slots | None:
    """One set of slots for several roots, each slot once; None where that cannot be."""
    if not all(part.is_mergeable() for part in parts):
        return None
    merged = Slots()
    merged.of_root = []
    owners: set[int] = set()
    mappings: set[int] = set()
    for part in parts:
        merged.of_root += part.of_root or ()
        for owner, found in part.references:
            if id(owner) not in owners:
                owners.add(id(owner))
                merged.references.append((owner, found))
        for mapping, snapshot in part.mappings:
            if id(mapping) not in mappings:
                mappings.add(id(mapping))
                merged.mappings.append((mapping, snapshot))
        for namespace, values in part.names.values():
            for name, value in values.items():
                merged.name(namespace, name, value)
        for namespace, names in part.absent.values():
            for name in names:
                merged.missing(namespace, name)
        merged.strict += part.strict
        merged.contents += part.contents
    return merged
