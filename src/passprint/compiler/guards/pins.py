"""Which guards hold for sure while a model's modules are, slot by slot, what they were.

:mod:`passprint.compiler.guards.snapshot` compares those slots at every call, by pointer and in C. A guard that reads
nothing else, and whose outcome depends on no object that can change in place, need not be asked then.
"""

from __future__ import annotations

import ast
from typing import Any

import torch

from passprint.compiler.guards.facts import GuardFact
from passprint.compiler.guards.source import ByNode, Sources

OPEN = object()
"""Stands for the value of an expression that goes through something else than modules."""

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
_FIXED_TYPE = (*_IMMUTABLE, tuple, list, dict, set, frozenset)
_SAME_OBJECT = frozenset({"ID_MATCH", "MODULE_MATCH", "CLASS_MATCH", "BUILTIN_MATCH"})
_EQUAL = frozenset({"CONSTANT_MATCH", "EQUALS_MATCH", "BOOL_MATCH", "NONE_MATCH"})
_KEYS = frozenset({"ORDER", "DICT_KEYS_MATCH", "MAPPING_KEYS_CHECK", "DICT_CONTAINS", "DICT_NOT_CONTAINS"})
_POINTER = frozenset({"NOT_NONE_MATCH", "TENSOR_MATCH"})


class Pins:
    """The slots of the modules of one model; what is no module has none."""

    def __init__(self, model: object, sources: Sources) -> None:
        modules = list(model.modules()) if isinstance(model, torch.nn.Module) else []
        self._model = model
        self._parse = sources.parse
        self._known: ByNode[Any] = ByNode()
        self._plain: dict[type, bool] = {}
        self._modules = {id(module): module for module in modules}
        self._dicts: dict[int, object] = {}
        for module in modules:
            for held in (vars(module), module._modules, module._parameters, module._buffers):
                if type(held) is dict:
                    self._dicts[id(held)] = held

    def class_of(self, node: ast.expr) -> type | None:
        """The class of the module that an expression gives, if slots of modules are all that it goes through."""
        value = self._value(node)
        return type(value) if self._is_module(value) else None

    def covers(self, fact: GuardFact) -> bool:
        """Whether a guard that holds now holds as long as the slots are what they are."""
        value = self._of(fact.source)
        if value is OPEN:
            return False
        kind = fact.kind
        if kind == "DUPLICATE_INPUT":
            return self._of(str(fact.detail)) is not OPEN
        if kind in _SAME_OBJECT:
            return True
        if kind in _EQUAL:
            return _never_changes(value)
        if kind == "TYPE_MATCH":
            return self._is_module(value) or type(value) in _FIXED_TYPE
        if kind == "SEQUENCE_LENGTH":
            return type(value) is tuple or id(value) in self._dicts
        if kind in _KEYS:
            return id(value) in self._dicts or (kind == "ORDER" and type(value) is frozenset)
        if kind == "NOT_PRESENT_IN_GENERIC_DICT":
            return self._is_module(value)
        if kind == "HASATTR":
            return self._is_module(value) and self._attribute(value, str(fact.detail)) is not OPEN
        return kind in _POINTER

    def _is_module(self, value: object) -> bool:
        return id(value) in self._modules

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
            return self._attribute(owner, node.attr) if self._is_module(owner) else OPEN
        if not isinstance(node, ast.Subscript) or not isinstance(node.slice, ast.Constant):
            return OPEN
        name = node.slice.value
        if isinstance(node.value, ast.Name):
            is_model = node.value.id == "L" and name == "model" and self._is_module(self._model)
            return self._model if is_model else OPEN
        owner = self._value(node.value)
        return owner.get(name, OPEN) if id(owner) in self._dicts and type(name) is str else OPEN

    def _attribute(self, module: Any, name: str) -> Any:
        """An attribute that is looked up as ever, in the module's own dictionary or as a plain value of a class."""
        cls = type(module)
        if not self._looks_up_plainly(cls):
            return OPEN
        held = vars(module)
        own = next((vars(base)[name] for base in cls.__mro__ if name in vars(base)), OPEN)
        if name == "__dict__":
            return held
        if own is not OPEN and hasattr(type(own), "__get__"):
            return OPEN
        return held.get(name, own)

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
