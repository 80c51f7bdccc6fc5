"""How objects of the standard library and of numpy are read: generics, enumerations' helpers, arrays."""

from __future__ import annotations

import functools
import sys
from contextvars import Context, ContextVar
from hashlib import blake2b
from struct import Struct
from types import GenericAlias

from passprint.identity.canonical import canonical, encode_text, frame
from passprint.identity.node import Node
from passprint.identity.origin import PYTHON
from passprint.identity.walk import FINDERS, HANDLERS, Handler, Walk, by_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_BY_TYPE = frozenset(
    {
        "logging.Logger",
        "logging.RootLogger",
        "_thread.lock",
        "_thread.RLock",
        "threading.Event",
        "threading.Condition",
        "threading._RLock",
        "_contextvars.Context",
        "dataclasses._MISSING_TYPE",
        "torch._dynamo.convert_frame.ConvertFrameBox",
        "weakref.WeakKeyDictionary",
        "weakref.WeakValueDictionary",
        "weakref.WeakSet",
        "_weakrefset.WeakSet",
    }
)
"""Objects that hold no part of what code computes, only its surroundings: locks, loggers, weak caches,
contexts. Their type counts."""


def _type_leaf(walk: Walk, value: Any) -> bytes | None:
    kind = type(value)
    return frame(b"T", encode_text(f"{kind.__module__}.{kind.__qualname__}"))


def _nothing(walk: Walk, value: Any, node: Node) -> None:
    """For kinds that always have their bytes at once."""


def _current(variable: ContextVar[Any]) -> tuple[Any, ...]:
    """A context variable's value in the context that asks, if it has one there."""
    try:
        return (variable.get(),)
    except LookupError:
        return ()


def _expand_context_variable(walk: Walk, variable: Any, node: Node) -> None:
    """What a variable gives here, and in a context without a value: its default, which it keeps for good."""
    held = _current(variable)
    walk.slots.made(variable, _current, held)
    for value in held:
        node.add(".", "value", walk.child(value), value)
    try:
        default = Context().run(variable.get)
    except LookupError:
        return
    node.add(".", "default", walk.child(default), default)


def _struct_leaf(walk: Walk, value: Any) -> bytes | None:
    return frame(b"v", frame(b"t", b"struct.Struct") + canonical(value.format))


def _expand_generic(walk: Walk, alias: Any, node: Node) -> None:
    """``list[int]``, ``X | Y``, ``typing.Callable[...]``, ``Annotated``: the origin and the arguments."""
    origin = getattr(alias, "__origin__", None)
    node.head = frame(b"n", encode_text(type(alias).__name__))
    if origin is not None:
        node.add("", "origin", walk.child(origin), origin)
    for index, argument in enumerate(alias.__args__):
        node.add("[", str(index), walk.child(argument), argument)
    metadata = getattr(alias, "__metadata__", ())
    for index, item in enumerate(metadata):
        node.add("[", f"metadata {index}", walk.child(item), item)


def _expand_type_variable(walk: Walk, variable: Any, node: Node) -> None:
    node.head = frame(b"n", encode_text(f"{type(variable).__name__} {variable.__name__}"))
    for name in ("__bound__", "__constraints__", "__supertype__"):
        value = getattr(variable, name, None)
        if value is not None:
            node.add(".", name, walk.child(value), value)


def _expand_type_alias(walk: Walk, alias: Any, node: Node) -> None:
    """``type X = ...``: an alias is its name and its value (read as typing itself reads it)."""
    node.head = frame(b"n", encode_text(alias.__name__))
    try:
        value = alias.__value__
    except NameError:
        walk.mark_opaque(node, "type alias of a name that is not defined")
        return
    node.add("", "value", walk.child(value), value)


def _special_leaf(walk: Walk, form: Any) -> bytes | None:
    return by_name(PYTHON, "typing", str(getattr(form, "_name", None) or form))


def _array_facts(array: Any) -> bytes:
    flat = array.astype(array.dtype, order="C", copy=False)
    about = frame(b"t", ascii((array.dtype.str, repr(array.dtype), array.shape)).encode())
    return about + frame(b"d", blake2b(flat.tobytes(), digest_size=32).digest())


