"""How functions and everything that wraps or binds one are read."""

from __future__ import annotations

import functools
import sys
from types import (
    BuiltinFunctionType,
    CellType,
    ClassMethodDescriptorType,
    CodeType,
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodDescriptorType,
    MethodType,
    MethodWrapperType,
    ModuleType,
    WrapperDescriptorType,
)

from passprint.identity.bytecode import code_facts
from passprint.identity.canonical import canonical, encode_text, frame, is_flat
from passprint.identity.hints import held_hints, hint_bytes, lazy_hints
from passprint.identity.node import EMPTY_CELL, Node
from passprint.identity.opcodes import read_holders
from passprint.identity.origin import Origin
from passprint.identity.reach import add_reached
from passprint.identity.walk import HANDLERS, Handler, Walk, builtin_bytes, by_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


MADE_BY_CALLS = "__dynamo_disable"
"""Where ``torch._disable_dynamo`` keeps its wrapper around a function once that was called: nothing else is in it."""

WRAPPER_ID = "_torchdynamo_wrapper_id"
"""Where ``torch._dynamo.disable``, ``run`` and ``torch.compile`` keep the address of the function that they made.

Dynamo looks through a wrapper only if the address is its own: one that ``functools.wraps`` copied is another's.
Both names were read in torch 2.11 to 2.15.
"""


def _is_plain(function: FunctionType) -> bool:
    """Whether a module owns the function, so that name and version say all."""
    inside = function.__dict__
    return (
        function.__closure__ is None
        and "<" not in function.__qualname__
        and (not inside or inside.keys() == {MADE_BY_CALLS})
    )


def _function_leaf(walk: Walk, function: FunctionType) -> bytes | None:
    namespace = function.__globals__
    if function.__code__.co_qualname.startswith("__create_fn__.<locals>."):
        return generated_leaf(walk, function)
    module = namespace.get("__name__")
    label = walk.origins.of_module(module).label
    if label is None or not _is_plain(function):
        return None
    return by_name(label, str(module), function.__qualname__)


def generated_leaf(walk: Walk, function: FunctionType) -> bytes | None:
    """A method that ``dataclasses`` wrote: it follows from the fields, the options and Python's version.

    Its defaults, which a program may have replaced, count beside them.
    """
    defaults = function.__defaults__ or ()
    if function.__dict__ or function.__kwdefaults__ or not is_flat(defaults):
        return None
    walk.slots.refer(function)
    return frame(b"G", encode_text(function.__name__) + (canonical(defaults) if defaults else b""))


def expand_function(walk: Walk, function: FunctionType, node: Node) -> None:
    """A function's code, what it reaches, its defaults, closure and attributes."""
    namespace = function.__globals__
    origin = walk.origins.of_module(namespace.get("__name__"))
    attributes, has_hints = read_holders(function)
    held = held_hints(function) if has_hints and origin.by_content else None
    if (
        attributes
        and namespace.get("__name__") == "functools"
        and "registry" in attributes
        and "dispatch" in attributes
    ):
        _expand_singledispatch(walk, function, node)
        return
    walk.slots.refer(function)
    code = function.__code__
    if held is not None:
        walk.slots.mapping(held, dict(held))
    if origin.by_content:
        facts = code_facts(code)
        hints = hint_bytes(held) or lazy_hints(function)
        node.head = b"".join((facts.payload, frame(b"n", encode_text(function.__name__)), hints))
        add_reached(walk, node, function, facts)
    else:
        _add_foreign_code(node, function, origin)
    defaults = function.__defaults__
    if defaults:
        first = code.co_argcount - len(defaults)
        for index, value in enumerate(defaults):
            position = first + index
            label = code.co_varnames[position] if 0 <= position < len(code.co_varnames) else str(index)
            node.add("(", label, walk.child(value), value)
    keyword_defaults = function.__kwdefaults__
    if keyword_defaults:
        walk.slots.mapping(keyword_defaults, dict(keyword_defaults))
        for label in sorted(keyword_defaults):
            value = keyword_defaults[label]
            node.add("(", label, walk.child(value), value)
    if function.__closure__:
        for label, cell in zip(code.co_freevars, function.__closure__, strict=False):
            if label != "repr_running":  # which objects reprlib.recursive_repr is printing just now
                _add_cell(walk, node, label, cell)
    if attributes:
        add_attributes(walk, node, attributes, function)
    elif attributes is not None:
        walk.slots.empty(attributes)


def _add_foreign_code(node: Node, function: FunctionType, origin: Origin) -> None:
    module = function.__globals__.get("__name__")
    node.head = by_name(str(origin.label), str(module), function.__code__.co_qualname)


def _add_cell(walk: Walk, node: Node, label: str, cell: CellType) -> None:
    walk.slots.refer(cell)
    try:
        value = cell.cell_contents
    except ValueError:  # not filled yet
        node.add("→", label, EMPTY_CELL)
        return
    node.add("→", label, walk.child(value), value)


def add_attributes(walk: Walk, node: Node, attributes: dict[str, Any], owner: Any) -> None:
    """What a function's or a partial's dict holds, less the documentation of what it wraps."""
    walk.slots.mapping(attributes, dict(attributes))
    for label in sorted(attributes):
        if label not in ("__doc__", MADE_BY_CALLS):
            value = attributes[label]
            if label == WRAPPER_ID:
                value = "its own" if value == id(owner) else "another's"
            node.add(".", label, walk.child(value), value)


