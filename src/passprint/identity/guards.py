"""A check, as quick as Python can make it, that everything that a walk read is still what it was.

The slots are merged by owner and handed to comparisons that run in C. Comparing two sequences there tests
``is`` before ``==``, so where nothing has changed nothing is compared by value. Where something has, ``==``
must not call two things the same that are not (``1`` and ``True``): every expected object whose type
defines ``==`` is therefore compared by identity beside it.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from itertools import chain
from operator import is_, itemgetter
from types import (
    BuiltinFunctionType,
    CellType,
    CodeType,
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    ModuleType,
)

from passprint.identity.slots import ROOT, Slots

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Check = Callable[[Any], bool]


_ALWAYS_SAFE = frozenset(
    {
        type(None),
        type,
        FunctionType,
        BuiltinFunctionType,
        CodeType,
        ModuleType,
        GetSetDescriptorType,
        MemberDescriptorType,
        property,
        staticmethod,
        classmethod,
    }
)

# Among what an object refers to: names and documentation, and namespaces whose content is checked apart.
_HARMLESS = frozenset({str, dict})
_UNCOUNTED_TEXTS = frozenset({"__doc__", "__module__", "__qualname__"})


def _equals_by_identity(value: Any) -> bool:
    kind = type(value)
    if kind is tuple:  # bases, a closure's cells (which tuple is held there cannot be assigned)
        return all(type(item) is CellType or isinstance(item, type) for item in value)
    defined: Any = kind.__eq__
    return kind in _ALWAYS_SAFE or defined is object.__eq__


class _Terms:
    """The parts of one check: an expression for each, and the objects that its names stand for."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.bound: list[Any] = []

    def add(self, template: str, *values: Any) -> None:
        names = [f"v{len(self.bound) + index}" for index in range(len(values))]
        self.bound.extend(values)
        self.lines.append(template.format(*names))


def _same_items(found: tuple[Any, ...], expected: tuple[Any, ...]) -> bool:
    return len(found) == len(expected) and all(map(is_, found, expected))


def _add_names(terms: _Terms, namespace: dict[str, Any], values: dict[str, Any]) -> None:
    safe = {name: value for name, value in values.items() if _equals_by_identity(value)}
    risky = {name: value for name, value in values.items() if name not in safe}
    if len(safe) == 1:
        (name,) = safe
        terms.add("{}[{}] is {}", namespace, name, safe[name])
    elif safe:
        terms.add("{}({}) == {}", itemgetter(*safe), namespace, tuple(safe.values()))
    for name, value in risky.items():
        terms.add("{}[{}] is {}", namespace, name, value)


_FACTORIES: dict[str, Any] = {}


def _factory(source: str) -> Any:
    made = _FACTORIES.get(source)
    if made is None:
        scope: dict[str, Any] = {"gather": gc.get_referents, "same": _same_items, "chain": chain}
        exec(source, scope)
        made = _FACTORIES[source] = scope["make"]
    return made


def build_check(slots: Slots) -> Check:
    """A function that says whether every slot still holds what the walk found.

    It is called with a tuple of the root objects, which the check itself does not keep alive.
    """
    terms = _Terms()
    _add_references(terms, slots)
    for mapping, snapshot in slots.mappings:
        if not snapshot:
            terms.add("not {}", mapping)
            continue
        terms.add("{} == {}", mapping, snapshot)
        for key, value in snapshot.items():
            if not _equals_by_identity(value) and key not in _UNCOUNTED_TEXTS:
                terms.add("{}[{}] is {}", mapping, key, value)
    for namespace, values_by_name in slots.names.values():
        _add_names(terms, namespace, values_by_name)
    for namespace, absent in slots.absent.values():
        terms.add("{}.isdisjoint({})", namespace.keys(), frozenset(absent))
    for read, owner, expected in slots.strict:
        if owner is ROOT:
            terms.add("same({}(objs[0]), {})", read, expected)
        else:
            terms.add("same({}({}), {})", read, owner, expected)
    for content, owner, facts in slots.contents:
        if owner is ROOT:
            terms.add("{}(objs[0]) == {}", content, facts)
        else:
            terms.add("{}({}) == {}", content, owner, facts)
    names = ", ".join([f"v{index}" for index in range(len(terms.bound))])
    test = "\n        and ".join(terms.lines) or "True"
    source = (
        f"def make({names}):\n    def check(objs):\n        return (\n        {test})\n    return check\n"
    )
    check: Check = _factory(source)(*terms.bound)
    return check


def _add_references(terms: _Terms, slots: Slots) -> None:
    owners: list[Any] = []
    referents: list[Any] = list(slots.of_root or ())
    for owner, found in slots.references:
        owners.append(owner)
        referents.extend(found)
    if not referents and not owners:
        return
    first = "" if slots.of_root is None else "*objs, "
    terms.add("(found := gather(" + first + "*{})) == {}", tuple(owners), referents)
    for position, value in enumerate(referents):
        if type(value) not in _HARMLESS and not _equals_by_identity(value):
            terms.add(f"found[{position}] is {{}}", value)
