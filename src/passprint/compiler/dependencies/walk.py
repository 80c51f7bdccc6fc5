"""The walk from a model to all that inlined code can look up: rows, what was met, what is watched.

Objects are walked by the names of a list (:mod:`passprint.compiler.dependencies.can_read`): an attribute, a global, a
member of a class counts if some inlined code holds its name. How each kind of object is read is registered here by the
files beside this one: ``code.py`` (functions, classes, modules) and ``values.py`` (everything else).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from hashlib import sha256
from types import CodeType, FunctionType, ModuleType
from typing import Any, Final

from passprint.compiler.dependencies.can_read import CanRead
from passprint.compiler.dependencies.row import PLAIN, Row, digest
from passprint.compiler.dependencies.uses import ANY
from passprint.compiler.guards.refs import CannotRecordError
from passprint.identity import default_memo

_MOST: Final = 400_000
"""So many objects are a graph that nobody meant a model to reach."""

PLAIN_TYPES: Final = frozenset({type(None), bool, int, float, complex, str, bytes, type(Ellipsis)})
_LONGEST: Final = 400
ITEM: Final = ""
"""The name of what has none: an item of a container."""


class Walk:
    """A walk by the names of one list; ``rows`` is what it found, ``watched`` what it went through."""

    def __init__(self, reads: CanRead) -> None:
        self.reads = reads
        self.rows: list[Row] = []
        self.watched: list[tuple[Any, ...]] = []
        self.codes: set[CodeType] = set()
        """The code that was met: what a function or class that counts is made of."""
        self.memo = default_memo().without_values()
        self.tables_count = False
        """Whether code of the user's runs while graphs are lowered, so that torch's tables count."""
        self._seen: dict[int, str] = {}
        # What was reached by a name by which more of it counts is gone through again.
        self._whole_names = reads.ordered | reads.keyed | reads.whole
        self._whole: set[int] = set()
        self._whole_classes: dict[type, bool] = {}
        self._exact = 0
        self._alive: list[object] = []
        self._spoken: set[tuple[str, str]] = set()

    def label_of(self, module: object) -> str | None:
        """The distribution that owns a module, or None where content counts."""
        return self.memo.origins.of_module(module).label

    @cached_property
    def digest(self) -> str:
        """The digest of all rows."""
        return digest(self.rows)

    @cached_property
    def digest_at_call(self) -> str:
        """The same without plain values: Dynamo guards those that it reads, and they may change between calls."""
        return digest([Row(PLAIN, row.name, "") if row.kind == PLAIN else row for row in self.rows])

    @contextmanager
    def exact(self) -> Iterator[None]:
        """Plain values that are visited meanwhile count at every call: Dynamo may have no guard on them."""
        self._exact += 1
        try:
            yield
        finally:
            self._exact -= 1

    def covers(self, obj: object) -> bool:
        """Whether a function or class was met, so that a row says what it is."""
        return id(obj) in self._seen

    # -- rows

    def add(self, kind: str, name: str, text: str) -> None:
        """Add a row; a long text counts by its digest."""
        if len(text) > _LONGEST:
            text = f"{text[:80]}… {sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:24]}"
        self.rows.append(Row(kind, name, text))

    def once(self, kind: str, name: str, text: str) -> None:
        """Add a row of something that has a name of its own, the first time."""
        if (kind, name) not in self._spoken:
            self._spoken.add((kind, name))
            self.add(kind, name, text)

    def watch(self, *row: Any) -> None:
        """Note what is compared by pointer at a call."""
        self.watched.append(row)

    # -- values

    def visit(self, value: Any, path: str, name: str) -> None:
        """Add what counts of a value that is reached by ``name``."""
        kind = type(value)
        if kind in PLAIN_TYPES:
            self.add("value" if self._exact else PLAIN, path, repr(value))
            return
        known = self._seen.get(id(value))
        counts_more = name == ITEM or name in self._whole_names
        if known is not None and (id(value) in self._whole or not counts_more):
            if known != path and not isinstance(value, (type, FunctionType, ModuleType)):
                self.add("value", path, f"the same as {known}")
            return
        self._seen[id(value)] = path
        if counts_more:
            self._whole.add(id(value))
        self._alive.append(value)
        if len(self._alive) > _MOST:
            raise CannotRecordError(f"the model reaches more than {_MOST:,} objects")
        _handler(kind)(self, value, path, name)

    def is_whole(self, name: str, cls: type) -> bool:
        """Whether all attributes of an object count, and not only those that code names."""
        whole = self.reads.whole
        if not whole:
            return False
        if ANY in whole or name in whole:
            return True
        known = self._whole_classes.get(cls)
        if known is None:
            known = self._whole_classes[cls] = _is_named(cls, whole)
        return known

    def reads_any_key(self, name: str, cls: type) -> bool:
        """Whether code may read any key of a dict of this class, and not only those that it names."""
        return (
            name == ITEM or name in self.reads.keyed or (cls is not dict and _is_named(cls, self.reads.keyed))
        )

    def attributes(self, held: dict[str, Any], path: str, name: str, cls: type) -> None:
        """Add those of an object's attributes that count."""
        names, whole = self.reads.names, self.is_whole(name, cls)
        stored = self.reads.stored
        for attribute, value in list(held.items()):
            if attribute in names or whole:
                if attribute in stored and type(value) in (int, float, bool):
                    continue  # counters: what code sets itself is another value at each call
                self.visit(value, f"{path}.{attribute}", attribute)


def _is_named(cls: type, names: frozenset[str]) -> bool:
    return any(f"{base.__module__}:{base.__qualname__}" in names for base in cls.__mro__)


Handler = Callable[[Walk, Any, str, str], None]
"""Adds what counts of a value, which is reached by a path and under a name."""

HANDLERS: dict[type, Handler] = {}
"""By exact type."""
FINDERS: list[Callable[[type], Handler | None]] = []
"""Asked in order for a type that has no handler yet."""


def _handler(kind: type) -> Handler:
    known = HANDLERS.get(kind)
    if known is None:
        known = HANDLERS[kind] = next(found for find in FINDERS if (found := find(kind)) is not None)
    return known
