"""The part of a walk that is about code: functions, classes, modules, and what they ask of process and machine.

Content counts by content, installed code by its distribution's version; what somebody put into installed code counts by
content again. Of a class, the members count that inlined code names, and special methods, which syntax calls.
"""

from __future__ import annotations

import gc
import importlib.util
import sys
from collections.abc import Sequence
from enum import Enum, Flag
from types import FunctionType, MethodType, ModuleType
from typing import Any, Final

import torch

from passprint.compiler.dependencies.can_read import nested_code
from passprint.compiler.dependencies.constants import holds_result, is_found, marked
from passprint.compiler.dependencies.walk import FINDERS, ITEM, Handler, Walk
from passprint.compiler.guards.refs import CannotRecordError, find, unwrapped
from passprint.compiler.lowering import operators
from passprint.compiler.lowering.replaced import added
from passprint.compiler.lowering.user_code import ANY
from passprint.errors import OpaqueError
from passprint.identity import code_digest
from passprint.identity.bytecode import code_facts
from passprint.identity.slots import ABSENT, EQUAL, MAPPING, NAME, REFERS

# Special methods that no syntax of traced code calls; they count where they were inlined.
_NOT_CALLED: Final = frozenset(
    {
        "__init__",
        "__new__",
        "__post_init__",
        "__init_subclass__",
        "__set_name__",
        "__del__",
        "__class_getitem__",
    }
    | {
        "__getstate__",
        "__setstate__",
        "__reduce__",
        "__reduce_ex__",
        "__copy__",
        "__deepcopy__",
        "__sizeof__",
    }
    | {"__repr__", "__str__", "__dir__", "__getnewargs__", "__getnewargs_ex__", "__annotate__"}
    | {"__annotate_func__"}
)
_NOT_MEMBERS: Final = frozenset(
    {"__module__", "__qualname__", "__doc__", "__dict__", "__weakref__", "__annotations__", "__slots__"}
    | {"__firstlineno__", "__static_attributes__", "__abstractmethods__", "_abc_impl", "__parameters__"}
    | {"__orig_bases__", "__annotations_cache__", "__classdictcell__", "__slotnames__", "__match_args__"}
    | {"__dataclass_fields__", "__dataclass_params__"}
)
_OF_INSTANCE: Final = "__class__"
"""The name by which the class of an instance is taken."""
_LIST_MEMBERS: Final = frozenset(
    {"__members__", "__iter__", "__call__", "__getitem__", "__contains__", "__len__"}
)
"""What code asks an enum for, by name, to get at members that it does not name."""
_GENERATORS: Final = frozenset(
    {"dataclasses", "functools", "typing", "abc", "enum", "collections", "contextlib", "builtins"}
)
_SET_BY_IMPORTS: Final = frozenset({"__builtins__", "__cached__", "__file__", "__spec__", "__loader__"})


# ---- functions ------------------------------------------------------------------------------------------


def visit_function(walk: Walk, function: FunctionType, path: str, name: str) -> None:
    """A function: its code where content counts, and what it looks up where it was inlined."""
    if marked(function) is function:
        raise holds_result(function)
    home = str(function.__globals__.get("__name__"))
    label = walk.label_of(home)
    if label is not None and home.partition(".")[0] in ("torch", "passprint"):
        inner = vars(function).get("__wrapped__")
        if isinstance(inner, (FunctionType, MethodType)):
            walk.visit(inner, f"{path}.__wrapped__", name)
        return
    code = function.__code__
    inlined = f"{home}:{code.co_qualname}" in walk.reads.inlined
    walk.codes.update(nested_code(code))
    walk.watch(REFERS, function, gc.get_referents(function))
    called = f"{home}.{code.co_qualname}"
    if label is not None and inlined:
        walk.once("stamp", called, code_digest(code))
    if label is None:
        digest = None if inlined else walk.memo.digest(function)
        if digest is not None:
            walk.watch(EQUAL, function, walk.memo.digest, digest)
            walk.once("function", f"{home}.{function.__qualname__}", digest)
            inner = vars(function).get("__wrapped__")
            if isinstance(inner, FunctionType):  # code may call that by itself
                walk.visit(inner, f"{path}.__wrapped__", name)
            return
        walk.once("function", called, code_digest(code))
    if label is None or inlined:
        _reach(walk, function, home, called)