def _expand_array(walk: Walk, array: Any, node: Node) -> None:
    node.head = frame(b"n", encode_text(type(array).__qualname__))
    if array.dtype.hasobject:
        walk.slots.never()
        items = array.reshape(-1).tolist()
        node.add("", "items", walk.child((array.shape, items)), items)
        return
    facts = _array_facts(array)
    node.head += facts
    node.text = f"{type(array).__qualname__}({list(array.shape)}, {array.dtype})"
    walk.slots.computed(_array_facts, array, facts)


def _scalar_leaf(walk: Walk, value: Any) -> bytes | None:
    if value.dtype.hasobject:
        return None
    return frame(b"v", frame(b"t", encode_text(value.dtype.str)) + value.tobytes())


def _dtype_leaf(walk: Walk, value: Any) -> bytes | None:
    return frame(b"v", frame(b"t", b"numpy.dtype") + ascii((value.str, repr(value))).encode())


def _ufunc_leaf(walk: Walk, value: Any) -> bytes | None:
    return by_name(walk.origins.of_module("numpy").label or "", "numpy", value.__name__)


_GENERIC = Handler("generic", _expand_generic)
_TYPE_ONLY = Handler("surroundings", _nothing, _type_leaf)
_VARIABLE = Handler("type variable", _expand_type_variable)
_SPECIAL = Handler("typing form", _nothing, _special_leaf)
_ALIAS = Handler("type alias", _expand_type_alias)
_REGEX = Handler("regex", _nothing, lambda walk, value: canonical(value))


def _find_library(kind: type) -> Handler | None:
    """By the name of the type; remembered for those that are Python's own."""
    handler = _by_name(kind)
    if handler is not None and getattr(sys.modules.get(kind.__module__), kind.__name__, None) is kind:
        HANDLERS[kind] = handler
    return handler


def _by_name(kind: type) -> Handler | None:
    module, name = kind.__module__, kind.__qualname__
    if f"{module}.{name}" in _BY_TYPE:
        return _TYPE_ONLY
    if module == "re" and name == "Pattern":
        return _REGEX
    if module not in ("typing", "types", "typing_extensions"):
        return None
    if name in ("TypeVar", "ParamSpec", "TypeVarTuple", "NewType"):
        return _VARIABLE
    if name == "TypeAliasType":
        return _ALIAS
    if name in ("_SpecialForm", "_TypedCacheSpecialForm", "_AnyMeta", "_SpecialGenericAlias"):
        return _SPECIAL
    if name in ("_GenericAlias", "_UnionGenericAlias", "_LiteralGenericAlias", "_CallableGenericAlias"):
        return _GENERIC
    if name in ("_AnnotatedAlias", "_ConcatenateGenericAlias", "_CallableType", "UnionType", "Union"):
        return _GENERIC if hasattr(kind, "__args__") or name != "_CallableType" else _SPECIAL
    return None


def _find_numpy(kind: type) -> Handler | None:
    numpy: Any = sys.modules.get("numpy")
    if numpy is None or not hasattr(numpy, "ndarray"):
        return None
    if kind is numpy.ndarray:
        return Handler("array", _expand_array)
    if issubclass(kind, numpy.generic):
        return Handler("numpy scalar", _nothing, _scalar_leaf)
    if issubclass(kind, numpy.dtype):
        return Handler("numpy dtype", _nothing, _dtype_leaf)
    if kind is numpy.ufunc:
        return Handler("ufunc", _nothing, _ufunc_leaf)
    return None


def _expand_singledispatchmethod(walk: Walk, method: Any, node: Node) -> None:
    node.add("", "dispatcher", walk.child(method.dispatcher), method.dispatcher)


HANDLERS[GenericAlias] = _GENERIC
HANDLERS[ContextVar] = Handler("context variable", _expand_context_variable)
HANDLERS[Struct] = Handler("struct", _nothing, _struct_leaf)
HANDLERS[functools.singledispatchmethod] = Handler("singledispatchmethod", _expand_singledispatchmethod)
FINDERS.extend((_find_library, _find_numpy))
