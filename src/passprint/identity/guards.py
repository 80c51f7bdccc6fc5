"""A check, as quick as it can be made, that everything that a walk read is still what it was.

Where the C module of this room was built, it compares the rows. Elsewhere Python does: the rows are merged by owner
and handed to comparisons that run in C. Comparing two sequences there tests ``is`` before ``==``, so where nothing
has changed nothing is compared by value. Where something has, ``==`` must not call two things the same that are
not (``1`` and ``True``): every expected object whose type defines ``==`` is therefore compared by identity beside it.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
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

from passprint.identity.slots import ABSENT, CLASS, EQUAL, ITEMS, KINDS, MAPPING, NAME, NEVER, REFERS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from passprint.identity.slots import Row

    Check = Callable[[tuple[Any, ...]], bool]


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


def _same_mapping(found: dict[Any, Any], expected: dict[Any, Any]) -> bool:
    """The same keys and values in the same order, by identity."""
    return (
        len(found) == len(expected)
        and all(map(is_, found, expected))
        and all(map(is_, found.values(), expected.values()))
    )


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
        scope: dict[str, Any] = {"gather": gc.get_referents, "same": _same_items, "ordered": _same_mapping}
        exec(source, scope)
        made = _FACTORIES[source] = scope["make"]
    return made


def build_check_in_python(rows: list[Row]) -> Check:
    """What `build_check` gives where the C module was not built."""
    terms = _Terms()
    names: dict[int, tuple[dict[str, Any], dict[str, Any], set[str]]] = {}
    references: list[tuple[Any, list[Any]]] = []
    for kind, owner, *rest in rows:
        at = f"objs[{owner}]" if type(owner) is int else "{}"
        owners = () if type(owner) is int else (owner,)
        if kind == NEVER:
            return _never
        if kind == REFERS:
            references.append((owner, rest[0]))
        elif kind == CLASS:
            references.append((owner, rest[1]))
            terms.add(f"{at}.__name__ is {{}}", *owners, rest[0])
        elif kind == NAME:
            _, present, absent = names.setdefault(id(owner), (owner, {}, set()))
            if rest[1] is ABSENT:
                absent.add(rest[0])
            else:
                present[rest[0]] = rest[1]
        elif kind == MAPPING and not rest[0]:
            terms.add(f"not {at}", *owners)
        elif kind == MAPPING:
            terms.add(f"ordered({at}, {{}})", *owners, rest[0])
        elif kind == ITEMS:
            terms.add(f"same({at}, {{}})", *owners, rest[0])
        elif kind == EQUAL:
            terms.add(f"{{}}({at}) == {{}}", rest[0], *owners, rest[1])
        else:
            terms.add(f"same({{}}({at}), {{}})", rest[0], *owners, rest[1])
    _add_references(terms, references)
    for namespace, present, absent in names.values():
        _add_names(terms, namespace, present)
        if absent:
            terms.add("{}.isdisjoint({})", namespace.keys(), frozenset(absent))
    variables = ", ".join([f"v{index}" for index in range(len(terms.bound))])
    test = "\n        and ".join(terms.lines) or "True"
    source = (
        f"def make({variables}):\n    def check(objs):\n        return (\n        {test})\n    return check\n"
    )
    check: Check = _factory(source)(*terms.bound)
    return check


def _never(objs: tuple[Any, ...]) -> bool:
    return False


def _add_references(terms: _Terms, references: list[tuple[Any, list[Any]]]) -> None:
    """One call gathers what all owners refer to; roots come first."""
    if not references:
        return
    roots = [(owner, found) for owner, found in references if type(owner) is int]
    others = [(owner, found) for owner, found in references if type(owner) is not int]
    referents = [value for _, found in roots + others for value in found]
    first = "".join([f"objs[{owner}], " for owner, _ in roots])
    terms.add("(found := gather(" + first + "*{})) == {}", tuple([owner for owner, _ in others]), referents)
    for position, value in enumerate(referents):
        if type(value) not in _HARMLESS and not _equals_by_identity(value):
            terms.add(f"found[{position}] is {{}}", value)


def _row_holds(kind: int, owner: Any, rest: list[Any]) -> bool:
    if kind == REFERS:
        return _same_items(tuple(gc.get_referents(owner)), tuple(rest[0]))
    if kind == CLASS:
        return owner.__name__ is rest[0] and _same_items(tuple(gc.get_referents(owner)), tuple(rest[1]))
    if kind == NAME:
        return owner.get(rest[0], ABSENT) is rest[1]
    if kind == MAPPING:
        return _same_mapping(owner, rest[0])
    if kind == ITEMS:
        return _same_items(tuple(owner), rest[0])
    found = rest[0](owner)
    return bool(found == rest[1]) if kind == EQUAL else kind != NEVER and _same_items(found, rest[1])


def rows_hold_in_python(rows: list[Row]) -> bool:
    """What `rows_hold` is where the C module was not built."""
    return all(_row_holds(kind, owner, rest) for kind, owner, *rest in rows)


def _build_check_in_c(rows: list[Row]) -> Check:
    return _check.Check(rows, ABSENT)


def _rows_hold_in_c(rows: list[Row]) -> bool:
    return _check.rows_hold(rows, ABSENT)


_PURE = "PASSPRINT_PURE_PYTHON"
"""The environment variable that leaves the C module out, for comparing the two."""

try:
    if os.environ.get(_PURE):
        raise ImportError(f"{_PURE} is set")
    from passprint.identity import _check

    if getattr(_check, "KINDS", None) != KINDS:
        raise ImportError("the C module was built from other sources; install passprint again")
except ImportError:
    CheckInC: Any = None
    build_check: Callable[[list[Row]], Check] = build_check_in_python
    rows_hold: Callable[[list[Row]], bool] = rows_hold_in_python
else:
    CheckInC = _check.Check
    build_check = _build_check_in_c
    rows_hold = _rows_hold_in_c
# `build_check` gives a function that says whether every row still holds. It is called with a tuple of the root
# objects, which the check itself does not keep alive. `rows_hold` is for asking once, of rows without roots.