def _reach(walk: Walk, function: FunctionType, home: str, called: str) -> None:
    namespace = function.__globals__
    facts = code_facts(function.__code__)
    typed: Any = function  # not every type checker's FunctionType has __builtins__
    builtins: dict[str, Any] = typed.__builtins__
    for chain in facts.chains:
        _look_up(walk, namespace, home, chain, builtins)
    for taken in facts.imports:
        _imported(walk, namespace, taken)
    for label, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        walk.watch(REFERS, cell, gc.get_referents(cell))
        try:
            with walk.exact():
                walk.visit(cell.cell_contents, f"{called} → {label}", label)
        except ValueError:  # not filled yet
            walk.add("value", f"{called} → {label}", "not filled yet")
    names = function.__code__.co_varnames
    defaults = function.__defaults__ or ()
    first = function.__code__.co_argcount - len(defaults)
    given = [(names[first + place], value) for place, value in enumerate(defaults)]
    with walk.exact():
        for label, value in [*given, *sorted((function.__kwdefaults__ or {}).items())]:
            walk.visit(value, f"{called}({label})", label)
    if vars(function):
        walk.watch(MAPPING, vars(function), dict(vars(function)))
        walk.attributes(vars(function), called, ITEM, FunctionType)


def visit_constant(walk: Walk, function: FunctionType) -> None:
    """A function whose result is a constant of the trace: it is asked again, or nothing can stand for it."""
    asked = {question[:2] for question in walk.reads.questions}
    if (function.__module__, function.__qualname__) not in asked or not is_found(function):
        raise holds_result(function)
    walk.watch(REFERS, function, gc.get_referents(function))


def _look_up(
    walk: Walk, namespace: dict[str, Any], home: str, chain: tuple[str, ...], builtins: dict[str, Any]
) -> None:
    name, *attributes = chain
    if name not in namespace:
        walk.watch(NAME, namespace, name, ABSENT)
        if name not in builtins:
            walk.once("value", f"{home}.{name}", "not there")
        return
    value = namespace[name]
    walk.watch(NAME, namespace, name, value)
    constant = marked(value)
    if constant is not None:
        visit_constant(walk, constant)
    elif isinstance(value, ModuleType):
        _follow(walk, value, attributes)
    else:
        walk.visit(value, f"{home}.{name}", name)


def _follow(walk: Walk, module: ModuleType, attributes: Sequence[str]) -> None:
    """A dotted chain through modules, and what it ends at, where content counts."""
    walk.visit(module, module.__name__, module.__name__.rpartition(".")[2])
    if not attributes:
        return
    attribute, inside = attributes[0], vars(module)
    value, path = inside.get(attribute, ABSENT), f"{module.__name__}.{attributes[0]}"
    if isinstance(value, ModuleType):
        walk.watch(NAME, inside, attribute, value)
        _follow(walk, value, attributes[1:])
        return
    constant = marked(value)
    if constant is not None and module.__name__.partition(".")[0] != "torch":
        raise holds_result(constant)
    if walk.label_of(module.__name__) is None or _is_foreign(value, module.__name__):
        walk.watch(NAME, inside, attribute, value)
        if value is ABSENT:
            walk.once("value", path, "not there")
        else:
            walk.visit(value, path, attribute)


def _is_foreign(value: object, owner: str) -> bool:
    """Whether somebody put a function of another package into an installed module."""
    if not isinstance(value, FunctionType):
        return False
    home = str(value.__globals__.get("__name__"))
    return home.partition(".")[0] not in (
        owner.partition(".")[0],
        *_GENERATORS,
    ) and "__wrapped__" not in vars(value)


def _imported(walk: Walk, namespace: dict[str, Any], taken: Any) -> None:
    """What a function imports when it runs."""
    package = namespace.get("__package__") or str(namespace.get("__name__")).rpartition(".")[0]
    try:
        name = (
            importlib.util.resolve_name("." * taken.level + taken.module, package)
            if taken.level
            else taken.module
        )
    except (ImportError, ValueError):
        return
    module = sys.modules.get(name)
    if module is None:
        walk.once("value", f"module {name}", "not imported") if walk.label_of(name) is None else None
        return
    if taken.taken is None:
        for chain in taken.uses:
            _follow(walk, module, list(chain))
        return
    value = vars(module).get(taken.taken, sys.modules.get(f"{name}.{taken.taken}"))
    if isinstance(value, ModuleType):
        for chain in taken.uses:
            _follow(walk, value, list(chain))
    else:
        _follow(walk, module, [taken.taken])


