"""What an object is, written so that another process can tell whether it has the same: for what a trace relied on.

A reference is plain nested data. Classes and functions of the user's count by content (their fingerprint), those of
installed distributions by name and version, with a stamp of the code beside it, so that a patched one is noticed.
Nothing of torch's compiler is imported here.
"""

from __future__ import annotations

import enum
import importlib
import sys
from hashlib import blake2b
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
from passprint.identity import canonical, default_memo

Ref = tuple[Any, ...]

_TORCH_VALUES = (torch.dtype, torch.device, torch.layout, torch.memory_format, torch.Size)
_BUILTINS = (BuiltinFunctionType, MethodDescriptorType, WrapperDescriptorType)


class CannotRecordError(PassprintError):
    """Something that a trace relied on has no form that another process could check."""


def text_hash() -> str:
    """What ``hash`` makes of a text: another value in each process, unless ``PYTHONHASHSEED`` is set."""
    return str(hash("passprint"))


class Refs:
    """Writes references; equal objects are looked at once. Short-lived: it keeps what it has seen alive."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[object, Ref]] = {}
        self._classes: dict[type, tuple[Any, ...]] = {}
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
            return ("code", obj.co_qualname, code_stamp(obj))
        elif isinstance(obj, MethodType):
            if isinstance(obj.__self__, (type, ModuleType)):
                return ("method", self(obj.__func__), self(obj.__self__))
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
            return ("function", str(module), function.__qualname__, self._digest(function))
        return ("function", str(module), function.__qualname__, label, code_stamp(function.__code__))

    def _class(self, cls: type) -> Ref:
        label = self.label(cls.__module__)
        if label is None:
            return ("class", cls.__module__, cls.__qualname__, self._digest(cls))
        return ("class", cls.__module__, cls.__qualname__, label, self._patches(cls))

    def _patches(self, cls: type) -> tuple[Any, ...]:
        """Functions of others that somebody put into a class of an installed distribution, bases included."""
        known = self._classes.get(cls)
        if known is not None:
            return known
        top = cls.__module__.partition(".")[0]
        found: list[Any] = []
        for name, value in list(vars(cls).items()):
            if type(value) is FunctionType:
                owner = str(value.__globals__.get("__name__"))
                if (
                    owner.partition(".")[0] != top
                    and owner not in _GENERATORS
                    and "__wrapped__" not in vars(value)
                ):
                    found.append((name, self(value)))
        for base in cls.__bases__:
            if base is not object:
                inherited = self._patches(base) if self.label(base.__module__) else self(base)
                if inherited:
                    found.append(inherited)
        self._classes[cls] = known = tuple(found)
        return known


_GENERATORS = ("dataclasses", "functools", "typing", "abc", "enum", "collections", "contextlib", "builtins")


def code_stamp(code: CodeType) -> str:
    """A short digest of what a code object does, without where it stands."""
    hashed = blake2b(digest_size=8)
    _add_code(hashed, code)
    return hashed.hexdigest()


def _add_code(hashed: blake2b, code: CodeType) -> None:
    hashed.update(code.co_code)
    hashed.update(repr((code.co_names, code.co_varnames, code.co_freevars, code.co_argcount)).encode())
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            _add_code(hashed, constant)
        elif isinstance(constant, frozenset):
            hashed.update(repr(sorted(map(repr, constant))).encode())
        else:
            hashed.update(repr(constant).encode())


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


def unwrapped(value: Any) -> Any:
    """The function behind a static method, a class method or a property's getter."""
    value = getattr(value, "__func__", value)
    return value.fget if isinstance(value, property) else value
