"""How containers, modules and instances are read."""

from __future__ import annotations

from _thread import _local
from collections import defaultdict
from functools import lru_cache
from types import MappingProxyType, MethodDescriptorType, ModuleType

from passprint.errors import OpaqueError
from passprint.identity.canonical import canonical, encode_text, frame, is_flat
from passprint.identity.class_kinds import ignored_names
from passprint.identity.node import Node
from passprint.identity.walk import HANDLERS, Handler, Walk, by_name, own_attribute

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from passprint.identity.walk import Expand

_MISSING = object()


def tuple_leaf(walk: Walk, value: tuple[Any, ...]) -> bytes | None:
    return canonical(value) if is_flat(value) else None


def list_leaf(walk: Walk, value: Any) -> bytes | None:
    if not is_flat(value):
        return None
    walk.slots.items(value, tuple(value))
    return canonical(value)


def _plain_leaf(walk: Walk, value: Any) -> bytes | None:
    try:
        return canonical(value)
    except OpaqueError:
        return None


def _volatile_leaf(walk: Walk, value: Any) -> bytes | None:
    walk.slots.never()
    return canonical(value)


def _expand_sequence(walk: Walk, value: Any, node: Node) -> None:
    items = tuple(value)
    if type(value) is not tuple:
        walk.slots.items(value, items)
    for index, item in enumerate(items):
        node.add("[", str(index), walk.child(item), item)


def _expand_set(walk: Walk, value: Any, node: Node) -> None:
    items = tuple(value)
    if type(value) is not frozenset:
        walk.slots.items(value, items)
    node.unordered = True
    for item in items:
        node.add("[", "item", walk.child(item), item)


def expand_dict(walk: Walk, value: Any, node: Node) -> None:
    content = dict(value)
    walk.slots.mapping(value, content)
    for key, item in content.items():
        pair = Node("item", "")
        pair.add("", "key", walk.child(key), key)
        pair.add("", "value", walk.child(item), item)
        node.add("[", repr(key) if is_flat((key,)) else type(key).__qualname__, pair, item)


def _expand_module(walk: Walk, module: ModuleType, node: Node) -> None:
    """A module as a whole: every name in it but what the import system put there."""
    content = dict(module.__dict__)
    walk.slots.mapping(module.__dict__, content)
    for name in sorted(content):
        if not (name.startswith("__") and name.endswith("__")) or name == "__getattr__":
            node.add(".", name, walk.child(content[name]), content[name])


def _module_leaf(walk: Walk, module: ModuleType) -> bytes | None:
    label = walk.origins.of_module(module.__name__).label
    return None if label is None else by_name(label, module.__name__, "")


def add_class(walk: Walk, value: Any, node: Node) -> None:
    cls = type(value)
    node.add("", "class", walk.child(cls), cls)


def _slot_names(cls: type) -> list[str]:
    names: list[str] = []
    for base in cls.__mro__:
        declared = base.__dict__.get("__slots__", ())
        for name in (declared,) if isinstance(declared, str) else tuple(declared):
            if name in ("__dict__", "__weakref__"):
                continue
            if name.startswith("__") and not name.endswith("__"):
                name = f"_{base.__name__.lstrip('_')}{name}"
            names.append(name)
    return names


_DOCUMENTATION = frozenset({"__doc__"})


def add_state(walk: Walk, value: Any, node: Node, uncounted: frozenset[str] = frozenset()) -> None:
    """An instance's ``__dict__`` and slots, less what its class leaves out and documentation that it took over."""
    cls = type(value)
    ignored = ignored_names(cls) | _DOCUMENTATION | uncounted
    content: dict[str, Any] = {}
    attributes = own_attribute(value, "__dict__")
    if isinstance(attributes, dict):
        content.update(attributes)
    if not ignored.isdisjoint(content) and not _slot_names(cls):
        read = _counted_by(ignored)
        walk.slots.made(value, read, read(value))
    else:
        if isinstance(attributes, dict):
            walk.slots.mapping(attributes, dict(attributes))
        walk.slots.refer(value)
    _add_attributes(walk, value, node, content, ignored)