# ---- modules --------------------------------------------------------------------------------------------


def visit_namespace(walk: Walk, module: ModuleType, path: str, name: str) -> None:
    """A module: of the user's, what names lead to; of others, whether it has what a text may ask for."""
    home = module.__name__
    if home.partition(".")[0] in ("torch", "passprint"):
        return
    inside = vars(module)
    if walk.label_of(home) is not None:
        for text in sorted(walk.reads.texts & inside.keys()):
            walk.once("value", f"{home}.{text}", "there")
        for text in walk.reads.texts - inside.keys():
            walk.watch(NAME, inside, text, ABSENT)
        return
    if walk.is_whole(name, ModuleType):
        listed = sorted(inside.keys() - _SET_BY_IMPORTS)
        walk.add("value", f"names of {home}", ", ".join(listed))
        walk.watch(MAPPING, inside, dict(inside))
    for text in sorted(walk.reads.names & inside.keys()):
        value = inside[text]
        walk.watch(NAME, inside, text, value)
        walk.visit(value, f"{home}.{text}", text)
        if isinstance(value, (FunctionType, type, ModuleType)):
            walk.once("value", f"{home}.{text} is", f"{getattr(value, '__module__', '')}.{value.__name__}")
    for text in walk.reads.texts - inside.keys():
        walk.watch(NAME, inside, text, ABSENT)


# ---- classes --------------------------------------------------------------------------------------------


def visit_class_object(walk: Walk, cls: type, path: str, name: str) -> None:
    """A class that was reached as a value."""
    _expand_class(walk, cls, name)


def visit_class(walk: Walk, cls: type) -> None:
    """The class of an instance."""
    walk.visit(cls, f"{cls.__module__}.{cls.__qualname__}", _OF_INSTANCE if issubclass(cls, Enum) else ITEM)


def _expand_class(walk: Walk, cls: type, name: str) -> None:
    called = f"{cls.__module__}.{cls.__qualname__}"
    if issubclass(cls, torch.autograd.Function) and walk.label_of(cls.__module__) is None:
        _by_content(walk, "class", called, cls)
        return
    for base in cls.__mro__[1:]:
        if base is not object:
            walk.visit(base, f"{base.__module__}.{base.__qualname__}", ITEM)
    if not cls.__flags__ & (1 << 9):  # a class of C's, which nobody can change
        return
    walk.watch(REFERS, cls, gc.get_referents(cls))
    inner = gc.get_referents(cls.__dict__)
    if len(inner) == 1 and type(inner[0]) is dict:
        walk.watch(MAPPING, inner[0], dict(inner[0]))
    content = dict(vars(cls))
    if walk.label_of(cls.__module__) is not None:
        _expand_installed(walk, cls, called, content)
        return
    bases = ", ".join(f"{base.__module__}.{base.__qualname__}" for base in cls.__bases__)
    kind = type(cls)
    walk.once("class", called, bases if kind is type else f"{bases}; {kind.__module__}.{kind.__qualname__}")
    if walk.label_of(kind.__module__) is None:
        walk.visit(kind, f"{kind.__module__}.{kind.__qualname__}", ITEM)
    fields = content.get("__dataclass_fields__")
    if isinstance(fields, dict):
        walk.once("value", f"fields of {called}", ", ".join(fields))
    if issubclass(cls, tuple) and "_fields" in content:
        walk.once("value", f"fields of {called}", ", ".join(map(str, content["_fields"])))
    names = walk.reads.names
    whole = walk.is_whole(ITEM, cls) or (issubclass(cls, Enum) and _is_listed(walk, cls, name))
    for member, value in content.items():
        if member in _NOT_MEMBERS:
            continue
        special = member.startswith("__") and member.endswith("__")
        function = unwrapped(value)
        if isinstance(function, FunctionType):
            _method(walk, f"{called}.{member}", member, value, function, special, whole)
        elif member in names or whole or special:
            walk.visit(value, f"{called}.{member}", member)


