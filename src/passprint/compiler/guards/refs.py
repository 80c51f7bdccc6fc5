"""What an object is, written so that another process can tell whether it has the same: for what a trace relied on.

A reference is plain nested data. Classes and functions of the user's count by content (their fingerprint), those of
installed distributions by name and version, with a stamp of the code beside it, so that a patched one is noticed.
Nothing of torch's compiler is imported here.
"""

from __future__ import annotations

import enum
import importlib
import sys
from collections.abc import Callable
from types import (
    BuiltinFunctionType,
    CodeType,
    FunctionType,
    MethodDescriptorType,
    MethodType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any

import torch

from passprint.errors import OpaqueError, PassprintError
from passprint.identity import canonical, code_digest, default_memo

Ref = tuple[Any, ...]

_TORCH_VALUES = (torch.dtype, torch.device, torch.layout, torch.memory_format, torch.Size)
_BUILTINS = (BuiltinFunctionType, MethodDescriptorType, WrapperDescriptorType)


class CannotRecordError(PassprintError):
    """Something that a trace relied on has no form that another process could check."""


def text_hash() -> str:
    """What ``hash`` makes of a text: another value in each process, unless ``PYTHONHASHSEED`` is set."""
    return str(hash("passprint"))


class Refs:
    """Writes references; equal objects are looked at once. Short-lived: it keeps what it has seen alive.

    ``covers`` says of a function or class whether the ledger has its content, so that its name is enough.
    """

    def __init__(self, covers: Callable[[object], bool] = lambda obj: False) -> None:
        self._covers = covers
        self._known: dict[int, tuple[object, Ref]] = {}
        self._memo = default_memo().without_values()  # Dynamo guards tensors by kind as well
        self._origins = self._memo.origins

    def __call__(self, obj: object) -> Ref:
        """The reference of ``obj``. Raises :class:`CannotRecordError` where there is none."""
        known = self._known.get(id(obj))
        if known is None:
            known = self._known[id(obj)] = (obj, self._write(obj))
        return known[1]

    def label(self, module: str | None) -> str | None:
        """The distribution and version that own a module, or None where content counts."""
        return self._origins.of_module(module).label

    def _write(self, obj: Any) -> Ref:
        if isinstance(obj, ModuleType):
            return ("module", obj.__name__)
        if isinstance(obj, type):
            return self._class(obj)
        if isinstance(obj, FunctionType):
            return self._function(obj)
        if isinstance(obj, _BUILTINS):
            owner = getattr(obj, "__objclass__", None) or getattr(obj, "__self__", None)
            if owner is None or isinstance(owner, (type, ModuleType)):
                module = getattr(obj, "__module__", None) or getattr(owner, "__module__", None)
                return ("builtin", str(module), obj.__qualname__, self._origins.of_c_module(module))
        elif isinstance(obj, _TORCH_VALUES):
            return ("torch", type(obj).__name__, str(obj))
        elif isinstance(obj, enum.Enum):
            return ("member", self(type(obj)), obj.name)
        elif isinstance(obj, CodeType):
            return ("code", obj.co_qualname, code_digest(obj))
        elif isinstance(obj, MethodType):
            if isinstance(obj.__self__, (type, ModuleType)):
                return ("method", self(obj.__func__), self(obj.__self__))
        elif isinstance(obj, frozenset) and any(isinstance(item, enum.Enum) for item in obj):
            return ("set", *sorted([self(item) for item in obj], key=repr))
        elif isinstance(obj, (torch.Tensor, torch.nn.Module)):
            raise CannotRecordError(f"it relies on one certain {type(obj).__qualname__}")
        try:
            text = repr(obj)[:80] if isinstance(obj, (int, float, str, bytes)) else ""
            return ("plain", type(obj).__name__, text, canonical(obj))
        except OpaqueError:
            return ("object", f"{type(obj).__module__}.{type(obj).__qualname__}", self._digest(obj))

    def _digest(self, obj: object) -> str:
        digest = self._memo.digest(obj)
        if digest is None:
            paths = self._memo.opaque_paths(obj)
            raise CannotRecordError(f"it relies on something without an identity: {paths[0]}")
        return digest

    def _function(self, function: FunctionType) -> Ref:
        module = function.__globals__.get("__name__")
        label = self.label(module)
        if label is None:
            content = () if self._covers(function) else (self._digest(function),)
            return ("function", str(module), function.__qualname__, *content)
        return ("function", str(module), function.__qualname__, label, code_digest(function.__code__))

    def _class(self, cls: type) -> Ref:
        label = self.label(cls.__module__)
        if label is None:
            content = () if self._covers(cls) else (self._digest(cls),)
            return ("class", cls.__module__, cls.__qualname__, *content)
        return ("class", cls.__module__, cls.__qualname__, label)


def find(module: str, path: str) -> object:
    """The object that ``path`` names in a module, which a trace would import too. Raises ``LookupError`` for none."""
    value: Any = sys.modules.get(module)
    if value is None:
        try:
            value = importlib.import_module(module)
        except ImportError:
            raise LookupError(f"the module {module} cannot be imported") from None
    for name in path.split("."):
        inside = vars(value) if hasattr(value, "__dict__") else {}
        try:
            value = inside[name] if name in inside else getattr(value, name)
        except AttributeError:
            raise LookupError(f"{module} has no {path}") from None
    return value


def own_dict(value: object) -> dict[str, Any] | None:
    """The dictionary of an object's own attributes, without asking its class; None where it has none."""
    try:
        held = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return None
    return held if type(held) is dict else None


def unwrapped(value: Any) -> Any:
    """The function behind a static method, a class method or a property's getter."""
    value = getattr(value, "__func__", value)
    return value.fget if isinstance(value, property) else value