@lru_cache(maxsize=256)
def _counted_by(ignored: frozenset[str]) -> Callable[[Any], tuple[Any, ...]]:
    """What reads the class and attributes of an instance without some that are written while it is used."""

    def read(value: Any) -> tuple[Any, ...]:
        found: list[Any] = [type(value)]
        for name, item in own_attribute(value, "__dict__").items():
            if name not in ignored:
                found += (name, item)
        return tuple(found)

    return read


def _add_attributes(
    walk: Walk, value: Any, node: Node, content: dict[str, Any], ignored: frozenset[str]
) -> None:
    """What an instance's dict holds, and its slots."""
    cls = type(value)
    slots = [name for name in _slot_names(cls) if name not in ignored]
    filled = [
        (name, item) for name in slots if (item := own_attribute(value, name, _MISSING)) is not _MISSING
    ]
    if filled:
        walk.slots.members(value, [name for name, _ in filled], tuple([item for _, item in filled]))
        content.update(filled)
    for name in sorted(content, key=str):
        if name not in ignored:
            node.add(".", str(name), walk.child(content[name]), content[name])


def _expand_instance(walk: Walk, value: Any, node: Node) -> None:
    add_class(walk, value, node)
    add_state(walk, value, node)


def _in_this_thread(value: Any) -> tuple[Any, ...]:
    """The attributes that a ``threading.local`` has in the thread that asks: names, then values."""
    held: dict[str, Any] = _local.__getattribute__(value, "__dict__")
    return (type(value), *held.keys(), *held.values())


def _expand_local(walk: Walk, value: Any, node: Node) -> None:
    """A ``threading.local``: what this thread would read there now."""
    add_class(walk, value, node)
    try:
        held = _in_this_thread(value)
    except Exception as error:  # noqa: BLE001  (a thread's first look runs the class's __init__, which may raise anything)
        walk.slots.never()
        walk.mark_opaque(node, f"{type(value).__qualname__}, whose __init__ raised {type(error).__name__}")
        return
    walk.slots.made(value, _in_this_thread, held)
    count = len(held) // 2
    content = dict(zip(held[1 : count + 1], held[count + 1 :], strict=True))
    _add_attributes(walk, value, node, content, ignored_names(type(value)) | _DOCUMENTATION)


def _expand_declared(walk: Walk, value: Any, node: Node) -> None:
    """``__fingerprint__`` says what counts; it is asked again each time."""
    walk.slots.never()
    add_class(walk, value, node)
    declared = type(value).__fingerprint__(value)
    node.add("", "__fingerprint__", walk.child(declared), declared)


def _expand_with_getstate(walk: Walk, value: Any, node: Node) -> None:
    walk.slots.never()
    try:
        state = value.__getstate__()
    except Exception as error:  # noqa: BLE001  (it is the class's own code, and may raise anything)
        kind = type(value)
        written_in_c = isinstance(kind.__getstate__, MethodDescriptorType)  # and says only that it has none
        raised = "" if written_in_c else f", whose __getstate__ raised {type(error).__name__}"
        walk.mark_opaque(node, f"{kind.__qualname__}{raised}")
        return
    add_class(walk, value, node)
    node.add("", "state", walk.child(state), state)


def _over_builtin(base: type, read: Expand) -> Expand:
    """An instance of a class derived from a builtin container or value: its items, then its state."""

    def expand(walk: Walk, value: Any, node: Node) -> None:
        add_class(walk, value, node)
        items = Node(base.__name__, "")
        read(walk, value, items)
        node.add("", base.__name__, items, None)
        add_state(walk, value, node)

    return expand


def _read_plain(base: Any) -> Expand:
    def read(walk: Walk, value: Any, node: Node) -> None:
        node.head = canonical(base(value) if base is not str else str.__str__(value))

    return read


def _expand_defaultdict(walk: Walk, value: Any, node: Node) -> None:
    """The items and what makes the missing ones; the slots of the instance notice another maker."""
    expand_dict(walk, value, node)
    factory = own_attribute(value, "default_factory")
    node.add(".", "default_factory", walk.child(factory), factory)