def _is_listed(walk: Walk, cls: type[Enum], name: str) -> bool:
    """Whether code may read other members of an enum than those that it names."""
    names = walk.reads.names
    return (
        name == ITEM
        or name in walk.reads.keyed
        or issubclass(cls, Flag)
        or walk.label_of(type(cls).__module__) is None
        or not _LIST_MEMBERS.isdisjoint(names)
        or (name == _OF_INSTANCE and "type" in names)
    )


def _method(
    walk: Walk, called: str, member: str, value: Any, function: FunctionType, special: bool, whole: bool
) -> None:
    """A function among a class's members: by content where it was inlined or syntax calls it, else by being there."""
    home = str(function.__globals__.get("__name__"))
    inlined = f"{home}:{function.__code__.co_qualname}" in walk.reads.inlined
    marked = bool(vars(function)) and not inlined and member in walk.reads.names
    if inlined or marked or (special and member not in _NOT_CALLED):
        walk.visit(function, called, member)
        inner: Any = vars(function).get("__wrapped__")
        if isinstance(inner, FunctionType):
            walk.visit(inner, f"{called}.__wrapped__", member)
    if member in walk.reads.names or whole or special:
        kind = type(value).__name__
        if special and member in _NOT_CALLED and member not in walk.reads.names:
            return
        walk.once("value", f"{called} is", f"{kind} {home}.{function.__qualname__}")


def _expand_installed(walk: Walk, cls: type, called: str, content: dict[str, Any]) -> None:
    """Functions of others that somebody put into a class of an installed distribution, and what inlined ones reach."""
    top = cls.__module__.partition(".")[0]
    if not _is_found(cls):
        walk.once("class", called, ", ".join(f"{b.__module__}.{b.__qualname__}" for b in cls.__bases__))
    for member, value in content.items():
        function = unwrapped(value)
        if not isinstance(function, FunctionType):
            continue
        home = str(function.__globals__.get("__name__"))
        if home.partition(".")[0] == top or home in _GENERATORS:
            if top != "torch" and f"{home}:{function.__code__.co_qualname}" in walk.reads.inlined:
                walk.visit(function, f"{called}.{member}", member)
        elif "__wrapped__" not in vars(function):
            walk.once("value", f"{called}.{member} is", f"{home}.{function.__qualname__}")
            walk.visit(function, f"{called}.{member}", member)


def _is_found(cls: type) -> bool:
    try:
        return find(cls.__module__, cls.__qualname__) is cls
    except LookupError:
        return False


def visit_tensor_class(walk: Walk, cls: type) -> None:
    """A tensor subclass: its Python runs while graphs with it are lowered, so all that it reaches counts."""
    called = f"{cls.__module__}.{cls.__qualname__}"
    label = walk.label_of(cls.__module__)
    if label is not None:
        walk.once("class", called, label)
        return
    _by_content(walk, "class", called, cls)
    walk.visit(cls, called, ITEM)
    visit_operator(walk, ANY)


def _by_content(walk: Walk, kind: str, called: str, value: Any) -> None:
    digest = walk.memo.digest(value)
    if digest is None:
        raise CannotRecordError(
            f"it relies on something without an identity: {walk.memo.opaque_paths(value)[0]}"
        )
    walk.watch(EQUAL, value, walk.memo.digest, digest)
    walk.once(kind, f"{called}, all of it", digest)


def visit_operator(walk: Walk, name: str) -> None:
    """A custom operator: its Python that a trace goes through, and what stands in torch's tables for such operators.

    That is asked for once: code of one may come to call any other.
    """
    try:
        if name != ANY:
            walk.once("operator", name, operators.identity(name))
        if not walk.tables_count:
            walk.tables_count = True
            for place, digest in added().items():
                walk.once("replaced", place, digest)
    except OpaqueError as error:
        raise CannotRecordError(f"{error} has no identity") from error


def find_dotted(name: str) -> object | None:
    """The function that a row names, as ``module.Class.method``; None where it is not found any more."""
    parts = name.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        module = ".".join(parts[:cut])
        if module in sys.modules:
            try:
                found: object = unwrapped(find(module, ".".join(parts[cut:])))
                return found
            except LookupError:
                return None
    return None


def _find(kind: type) -> Handler | None:
    if issubclass(kind, type):
        return visit_class_object
    if kind is FunctionType:
        return visit_function
    return visit_namespace if issubclass(kind, ModuleType) else None


FINDERS.append(_find)