def _expand_singledispatch(walk: Walk, function: FunctionType, node: Node) -> None:
    """The implementations by type; the cache of dispatches is left out, it fills as calls are made."""
    walk.slots.refer(function)
    registry = function.__dict__["registry"]
    walk.slots.mapping(registry, dict(registry))
    node.unordered = True
    node.head = builtin_bytes("functools.singledispatch")
    for kind, implementation in dict(registry).items():
        pair = Node("registered", kind.__qualname__)
        pair.add("[", "type", walk.child(kind), kind)
        pair.add("", "function", walk.child(implementation), implementation)
        node.add("[", kind.__qualname__, pair, implementation)


def _method_leaf(walk: Walk, method: MethodType) -> bytes | None:
    """``random.choice`` and its like: methods that a foreign module offers as its functions."""
    function = method.__func__
    module = getattr(function, "__module__", None)
    label = walk.origins.of_module(module).label
    if label is None:
        return None
    offered = getattr(sys.modules.get(str(module)), function.__name__, None)
    return by_name(label, str(module), function.__name__) if offered == method else None


def _expand_method(walk: Walk, method: MethodType, node: Node) -> None:
    walk.slots.refer(method)
    node.add("", "function", walk.child(method.__func__), method.__func__)
    node.add(".", "__self__", walk.child(method.__self__), method.__self__)


def _expand_partial(walk: Walk, partial: Any, node: Node) -> None:
    attributes = getattr(partial, "__dict__", None)  # made by asking, so asked for before it is recorded
    walk.slots.refer(partial)
    node.head = builtin_bytes(f"functools.{type(partial).__name__}")
    node.add("", "function", walk.child(partial.func), partial.func)
    for index, value in enumerate(partial.args):
        node.add("(", str(index), walk.child(value), value)
    keywords = partial.keywords
    walk.slots.mapping(keywords, dict(keywords))
    for name, value in keywords.items():
        node.add("(", name, walk.child(value), value)
    if attributes and type(partial) is functools.partial:
        add_attributes(walk, node, attributes, partial)
    elif isinstance(attributes, dict):
        walk.slots.empty(attributes)


def _expand_cached(walk: Walk, cached: Any, node: Node) -> None:
    """An ``lru_cache``: the function and the limits; what it has cached so far is left out."""
    node.head = frame(b"p", ascii(sorted(cached.cache_parameters().items())).encode())
    attributes = {name: value for name, value in cached.__dict__.items() if name != "cache_parameters"}
    walk.slots.refer(cached.__dict__)
    add_attributes(walk, node, attributes, cached)


def expand_wrapping(walk: Walk, wrapper: Any, node: Node) -> None:
    """staticmethod and classmethod."""
    walk.slots.refer(wrapper)
    node.add("", "function", walk.child(wrapper.__func__), wrapper.__func__)


def expand_property(walk: Walk, prop: property, node: Node) -> None:
    walk.slots.refer(prop)
    for label in ("fget", "fset", "fdel"):
        value = getattr(prop, label)
        if value is not None:
            node.add("", label, walk.child(value), value)


def _expand_cached_property(walk: Walk, prop: Any, node: Node) -> None:
    """``functools.cached_property``: its lock (until 3.11) is left out."""
    walk.slots.refer(prop)
    node.add(".", "attrname", walk.child(prop.attrname), prop.attrname)
    node.add("", "func", walk.child(prop.func), prop.func)


def _expand_code(walk: Walk, code: CodeType, node: Node) -> None:
    node.head = code_facts(code).payload


def builtin_leaf(walk: Walk, function: Any) -> bytes | None:
    """The bytes of a function of a C module or type; None for a method that is bound to an object."""
    owner = getattr(function, "__self__", None)
    if owner is not None and not isinstance(owner, (type, ModuleType)):
        return None
    module = function.__module__ or (owner.__module__ if isinstance(owner, type) else None)
    return foreign_bytes(walk, module, function.__qualname__)


def _expand_builtin(walk: Walk, function: Any, node: Node) -> None:
    node.head = builtin_bytes(function.__qualname__)
    node.add(".", "__self__", walk.child(function.__self__), function.__self__)


def foreign_bytes(walk: Walk, module: str | None, name: str) -> bytes:
    """A C function or type: module, name, and the version of what owns it or the file's content."""
    label = walk.origins.of_c_module(module)
    return by_name(label, str(module), name)


def descriptor_leaf(walk: Walk, descriptor: Any) -> bytes | None:
    owner = descriptor.__objclass__
    label = walk.origins.of_module(owner.__module__).label
    name = descriptor.__name__
    return by_name(label or "", owner.__module__ if label else "", f"{owner.__qualname__}.{name}")


def _skip(walk: Walk, obj: Any, node: Node) -> None:
    """For kinds that always have their bytes at once."""


HANDLERS.update(
    {
        FunctionType: Handler("function", expand_function, _function_leaf),
        MethodType: Handler("bound method", _expand_method, _method_leaf),
        BuiltinFunctionType: Handler("builtin", _expand_builtin, builtin_leaf),
        MethodWrapperType: Handler("builtin", _expand_builtin),
        WrapperDescriptorType: Handler("builtin", _skip, descriptor_leaf),
        MethodDescriptorType: Handler("builtin", _skip, descriptor_leaf),
        ClassMethodDescriptorType: Handler("builtin", _skip, descriptor_leaf),
        MemberDescriptorType: Handler("slot", _skip, descriptor_leaf),
        GetSetDescriptorType: Handler("slot", _skip, descriptor_leaf),
        CodeType: Handler("code", _expand_code),
        functools.partial: Handler("partial", _expand_partial),
        functools.partialmethod: Handler("partialmethod", _expand_partial),
        functools._lru_cache_wrapper: Handler("cached function", _expand_cached),
        staticmethod: Handler("staticmethod", expand_wrapping),
        classmethod: Handler("classmethod", expand_wrapping),
        property: Handler("property", expand_property),
        functools.cached_property: Handler("cached_property", _expand_cached_property),
    }
)
