"""How classes are read: bases, metaclass, and every attribute that counts."""

from __future__ import annotations

import sys
from enum import Enum, EnumType

from passprint.identity.canonical import encode_text, frame
from passprint.identity.code_kinds import foreign_bytes
from passprint.identity.hints import held_hints, hint_bytes, hint_text, lazy_hints
from passprint.identity.node import Node
from passprint.identity.walk import FINDERS, HANDLERS, Handler, Walk, by_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

IGNORE = "__fingerprint_ignore__"
"""A class attribute: names of attributes and fields, of the class and its subclasses, that do not count."""

UNCOUNTED = frozenset(
    {
        "__module__",
        "__qualname__",
        "__doc__",
        "__dict__",
        "__weakref__",
        "__annotations__",
        "__annotations_cache__",
        "__annotate__",
        "__annotate_func__",
        "__firstlineno__",
        "__static_attributes__",
        "__classdictcell__",
        "__slotnames__",  # what copyreg notes on a class when an object of it is copied or pickled
        "__abstractmethods__",
        "_abc_impl",
        IGNORE,
    }
)
_ENUM_TABLES = (
    "_member_names_",
    "_member_map_",
    "_value2member_map_",
    "_hashable_values_",
    "_unhashable_values_",
    "_unhashable_values_map_",
    "_new_member_",
    "_use_args_",
)
_PY_HEAP_TYPE = 1 << 9
_WELL_KNOWN = frozenset({"abc", "enum", "typing"})
"""Modules whose metaclasses stay as long as the process."""


def ignored_names(cls: type) -> frozenset[str]:
    """The names that a class and its bases leave out."""
    names: set[str] = set()
    for base in cls.__mro__:
        declared = base.__dict__.get(IGNORE)
        if declared:
            names.update((declared,) if isinstance(declared, str) else declared)
    return frozenset(names)


def _is_c_type(cls: type) -> bool:
    return not cls.__flags__ & _PY_HEAP_TYPE or "__module__" not in cls.__dict__


def class_leaf(walk: Walk, cls: type) -> bytes | None:
    """The bytes of a class that counts by name and version; None for one whose content counts."""
    module = cls.__module__
    label = walk.origins.of_module(module).label
    if label is None:
        return foreign_bytes(walk, module, cls.__qualname__) if _is_c_type(cls) else None
    if "<" in cls.__qualname__ or not (_is_c_type(cls) or _is_found(cls)):
        return None
    return by_name(label, module, cls.__qualname__)


def _is_found(cls: type) -> bool:
    """Whether the module that a class says it is from has it.

    A class that a user makes with ``type(name, bases, …)`` may say that it is from the module of its metaclass.
    """
    found: Any = sys.modules.get(cls.__module__)
    for name in cls.__qualname__.split("."):
        found = getattr(found, "__dict__", {}).get(name)
    return found is cls


def expand_class(walk: Walk, cls: type, node: Node) -> None:
    namespace = cls.__dict__
    content = dict(namespace)
    walk.slots.klass(cls)
    walk.slots.mapping(namespace, dict(content))
    node.head = frame(b"n", encode_text(cls.__name__)) + (hint_bytes(held_hints(cls)) or lazy_hints(cls))
    if "__dataclass_fields__" in content:
        _add_dataclass(walk, node, content)
    kind = type(cls)
    if kind is not type:
        node.add("→", f"metaclass {kind.__qualname__}", walk.child(kind), kind)
    for base in cls.__bases__:
        if base is not object:
            node.add("→", base.__qualname__, walk.child(base), base)
    ignored = ignored_names(cls)
    if isinstance(cls, EnumType):
        ignored = ignored | _add_members(walk, cls, node, content)
    try:
        names = sorted(content)
    except TypeError:  # a namespace may have keys that are no names
        names = sorted(content, key=str)
    walk.add_members(node, names, content, UNCOUNTED, ignored)


def _add_dataclass(walk: Walk, node: Node, content: dict[str, Any]) -> None:
    """A dataclass's options and fields; the methods that are generated follow from them."""
    options = str(content.pop("__dataclass_params__", None))
    node.add(".", "__dataclass_params__", frame(b"o", encode_text(options)), options)
    fields = content.pop("__dataclass_fields__")
    if type(fields) is not dict:
        node.add(".", "__dataclass_fields__", walk.child(fields), fields)
        return
    walk.slots.mapping(fields, dict(fields))
    for name, field in fields.items():
        node.add(".", f"{name}: {hint_text(field.type)}", walk.child(field), field)


def _add_members(walk: Walk, cls: EnumType, node: Node, content: dict[str, Any]) -> frozenset[str]:
    """An enum's members, aliases included, in order; gives the attributes that they stand for."""
    derived = set(_ENUM_TABLES)
    members: dict[str, Any] = content.get("_member_map_", {})
    for name, member in members.items():
        derived.add(name)
        node.add(".", name, walk.child(member._value_), member._value_)
        extra = {key: value for key, value in vars(member).items() if not key.startswith(("_", "__"))}
        for key in sorted(extra):
            node.add(".", f"{name}.{key}", walk.child(extra[key]), extra[key])
    return frozenset(derived)


def _expand_member(walk: Walk, member: Enum, node: Node) -> None:
    """An enum member: its class, and which one it is (a flag combination has no name, but a value)."""
    cls = type(member)
    node.add("", "class", walk.child(cls), cls)
    node.add(".", "name", walk.child(member._name_), member._name_)
    node.add(".", "value", walk.child(member._value_), member._value_)


def expand_field(walk: Walk, field: Any, node: Node) -> None:
    """A dataclass field; its type as it is written."""
    node.head = frame(
        b"n",
        ascii(
            (
                (field.name, hint_text(field.type), str(field._field_type)),
                (field.init, field.repr, field.hash, field.compare, field.kw_only is True),
            )
        ).encode(),
    )
    missing = sys.modules["dataclasses"].MISSING
    for label in ("default", "default_factory"):
        value = getattr(field, label)
        if value is not missing:
            node.add(".", label, walk.child(value), value)
    if field.metadata:
        metadata = dict(field.metadata)
        node.add(".", "metadata", walk.child(metadata), metadata)


_CLASS = Handler("class", expand_class, class_leaf)
_MEMBER = Handler("enum member", _expand_member)
_FIELD = Handler("field", expand_field)


def _find(kind: type) -> Handler | None:
    if issubclass(kind, type):
        if kind.__module__ in _WELL_KNOWN:
            HANDLERS[kind] = _CLASS
        return _CLASS
    if issubclass(kind, Enum):
        return _MEMBER
    dataclasses = sys.modules.get("dataclasses")
    if dataclasses is not None and kind is dataclasses.Field:
        HANDLERS[kind] = _FIELD
        return _FIELD
    return None


HANDLERS[type] = _CLASS
FINDERS.append(_find)
