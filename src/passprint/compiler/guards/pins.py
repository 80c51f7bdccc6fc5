"""Which guards hold for sure while nothing that a walk of the ledger went through has changed.

:mod:`passprint.compiler.guards.watch` compares all that at every call, by pointer and in C. A guard that reads nothing
else, and whose outcome depends on no object that can change in place, need not be asked then.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, Final

import torch

from passprint.compiler.guards.facts import GuardFact
from passprint.compiler.guards.refs import own_dict
from passprint.compiler.guards.source import ByNode, Sources
from passprint.identity.slots import ABSENT, ITEMS, MAPPING, NAME, REFERS, SAME

OPEN: Final = object()
"""Stands for the value of an expression that goes through something that is not watched."""

_IMMUTABLE = (
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    type(None),
    torch.dtype,
    torch.device,
    torch.layout,
    torch.memory_format,
)
# Of these, nobody can assign ``__class__``.
_FIXED_TYPE = (*_IMMUTABLE, tuple, list, dict, set, frozenset, FunctionType, MethodType, CodeType)
_OF_CODE: Final = {
    FunctionType: ("__closure__", "__code__", "__defaults__", "__kwdefaults__"),
    MethodType: ("__func__", "__self__"),
    CellType: ("cell_contents",),
}
"""What of these is seen by whoever compares the objects that they refer to."""
_SAME_OBJECT = frozenset({"ID_MATCH", "MODULE_MATCH", "CLASS_MATCH", "BUILTIN_MATCH"})
_SAME_CODE = frozenset({"FUNCTION_MATCH", "CLOSURE_MATCH"})
_EQUAL = frozenset({"CONSTANT_MATCH", "EQUALS_MATCH", "BOOL_MATCH", "NONE_MATCH"})
_KEYS = frozenset({"ORDER", "DICT_KEYS_MATCH", "MAPPING_KEYS_CHECK", "DICT_CONTAINS", "DICT_NOT_CONTAINS"})
_POINTER = frozenset({"NOT_NONE_MATCH", "TENSOR_MATCH"})


class Pins:
    """The expressions over ``L['model']`` and the modules of a frame that lead through watched objects only."""

    def __init__(
        self,
        model: object,
        frame_globals: Mapping[str, Any],
        sources: Sources,
        watched: Iterable[tuple[Any, ...]],
    ) -> None:
        """``watched`` is what the walk from ``model`` went through."""
        self._roots = {"model": model}
        self._modules = {
            name: value for name, value in frame_globals.items() if isinstance(value, ModuleType)
        }
        self._parse = sources.parse
        self._known: ByNode[Any] = ByNode()
        self._plain: dict[type, bool] = {}
        self._rows = list(watched)
        """Kept, so that no id below is another object's one day."""
        by_kind: dict[int, set[int]] = {kind: set() for kind in (MAPPING, ITEMS, REFERS, SAME)}
        self._names: set[tuple[int, str]] = set()
        for kind, owner, *rest in self._rows:
            if kind in by_kind:
                by_kind[kind].add(id(owner))
            elif kind == NAME:
                self._names.add((id(owner), rest[0]))
        self._dicts, self._lists = by_kind[MAPPING], by_kind[ITEMS]
        self._objects = by_kind[REFERS] | by_kind[SAME]

    def class_of(self, node: ast.expr) -> type | None:
        """The class of what an expression gives, if that is watched and all that the expression goes through is."""
        value = self._value(node)
        return type(value) if value is not OPEN and self._keeps_class(value) else None

    def covers(self, fact: GuardFact) -> bool:
        """Whether a guard that holds now holds as long as what is watched is what it is."""
        value = self._of(fact.source)
        if value is OPEN:
            return False
        kind = fact.kind
        if kind == "DUPLICATE_INPUT":
            return self._of(str(fact.detail)) is not OPEN
        if kind in _SAME_OBJECT:
            return True
        if kind in _SAME_CODE:
            return id(value) in self._objects
        if kind in _EQUAL:
            return _never_changes(value)
        if kind == "TYPE_MATCH":
            return self._keeps_class(value)
        if kind == "SEQUENCE_LENGTH":
            return type(value) is tuple or id(value) in self._dicts or id(value) in self._lists
        if kind in _KEYS:
            return id(value) in self._dicts or (kind == "ORDER" and type(value) is frozenset)
        if kind == "NOT_PRESENT_IN_GENERIC_DICT":
            return id(own_dict(value)) in self._dicts
        if kind == "HASATTR":
            return self._attribute(value, str(fact.detail)) is not OPEN
        return kind in _POINTER

    def _keeps_class(self, value: object) -> bool:
        return type(value) in _FIXED_TYPE or id(value) in self._objects

    def _of(self, source: str) -> Any:
        try:
            return self._value(self._parse(source))
        except SyntaxError:
            return OPEN

    def _value(self, node: ast.expr) -> Any:
        return self._known.of(node, self._found)

    def _found(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Attribute):
            owner = self._value(node.value)
            return OPEN if owner is OPEN else self._attribute(owner, node.attr)
        if not isinstance(node, ast.Subscript) or not isinstance(node.slice, ast.Constant):
            return OPEN
        key = node.slice.value
        if isinstance(node.value, ast.Name):
            roots = self._roots if node.value.id == "L" else self._modules
            return roots.get(str(key), OPEN)
        owner = self._value(node.value)
        if type(key) is int and (type(owner) is tuple or id(owner) in self._lists):
            return owner[key] if key < len(owner) else OPEN
        return owner.get(key, OPEN) if id(owner) in self._dicts and type(key) is str else OPEN

    def _attribute(self, owner: Any, name: str) -> Any:
        """An attribute that is looked up as ever, in the object's own dictionary or as a plain value of a class."""
        kind = type(owner)
        if kind in _OF_CODE:
            seen = kind is MethodType or id(owner) in self._objects
            return getattr(owner, name, OPEN) if seen and name in _OF_CODE[kind] else OPEN
        held = own_dict(owner)
        if held is None:
            return OPEN
        if kind is ModuleType:
            seen = id(held) in self._dicts or (id(held), name) in self._names
            return held.get(name, OPEN) if seen else OPEN
        seen = id(held) in self._dicts and id(owner) in self._objects
        if not seen or not self._looks_up_plainly(kind):
            return OPEN
        if name == "__dict__":
            return held
        own = next((vars(base)[name] for base in kind.__mro__ if name in vars(base)), ABSENT)
        if own is not ABSENT and hasattr(type(own), "__get__"):
            return OPEN
        found = held.get(name, own)
        return OPEN if found is ABSENT else found

    def _looks_up_plainly(self, cls: type) -> bool:
        """Whether no class of the MRO has its own way to look up attributes."""
        known = self._plain.get(cls)
        if known is None:
            bases = [base for base in cls.__mro__ if base is not object]
            known = self._plain[cls] = not any("__getattribute__" in vars(base) for base in bases)
        return known


def _never_changes(value: object) -> bool:
    if type(value) is tuple:
        return all(map(_never_changes, value))
    return type(value) in _IMMUTABLE