_BASES: tuple[tuple[type, Expand], ...] = (
    (defaultdict, _expand_defaultdict),
    (dict, expand_dict),
    (list, _expand_sequence),
    (tuple, lambda walk, value, node: _expand_sequence(walk, tuple(value), node)),
    (set, _expand_set),
    (frozenset, lambda walk, value, node: _expand_set(walk, frozenset(value), node)),
    (str, _read_plain(str)),
    (int, _read_plain(int.__index__)),
    (float, _read_plain(float.__float__)),
    (bytes, _read_plain(lambda value: bytes.__getitem__(value, slice(None)))),
    (complex, _read_plain(complex.__complex__)),
)


_NEVER_CHANGE = frozenset({"operator"})
"""Modules whose objects keep what they were made with."""


def _expand_reduced(walk: Walk, value: Any, node: Node) -> None:
    """An object with state that Python cannot see: what pickle would keep of it, or else opaque."""
    kind = type(value)
    if kind.__module__ not in _NEVER_CHANGE and kind.__name__ != "_tuplegetter":  # of a named tuple's field
        walk.slots.never()
    try:
        reduced = value.__reduce_ex__(4)
    except Exception:  # noqa: BLE001  (it is the class's own code, and may raise anything)
        walk.mark_opaque(node, type(value).__qualname__)
        return
    add_class(walk, value, node)
    if isinstance(reduced, str):
        node.head = frame(b"g", encode_text(reduced))
        return
    for label, part in zip(("maker", "arguments", "state", "items", "pairs"), reduced, strict=False):
        if part is not None:
            kept = list(part) if label in ("items", "pairs") else part
            node.add("", label, walk.child(kept), kept)


_MANAGED_DICT = 1 << 4  # Py_TPFLAGS_MANAGED_DICT (3.11): the dict's pointer stands before the object


def _pointers(cls: type) -> int:
    """How many pointers of an instance's size are for its dict and its weak references."""
    has_dict = cls.__dictoffset__ != 0 and not cls.__flags__ & _MANAGED_DICT
    return has_dict + (cls.__weakrefoffset__ > 0)  # negative: before the object as well (3.12)


def _hides_state(cls: type, base: type = object) -> bool:
    """Whether instances hold more than those of a base, a dict, a weak reference list and slots."""
    known = _pointers(cls) - _pointers(base) + len(_slot_names(cls))
    hidden = cls.__basicsize__ - base.__basicsize__ - 8 * known
    return hidden > 0 or bool(cls.__itemsize__ and not base.__itemsize__)


def _find_instance(kind: type) -> Handler | None:
    if hasattr(kind, "__fingerprint__"):
        return Handler("instance", _expand_declared)
    getstate = getattr(kind, "__getstate__", None)
    # that of a frozen dataclass with slots only lists its fields, which are read as such
    is_generated = getattr(getstate, "__module__", None) == "dataclasses"
    if getstate is not getattr(object, "__getstate__", None) and not is_generated:
        if kind.__flags__ & (1 << 9):
            return Handler("instance", _expand_with_getstate)
        return Handler("instance", _expand_reduced)
    if issubclass(kind, _local):
        return Handler("instance", _expand_local)
    for base, read in _BASES:
        if issubclass(kind, base):
            if not _hides_state(kind, base):
                return Handler("instance", _over_builtin(base, read))
            break
    if issubclass(kind, ModuleType):
        return _MODULE
    return Handler("instance", _expand_reduced if _hides_state(kind) else _expand_instance)


_MODULE = Handler("module", _expand_module, _module_leaf)
HANDLERS.update(
    {
        tuple: Handler("tuple", _expand_sequence, tuple_leaf),
        list: Handler("list", _expand_sequence, list_leaf),
        set: Handler("set", _expand_set, list_leaf),
        frozenset: Handler("frozenset", _expand_set, tuple_leaf),
        dict: Handler("dict", expand_dict),
        MappingProxyType: Handler("dict", expand_dict),
        slice: Handler(
            "slice",
            lambda walk, v, node: _expand_sequence(walk, (v.start, v.stop, v.step), node),
            _plain_leaf,
        ),
        range: Handler("range", lambda walk, value, node: None, _plain_leaf),
        bytearray: Handler("bytearray", lambda walk, value, node: None, _volatile_leaf),
        ModuleType: _MODULE,
    }
)


LAST_FINDER = _find_instance
