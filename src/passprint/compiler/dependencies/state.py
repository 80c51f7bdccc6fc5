"""The state behind names: a walk from the model to all that inlined code can look up, written down as named values.

Each value is a row: its kind, a path that a person can read (``model.config.activation``) and a text. Objects are
walked by the names of a list (:mod:`passprint.compiler.dependencies.can_read`): an attribute, a global, a member of a
class counts if some inlined code holds its name; containers count whole. Tensors count by kind. Beside the rows, the
walk collects what it went through for a check by pointer at every call (:mod:`passprint.identity.slots`).
"""

from __future__ import annotations

import enum
import functools
import gc
import re
import threading
import weakref
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cached_property
from hashlib import sha256
from types import (
    BuiltinFunctionType,
    CodeType,
    FunctionType,
    MappingProxyType,
    MethodDescriptorType,
    MethodType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any, Final

import torch

from passprint.compiler.dependencies.can_read import CanRead
from passprint.compiler.dependencies.row import PLAIN, Row, digest
from passprint.compiler.dependencies.uses import ANY
from passprint.compiler.guards.refs import CannotRecordError
from passprint.compiler.lowering import operators
from passprint.identity import default_memo
from passprint.identity.slots import ABSENT, ITEMS, MAPPING, REFERS, SAME

_MOST: Final = 400_000
"""So many objects are a graph that nobody meant a model to reach."""

_PLAIN: Final = frozenset({type(None), bool, int, float, complex, str, bytes, type(Ellipsis)})
_OF_TORCH: Final = (torch.dtype, torch.device, torch.layout, torch.memory_format, torch.Size)
_BUILTINS: Final = (BuiltinFunctionType, MethodDescriptorType, WrapperDescriptorType)
_VALUES: Final = (bool, int, float, complex, str, bytes)
_LONGEST: Final = 400
ITEM: Final = ""
"""The name of what has none: an item of a container."""

# What a module keeps for itself; its children and tensors are in the request (request.py), its hooks apart.
_TABLES: Final = frozenset({"_parameters", "_buffers", "_modules", "training"})
_HOOKS: Final = re.compile(r"_.*_hooks(_\w+)?|_is_full_backward_hook|_non_persistent_buffers_set")


class State:
    """The walk of one list, from one model, in this process; ``rows`` is what it found."""

    def __init__(self, reads: CanRead, model: Any) -> None:
        """Walk. Raises :class:`CannotRecordError` where something that counts has no form."""
        self.reads = reads
        self.rows: list[Row] = []
        self.watched: list[tuple[Any, ...]] = []
        self.codes: set[CodeType] = set()
        """The code that was met: what a function or class that counts is made of."""
        self.memo = default_memo().without_values()
        self._seen: dict[int, str] = {}
        # What was reached by a name by which more of it counts is gone through again.
        self._whole_names = reads.ordered | reads.keyed | reads.whole
        self._whole: set[int] = set()
        self._exact = 0
        self._alive: list[object] = []
        self._spoken: set[tuple[str, str]] = set()
        from passprint.compiler.dependencies import code_state

        self._code = code_state
        try:
            self.visit(model, "model", "model")
            for module, path in reads.roots:
                self._code.visit_root(self, module, path)
        except RecursionError:
            raise CannotRecordError("what the model reaches is nested too deeply to be compared") from None
        code_state.add_environment(self)
        code_state.add_questions(self)
        code_state.add_packages(self)

    @cached_property
    def digest(self) -> str:
        """The digest of all rows."""
        return digest(self.rows)

    @cached_property
    def digest_at_call(self) -> str:
        """The same without plain values: Dynamo guards those that it reads, and they may change between calls."""
        return digest([Row(PLAIN, row.name, "") if row.kind == PLAIN else row for row in self.rows])

    @contextmanager
    def exact(self) -> Iterator[None]:
        """Plain values that are visited meanwhile count at every call: Dynamo may have no guard on them."""
        self._exact += 1
        try:
            yield
        finally:
            self._exact -= 1

    def covers(self, obj: object) -> bool:
        """Whether a function or class was met, so that a row says what it is."""
        return id(obj) in self._seen

    # -- rows

    def add(self, kind: str, name: str, text: str) -> None:
        """Add a row; a long text counts by its digest."""
        if len(text) > _LONGEST:
            text = f"{text[:80]}… {sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:24]}"
        self.rows.append(Row(kind, name, text))

    def once(self, kind: str, name: str, text: str) -> None:
        """Add a row of something that has a name of its own, the first time."""
        if (kind, name) not in self._spoken:
            self._spoken.add((kind, name))
            self.add(kind, name, text)

    def watch(self, *row: Any) -> None:
        """Note what is compared by pointer at a call."""
        self.watched.append(row)

    # -- values

    def visit(self, value: Any, path: str, name: str) -> None:
        """Add what counts of a value that is reached by ``name``."""
        kind = type(value)
        if kind in _PLAIN:
            self.add("value" if self._exact else PLAIN, path, repr(value))
            return
        known = self._seen.get(id(value))
        counts_more = name == ITEM or name in self._whole_names
        if known is not None and (id(value) in self._whole or not counts_more):
            if known != path and not isinstance(value, (type, FunctionType, ModuleType)):
                self.add("value", path, f"the same as {known}")
            return
        self._seen[id(value)] = path
        if counts_more:
            self._whole.add(id(value))
        self._alive.append(value)
        if len(self._alive) > _MOST:
            raise CannotRecordError(f"the model reaches more than {_MOST:,} objects")
        _handler(kind)(self, value, path, name)

    def is_whole(self, name: str, cls: type) -> bool:
        """Whether all attributes of an object count, and not only those that code names."""
        whole = self.reads.whole
        if not whole:
            return False
        if ANY in whole or name in whole:
            return True
        return any(f"{base.__module__}:{base.__qualname__}" in whole for base in cls.__mro__)

    def attributes(self, held: dict[str, Any], path: str, name: str, cls: type) -> None:
        """Add those of an object's attributes that count."""
        names, whole = self.reads.names, self.is_whole(name, cls)
        stored = self.reads.stored
        for attribute, value in list(held.items()):
            if attribute in names or whole:
                if attribute in stored and type(value) in (int, float, bool):
                    continue  # counters: what code sets itself is another value at each call
                self.visit(value, f"{path}.{attribute}", attribute)


Handler = Callable[[State, Any, str, str], None]


def _text(state: State, value: Any, path: str, name: str) -> None:
    state.add("value", path, str(value))


def _mapping(state: State, value: Any, path: str, name: str) -> None:
    mapping = dict(value)
    if type(value) is MappingProxyType:
        inner = gc.get_referents(value)
        value = inner[0] if len(inner) == 1 and type(inner[0]) is dict else value
    if isinstance(value, dict):
        if type(value) in (dict, defaultdict):
            state.watch(MAPPING, value, mapping)
        else:
            state.watch(SAME, value, _in_order, _in_order(value))
    if isinstance(value, OrderedDict):
        mapping = {key: value[key] for key in OrderedDict.__iter__(value)}
    if name != ITEM and name not in state.reads.keyed and all(type(key) is str for key in mapping):
        names = state.reads.names
        mapping = {key: item for key, item in mapping.items() if key in names}
        state.add("value", path, _name_of(type(value)))
    else:
        state.add("value", path, f"{_name_of(type(value))} of {len(mapping)}")
    for place, (key, item) in enumerate(mapping.items()):
        shown = plain_text(key)
        if shown is None:
            shown = f"key {place}"
            state.visit(key, f"{path}.keys()[{place}]", ITEM)
        state.visit(item, f"{path}[{shown}]", key if type(key) is str else ITEM)
        if type(item) in _PLAIN or shown.startswith("key "):
            continue
        state.add("value", f"{path}[{shown}]", "")  # the key itself, where its value is no plain one
    if isinstance(value, defaultdict):
        state.visit(value.default_factory, f"{path}.default_factory", "default_factory")


def _in_order(mapping: Any) -> tuple[Any, ...]:
    keys = list(OrderedDict.__iter__(mapping)) if isinstance(mapping, OrderedDict) else list(mapping)
    return (*keys, *[dict.__getitem__(mapping, key) for key in keys])


def _sequence(state: State, value: Any, path: str, name: str) -> None:
    items = tuple(value)
    if type(value) is list:
        state.watch(ITEMS, value, items)
    elif type(value) is deque:
        state.watch(SAME, value, tuple, items)
    state.add("value", path, f"{_name_of(type(value))} of {len(items)}")
    for place, item in enumerate(items):
        state.visit(item, f"{path}[{place}]", ITEM)


def _set(state: State, value: Any, path: str, name: str) -> None:
    items = tuple(value)
    if not isinstance(value, frozenset):
        state.watch(SAME, value, tuple, items)
    texts = [plain_text(item) for item in items]
    known = [text for text in texts if text is not None]
    state.add("value", path, f"{_name_of(type(value))} {{{', '.join(sorted(known))}}}")
    if len(known) < len(items):
        for place, item in enumerate(items):
            state.visit(item, f"{path}[{place}]", ITEM)
    elif (name == ITEM or name in state.reads.ordered) and not _is_fixed(items):
        state.add("value", f"{path} in this order", ", ".join(known))
    for item in items:
        if isinstance(item, enum.Enum):
            state.visit(type(item), _name_of(type(item)), ITEM)


def _is_fixed(items: tuple[Any, ...]) -> bool:
    """Whether a set of these has the same order everywhere: numbers that do not get in each other's way."""
    if len(items) < 2:
        return True
    backwards = items[::-1]
    return all(type(item) in (int, bool) for item in items) and list(set(items)) == list(set(backwards))


def plain_text(value: Any) -> str | None:
    """A text for a value that says all of it and is the same in every process; None for anything else."""
    if type(value) in _PLAIN:
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


def _member(state: State, value: Any, path: str, name: str) -> None:
    state.add("value", path, f"{_name_of(type(value))}.{value.name}")
    state.visit(type(value), _name_of(type(value)), ITEM)
    state.visit(value.value, f"{path}.value", ITEM)


def _tensor(state: State, value: Any, path: str, name: str) -> None:
    about = f"{_name_of(type(value))} {value.dtype} {value.dim()}d {value.device}"
    state.add("value", path, about + (" grad" if value.requires_grad else ""))
    if type(value) not in (torch.Tensor, torch.nn.Parameter):
        state._code.visit_tensor_class(state, type(value))
        names = getattr(value, "__tensor_flatten__", None)
        inner, context = names() if names is not None else ((), None)
        state.add("value", f"{path}.__tensor_flatten__()", repr(list(inner)))
        state.visit(context, f"{path}.__tensor_flatten__()[1]", ITEM)
        for attribute in inner:
            state.visit(getattr(value, attribute), f"{path}.{attribute}", attribute)
    _marks(state, value, path, name)


def _marks(state: State, tensor: torch.Tensor, path: str, name: str) -> None:
    """The attributes that somebody gave a tensor; Dynamo has its own there."""
    held = {mark: value for mark, value in vars(tensor).items() if not mark.startswith("_dynamo")}
    if held:
        state.attributes(held, path, name, type(tensor))


def _module(state: State, value: torch.nn.Module, path: str, name: str) -> None:
    held = vars(value)
    for table in (held, value._modules, value._parameters, value._buffers):
        if type(table) is dict:
            state.watch(MAPPING, table, dict(table))
    state.watch(REFERS, value, gc.get_referents(value))
    state._code.visit_class(state, type(value))
    kept = {n: item for n, item in held.items() if n not in _TABLES and not _HOOKS.fullmatch(n)}
    state.attributes(kept, path, name, type(value))
    for table in (value._parameters, value._buffers):
        for attribute, tensor in table.items():
            if tensor is None:
                continue
            if type(tensor) in _TENSORS:  # the request has what kind it is
                _marks(state, tensor, f"{path}.{attribute}", attribute)
            else:
                state.visit(tensor, f"{path}.{attribute}", attribute)
    for attribute, child in value._modules.items():
        if child is not None:
            state.visit(child, f"{path}.{attribute}", attribute)


_TENSORS = (torch.Tensor, torch.nn.Parameter)


def _bound(state: State, value: Any, path: str, name: str) -> None:
    state.visit(value.__func__, f"{path}.__func__", name)
    state.visit(value.__self__, f"{path}.__self__", name)


def _partial(state: State, value: Any, path: str, name: str) -> None:
    state.watch(REFERS, value, gc.get_referents(value))
    with state.exact():
        state.visit(value.func, f"{path}.func", name)
        state.visit(value.args, f"{path}.args", ITEM)
        state.visit(value.keywords, f"{path}.keywords", ITEM)


def _descriptor(state: State, value: Any, path: str, name: str) -> None:
    for attribute in ("fget", "fset", "__func__", "func"):
        function = getattr(value, attribute, None)
        if function is not None:
            state.visit(function, f"{path}.{attribute}", name)


def _reference(state: State, value: Any, path: str, name: str) -> None:
    state.visit(value(), f"{path}()", name)


def _context(state: State, value: ContextVar[Any], path: str, name: str) -> None:
    present = value.get(ABSENT)
    state.watch(SAME, value, _current, (present,))
    if present is ABSENT:
        state.add("value", f"{path}.get()", "not set")
    else:
        with state.exact():
            state.visit(present, f"{path}.get()", name)


def _current(variable: ContextVar[Any]) -> tuple[Any, ...]:
    return (variable.get(ABSENT),)


def _builtin(state: State, value: Any, path: str, name: str) -> None:
    owner = getattr(value, "__objclass__", None) or getattr(value, "__self__", None)
    if owner is not None and not isinstance(owner, (type, ModuleType)):
        state.visit(owner, f"{path}.__self__", name)
    state.add("value", path, f"{value.__module__ or getattr(owner, '__name__', '')}.{value.__qualname__}")


def _operator(state: State, value: Any, path: str, name: str) -> None:
    operator = operators.operator_of(value)
    state.add("value", path, str(value))
    if operator is not None:
        state._code.visit_operator(state, operator)


def _instance(state: State, value: Any, path: str, name: str) -> None:
    cls = type(value)
    state.add("value", path, _name_of(cls))
    state._code.visit_class(state, cls)
    base = next((base for base in _VALUES if isinstance(value, base)), None)
    if base is not None:
        state.add("value", f"{path} as {base.__name__}", base.__repr__(value))
    elif isinstance(value, dict):
        _mapping(state, value, f"{path} as dict", ITEM)
    elif isinstance(value, (list, tuple, deque)):
        _sequence(state, value, f"{path} as {'list' if isinstance(value, list) else 'tuple'}", ITEM)
    elif isinstance(value, (set, frozenset)):
        _set(state, value, f"{path} as set", name)
    held = _own_dict(value)
    if held is not None:
        if not isinstance(value, threading.local):
            state.watch(MAPPING, held, dict(held))
        state.attributes(held, path, name, cls)
        if "__wrapped__" in held:  # functools.lru_cache: a call of it is one of what it wraps
            state.visit(held["__wrapped__"], f"{path}.__wrapped__", name)
    filled = {n: item for n in _slots(cls) if (item := _slot(value, n)) is not ABSENT}
    if filled:
        state.watch(SAME, value, functools.partial(_read_slots, tuple(filled)), tuple(filled.values()))
        state.attributes(filled, path, name, cls)
    if cls.__flags__ & _HEAP_TYPE:
        state.watch(SAME, value, _class_of, (cls,))


_HEAP_TYPE = 1 << 9


def _class_of(value: Any) -> tuple[Any, ...]:
    return (type(value),)


def _own_dict(value: Any) -> dict[str, Any] | None:
    try:
        held = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return None
    return held if type(held) is dict else None


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


def _array(state: State, value: Any, path: str, name: str) -> None:
    """It becomes a tensor in a trace, and is guarded as that."""
    state.add("value", path, f"numpy {value.dtype} {value.ndim}d")


_HANDLERS: dict[type, Handler] = {
    **dict.fromkeys((list, tuple, deque), _sequence),
    **dict.fromkeys((set, frozenset), _set),
    **dict.fromkeys((dict, OrderedDict, defaultdict, MappingProxyType), _mapping),
    **dict.fromkeys((range, slice, re.Pattern), _text),
    **dict.fromkeys((property, staticmethod, classmethod, functools.cached_property), _descriptor),
    **dict.fromkeys(_BUILTINS, _builtin),
    MethodType: _bound,
    functools.partial: _partial,
    weakref.ref: _reference,
    ContextVar: _context,
}


def _handler(kind: type) -> Handler:
    known = _HANDLERS.get(kind)
    if known is None:
        known = _HANDLERS[kind] = _find(kind)
    return known


def _find(kind: type) -> Handler:
    from passprint.compiler.dependencies import code_state

    if issubclass(kind, type):
        return code_state.visit_class_object
    if kind is FunctionType:
        return code_state.visit_function
    if issubclass(kind, ModuleType):
        return code_state.visit_namespace
    if issubclass(kind, torch.Tensor):
        return _tensor
    if issubclass(kind, torch.nn.Module):
        return _module
    if issubclass(kind, enum.Enum):
        return _member
    if issubclass(kind, _OF_TORCH):
        return _text
    if kind.__module__ == "torch._ops":
        return _operator
    if kind.__module__.partition(".")[0] == "numpy" and hasattr(kind, "ndim") and hasattr(kind, "dtype"):
        return _array
    if issubclass(kind, staticmethod | classmethod | property):
        return _descriptor
    return _instance
