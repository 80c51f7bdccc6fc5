"""How values are read in a walk: containers, modules, tensors, instances of any class.

Containers count whole, a dict of texts by the keys that code names where it computes none. Tensors count by kind.
"""

from __future__ import annotations

import enum
import functools
import gc
import logging
import os
import re
import threading
import weakref
from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterable
from contextvars import ContextVar
from types import (
    BuiltinFunctionType,
    MappingProxyType,
    MethodDescriptorType,
    MethodType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any, Final

import torch

from passprint.compiler.dependencies.code import visit_class, visit_operator, visit_tensor_class
from passprint.compiler.dependencies.walk import FINDERS, HANDLERS, ITEM, PLAIN_TYPES, Handler, Walk
from passprint.compiler.guards.refs import own_dict
from passprint.compiler.lowering import host, operators
from passprint.identity.slots import ABSENT, ITEMS, MAPPING, NAME, REFERS, SAME

_OF_TORCH: Final = (torch.dtype, torch.device, torch.layout, torch.memory_format, torch.Size)
_BUILTINS: Final = (BuiltinFunctionType, MethodDescriptorType, WrapperDescriptorType)
_RAW: Final[dict[Any, Any]] = vars(os.environ)["_data"]
_VALUES: Final = (bool, int, float, complex, str, bytes)

_OF_MODULES: Final = frozenset(vars(torch.nn.Module()))
"""What every module keeps for itself; its children and tensors are in the request (request.py)."""
HOOKS: Final = ("forward_pre_hooks", "forward_hooks", "backward_pre_hooks", "backward_hooks")
"""Where a module, as ``_forward_hooks``, keeps what runs with it; ``torch.nn`` keeps there what runs with every module.

Torch numbers hooks as they are registered, in another process otherwise: the order counts, the numbers do not.
"""


def _text(walk: Walk, value: Any, path: str, name: str) -> None:
    walk.add("value", path, str(value))


def _mapping(walk: Walk, value: Any, path: str, name: str) -> None:
    if type(value) is MappingProxyType:
        inner = gc.get_referents(value)
        value = inner[0] if len(inner) == 1 and type(inner[0]) is dict else value
    mapping = dict(value)
    if type(value) in (dict, defaultdict):
        walk.watch(MAPPING, value, mapping)
    elif isinstance(value, dict):
        walk.watch(SAME, value, _in_order, _in_order(value))
    if isinstance(value, OrderedDict):
        mapping = {key: value[key] for key in OrderedDict.__iter__(value)}
    any_key = walk.reads_any_key(name, type(value))
    if not any_key and all(type(key) is str for key in mapping):
        mapping = {key: mapping[key] for key in sorted(walk.reads.names & mapping.keys())}
        walk.add("value", path, _name_of(type(value)))
    else:
        keys = ", ".join([plain_text(key) or f"a {_name_of(type(key))}" for key in mapping])
        walk.add("value", path, f"{_name_of(type(value))} of {len(mapping)}: {keys}")
    for place, (key, item) in enumerate(mapping.items()):
        shown = plain_text(key)
        if shown is None:
            shown = f"key {place}"
            walk.visit(key, f"{path}.keys()[{place}]", ITEM)
        walk.visit(item, f"{path}[{shown}]", ITEM if any_key or type(key) is not str else key)
        if type(item) in PLAIN_TYPES or shown.startswith("key "):
            continue
        walk.add("value", f"{path}[{shown}]", "")  # the key itself, where its value is no plain one
    if isinstance(value, defaultdict):
        walk.visit(value.default_factory, f"{path}.default_factory", "default_factory")


def _in_order(mapping: Any) -> tuple[Any, ...]:
    keys = list(OrderedDict.__iter__(mapping)) if isinstance(mapping, OrderedDict) else list(mapping)
    return (*keys, *[dict.__getitem__(mapping, key) for key in keys])


def _sequence(walk: Walk, value: Any, path: str, name: str) -> None:
    items = tuple(value)
    if type(value) is list:
        walk.watch(ITEMS, value, items)
    elif type(value) is deque:
        walk.watch(SAME, value, tuple, items)
    walk.add("value", path, f"{_name_of(type(value))} of {len(items)}")
    for place, item in enumerate(items):
        walk.visit(item, f"{path}[{place}]", ITEM)


def _set(walk: Walk, value: Any, path: str, name: str) -> None:
    items = tuple(value)
    if not isinstance(value, frozenset):
        walk.watch(SAME, value, tuple, items)
    texts = [plain_text(item) for item in items]
    known = [text for text in texts if text is not None]
    walk.add("value", path, f"{_name_of(type(value))} {{{', '.join(sorted(known))}}}")
    if len(known) < len(items):
        for place, item in enumerate(items):
            walk.visit(item, f"{path}[{place}]", ITEM)
    elif (name == ITEM or name in walk.reads.ordered) and not _is_fixed(items):
        walk.add("value", f"{path} in this order", ", ".join(known))
    for item in items:
        if isinstance(item, enum.Enum):
            walk.visit(type(item), _name_of(type(item)), ITEM)


def _is_fixed(items: tuple[Any, ...]) -> bool:
    """Whether a set of these has the same order everywhere: numbers that do not get in each other's way."""
    if len(items) < 2:
        return True
    backwards = items[::-1]
    return all(type(item) in (int, bool) for item in items) and list(set(items)) == list(set(backwards))


def plain_text(value: Any) -> str | None:
    """A text for a value that says all of it and is the same in every process; None for anything else."""
    if type(value) in PLAIN_TYPES:
        return repr(value)
    if isinstance(value, enum.Enum):
        inner = plain_text(value.value)
        return f"{_name_of(type(value))}.{value.name}" + ("" if inner is None else f" ({inner})")
    if isinstance(value, _OF_TORCH):
        return str(value)
    if type(value) is tuple:
        parts = [plain_text(item) for item in value]
        return None if None in parts else f"({', '.join(map(str, parts))})"
    if isinstance(value, type):
        return f"class {_name_of(value)}"
    return None


def _name_of(cls: type) -> str:
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


_READS_KEYS: Final = frozenset(
    {"__getitem__", "__missing__", "__contains__", "__iter__", "__len__", "__getattr__", "__getattribute__"}
    | {"get", "keys", "values", "items"}
)


def _has_keys_of_its_own(cls: type) -> bool:
    """Whether a class derived from dict says itself what is behind a key, so that another one may be read."""
    own = [vars(base) for base in cls.__mro__ if base.__module__ not in ("builtins", "collections")]
    return any(not _READS_KEYS.isdisjoint(held) for held in own)


def _logger(walk: Walk, value: logging.Logger, path: str, name: str) -> None:
    """What a logger lets through; not all other loggers, to which it leads."""
    state = _state_of_logger(value)
    walk.watch(SAME, value, _state_of_logger, state)
    walk.add("value", path, f"logger {', '.join(map(str, state))}")
    visit_class(walk, type(value))
    kept = {n: item for n, item in vars(value).items() if n not in _OF_LOGGERS}
    walk.attributes(kept, path, name, type(value))


_OF_LOGGERS: Final = frozenset(vars(logging.getLogger())) | {"manager", "root"}


def _state_of_logger(value: logging.Logger) -> tuple[Any, ...]:
    return value.name, value.level, value.getEffectiveLevel(), value.manager.disable, value.disabled


def _member(walk: Walk, value: Any, path: str, name: str) -> None:
    walk.add("value", path, f"{_name_of(type(value))}.{value.name}")
    visit_class(walk, type(value))
    walk.visit(value.value, f"{path}.value", ITEM)


def _tensor(walk: Walk, value: Any, path: str, name: str) -> None:
    about = f"{_name_of(type(value))} {value.dtype} {value.dim()}d {value.device}"
    walk.add("value", path, about + (" grad" if value.requires_grad else ""))
    if type(value) not in (torch.Tensor, torch.nn.Parameter):
        visit_tensor_class(walk, type(value))
        names = getattr(value, "__tensor_flatten__", None)
        inner, context = names() if names is not None else ((), None)
        walk.add("value", f"{path}.__tensor_flatten__()", repr(list(inner)))
        walk.visit(context, f"{path}.__tensor_flatten__()[1]", ITEM)
        for attribute in inner:
            walk.visit(getattr(value, attribute), f"{path}.{attribute}", attribute)
    _marks(walk, value, path, name)


def _marks(walk: Walk, tensor: torch.Tensor, path: str, name: str) -> None:
    """The attributes that somebody gave a tensor; Dynamo has its own there."""
    held = {mark: value for mark, value in vars(tensor).items() if not mark.startswith("_dynamo")}
    if held:
        walk.attributes(held, path, name, type(tensor))


def _module(walk: Walk, value: torch.nn.Module, path: str, name: str) -> None:
    held = vars(value)
    for table in (held, value._modules, value._parameters, value._buffers):
        if type(table) is dict:
            walk.watch(MAPPING, table, dict(table))
    walk.watch(REFERS, value, gc.get_referents(value))
    visit_class(walk, type(value))
    kept = {n: item for n, item in held.items() if n not in _OF_MODULES}
    walk.attributes(kept, path, name, type(value))
    visit_hooks(walk, held, path, "_")
    for table in (value._parameters, value._buffers):
        for attribute, tensor in table.items():
            if tensor is None:
                continue
            if type(tensor) in _TENSORS:  # the request has what kind it is
                _marks(walk, tensor, f"{path}.{attribute}", attribute)
            else:
                walk.visit(tensor, f"{path}.{attribute}", attribute)
    for attribute, child in value._modules.items():
        if child is not None:
            walk.visit(child, f"{path}.{attribute}", attribute)


_TENSORS = (torch.Tensor, torch.nn.Parameter)


def visit_hooks(walk: Walk, held: dict[str, Any], path: str, prefix: str) -> None:
    """The hooks in ``held``, which Dynamo does not guard on (``skip_nnmodule_hook_guards``)."""
    for kind in HOOKS:
        table = held.get(f"{prefix}{kind}")
        if table is None:
            continue
        walk.watch(MAPPING, table, dict(table))
        for place, (number, hook) in enumerate(table.items()):
            here = f"{path}.{prefix}{kind}[{place}]"
            flags = [
                f for f in ("with_kwargs", "always_called") if number in held.get(f"{prefix}{kind}_{f}", ())
            ]
            home = hook if hasattr(hook, "__qualname__") else type(hook)
            walk.add("value", f"hook {here}", ", ".join([f"{home.__module__}.{home.__qualname__}", *flags]))
            walk.visit(hook, here, ITEM)


def _bound(walk: Walk, value: Any, path: str, name: str) -> None:
    walk.visit(value.__func__, f"{path}.__func__", name)
    walk.visit(value.__self__, f"{path}.__self__", name)


def _partial(walk: Walk, value: Any, path: str, name: str) -> None:
    walk.watch(REFERS, value, gc.get_referents(value))
    with walk.exact():
        walk.visit(value.func, f"{path}.func", name)
        walk.visit(value.args, f"{path}.args", ITEM)
        walk.visit(value.keywords, f"{path}.keywords", ITEM)


def _descriptor(walk: Walk, value: Any, path: str, name: str) -> None:
    for attribute in ("fget", "fset", "__func__", "func"):
        function = getattr(value, attribute, None)
        if function is not None:
            walk.visit(function, f"{path}.{attribute}", name)


def _reference(walk: Walk, value: Any, path: str, name: str) -> None:
    walk.visit(value(), f"{path}()", name)


def _context(walk: Walk, value: ContextVar[Any], path: str, name: str) -> None:
    present = value.get(ABSENT)
    walk.watch(SAME, value, _current, (present,))
    if present is ABSENT:
        walk.add("value", f"{path}.get()", "not set")
    else:
        with walk.exact():
            walk.visit(present, f"{path}.get()", name)


def _current(variable: ContextVar[Any]) -> tuple[Any, ...]:
    return (variable.get(ABSENT),)


def _builtin(walk: Walk, value: Any, path: str, name: str) -> None:
    owner = getattr(value, "__objclass__", None) or getattr(value, "__self__", None)
    if owner is not None and not isinstance(owner, (type, ModuleType)):
        walk.visit(owner, f"{path}.__self__", name)
    home = getattr(value, "__module__", None) or getattr(owner, "__name__", "")
    walk.add("value", path, f"{home}.{value.__qualname__}")


def _operator(walk: Walk, value: Any, path: str, name: str) -> None:
    operator = operators.operator_of(value)
    walk.add("value", path, str(value))
    if operator is not None:
        visit_operator(walk, operator)


def _instance(walk: Walk, value: Any, path: str, name: str) -> None:
    cls = type(value)
    walk.add("value", path, _name_of(cls))
    visit_class(walk, cls)
    base = next((base for base in _VALUES if isinstance(value, base)), None)
    if base is not None:
        walk.add("value", f"{path} as {base.__name__}", base.__repr__(value))
    elif isinstance(value, dict):
        _mapping(walk, value, f"{path} as dict", ITEM if _has_keys_of_its_own(cls) else name)
    elif isinstance(value, (list, tuple, deque)):
        _sequence(walk, value, f"{path} as {'list' if isinstance(value, list) else 'tuple'}", ITEM)
    elif isinstance(value, (set, frozenset)):
        _set(walk, value, f"{path} as set", name)
    held = own_dict(value)
    if held is not None:
        if not isinstance(value, threading.local):
            walk.watch(MAPPING, held, dict(held))
        walk.attributes(held, path, name, cls)
        if "__wrapped__" in held:  # functools.lru_cache: a call of it is one of what it wraps
            walk.visit(held["__wrapped__"], f"{path}.__wrapped__", name)
    filled = {n: item for n in _slots(cls) if (item := _slot(value, n)) is not ABSENT}
    if filled:
        walk.watch(SAME, value, functools.partial(_read_slots, tuple(filled)), tuple(filled.values()))
        walk.attributes(filled, path, name, cls)
    if cls.__flags__ & _HEAP_TYPE:
        walk.watch(SAME, value, _class_of, (cls,))


_HEAP_TYPE = 1 << 9


def _class_of(value: Any) -> tuple[Any, ...]:
    return (type(value),)


def _slots(cls: type) -> list[str]:
    found: list[str] = []
    for base in cls.__mro__:
        declared = vars(base).get("__slots__", ())
        for name in (declared,) if isinstance(declared, str) else tuple(declared):
            hidden = name.startswith("__") and not name.endswith("__")
            found.append(f"_{base.__name__.lstrip('_')}{name}" if hidden else name)
    return [name for name in found if name not in ("__dict__", "__weakref__")]


def _slot(value: Any, name: str) -> Any:
    try:
        return object.__getattribute__(value, name)
    except AttributeError:
        return ABSENT


def _read_slots(names: tuple[str, ...], value: Any) -> tuple[Any, ...]:
    return tuple([_slot(value, name) for name in names])


def _environ(walk: Walk, value: Any, path: str, name: str) -> None:
    """``os.environ`` that was reached as a value: all of it, unless code names it and what it asks for."""
    if walk.reads.variables == ():
        add_variables(walk, None)


def add_variables(walk: Walk, names: Iterable[str] | None) -> None:
    """The variables of the environment that inlined code can ask for; all of them for None."""
    if names is None:
        names = sorted(name for name, value in os.environ.items() if not host.set_by_torch(name, value))
        walk.watch(MAPPING, _RAW, dict(_RAW))
    for name in names:
        key = os.fsencode(name)
        if name in os.environ:
            walk.watch(NAME, _RAW, key, _RAW[key])
            walk.once("variable", name, os.environ[name])
        else:
            walk.watch(NAME, _RAW, key, ABSENT)


def _array(walk: Walk, value: Any, path: str, name: str) -> None:
    """It becomes a tensor in a trace, and is guarded as that."""
    walk.add("value", path, f"numpy {value.dtype} {value.ndim}d")


for _kinds, _read in (
    ((list, tuple, deque), _sequence),
    ((set, frozenset), _set),
    ((dict, OrderedDict, defaultdict, MappingProxyType), _mapping),
    ((range, slice, re.Pattern), _text),
    ((property, staticmethod, classmethod, functools.cached_property), _descriptor),
    (_BUILTINS, _builtin),
    ((MethodType,), _bound),
    ((functools.partial,), _partial),
    ((weakref.ref,), _reference),
    ((ContextVar,), _context),
    ((type(os.environ),), _environ),
):
    HANDLERS.update(dict.fromkeys(_kinds, _read))


def _find(kind: type) -> Handler:
    if issubclass(kind, torch.Tensor):
        return _tensor
    if issubclass(kind, torch.nn.Module):
        return _module
    if issubclass(kind, enum.Enum):
        return _member
    if issubclass(kind, logging.Logger):
        return _logger
    if issubclass(kind, _OF_TORCH):
        return _text
    if kind.__module__ == "torch._ops":
        return _operator
    if kind.__module__.partition(".")[0] == "numpy" and hasattr(kind, "ndim") and hasattr(kind, "dtype"):
        return _array
    if issubclass(kind, (staticmethod, classmethod, property)):
        return _descriptor
    return _instance


FINDERS.append(_find)
