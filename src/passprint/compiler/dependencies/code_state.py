"""The part of a walk that is about code: functions, classes, modules, and what they ask of process and machine.

Content counts by content, installed code by its distribution's version; what somebody put into installed code counts by
content again. Of a class, the members count that inlined code names, and special methods, which syntax calls.
"""

from __future__ import annotations

import gc
import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Final

import torch

from passprint.compiler.guards.refs import CannotRecordError, code_stamp, find, text_hash, unwrapped
from passprint.compiler.lowering import operators
from passprint.errors import OpaqueError
from passprint.identity import canonical
from passprint.identity.bytecode import code_facts
from passprint.identity.slots import ABSENT, EQUAL, MAPPING, NAME, REFERS

if TYPE_CHECKING:
    from passprint.compiler.dependencies.state import State

ITEM: Final = ""

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
_GENERATORS: Final = frozenset(
    {"dataclasses", "functools", "typing", "abc", "enum", "collections", "contextlib", "builtins"}
)
_SET_BY_IMPORTS: Final = frozenset({"__builtins__", "__cached__", "__file__", "__spec__", "__loader__"})
_RAW: Final[dict[Any, Any]] = vars(os.environ)["_data"]


def label_of(state: State, module: object) -> str | None:
    """The distribution that owns a module, or None where content counts."""
    return state.memo.origins.of_module(module).label


# ---- functions ------------------------------------------------------------------------------------------


def visit_function(state: State, function: FunctionType, path: str, name: str) -> None:
    """A function: its code where content counts, and what it looks up where it was inlined."""
    if vars(function).get("_dynamo_marked_constant"):
        said = f"{function.__module__}.{function.__qualname__}"
        raise CannotRecordError(f"it holds what {said} gave, which is marked as a constant result")
    home = str(function.__globals__.get("__name__"))
    label = label_of(state, home)
    if label is not None and home.partition(".")[0] in ("torch", "passprint"):
        inner = vars(function).get("__wrapped__")
        if isinstance(inner, FunctionType):
            state.visit(inner, f"{path}.__wrapped__", name)
        return
    code = function.__code__
    inlined = f"{home}:{code.co_qualname}" in state.reads.inlined
    state.codes.update(_nested(code))
    state.watch(REFERS, function, gc.get_referents(function))
    called = f"{home}.{code.co_qualname}"
    if label is not None and inlined:
        state.once("stamp", called, code_stamp(code))
    if label is None:
        digest = None if inlined else state.memo.digest(function)
        if digest is not None:
            state.watch(EQUAL, function, state.memo.digest, digest)
            state.once("function", f"{home}.{function.__qualname__}", digest)
            return
        state.once("function", called, code_stamp(code))
    if label is None or inlined:
        _reach(state, function, home, called)


def _nested(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _nested(constant)


def _reach(state: State, function: FunctionType, home: str, called: str) -> None:
    namespace = function.__globals__
    facts = code_facts(function.__code__)
    typed: Any = function  # not every type checker's FunctionType has __builtins__
    builtins: dict[str, Any] = typed.__builtins__
    for chain in facts.chains:
        _look_up(state, namespace, home, chain, builtins)
    for taken in facts.imports:
        _imported(state, namespace, taken)
    for label, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        state.watch(REFERS, cell, gc.get_referents(cell))
        try:
            with state.exact():
                state.visit(cell.cell_contents, f"{called} → {label}", label)
        except ValueError:  # not filled yet
            state.add("value", f"{called} → {label}", "not filled yet")
    names = function.__code__.co_varnames
    defaults = function.__defaults__ or ()
    first = function.__code__.co_argcount - len(defaults)
    given = [(names[first + place], value) for place, value in enumerate(defaults)]
    with state.exact():
        for label, value in [*given, *sorted((function.__kwdefaults__ or {}).items())]:
            state.visit(value, f"{called}({label})", label)
    if vars(function):
        state.watch(MAPPING, vars(function), dict(vars(function)))
        state.attributes(vars(function), called, ITEM, FunctionType)


def _look_up(
    state: State, namespace: dict[str, Any], home: str, chain: tuple[str, ...], builtins: dict[str, Any]
) -> None:
    name, *attributes = chain
    if name not in namespace:
        state.watch(NAME, namespace, name, ABSENT)
        if name not in builtins:
            state.once("value", f"{home}.{name}", "not there")
        return
    value = namespace[name]
    state.watch(NAME, namespace, name, value)
    if isinstance(value, ModuleType):
        _follow(state, value, attributes)
    else:
        state.visit(value, f"{home}.{name}", name)


def _follow(state: State, module: ModuleType, attributes: Sequence[str]) -> None:
    """A dotted chain through modules, and what it ends at, where content counts."""
    state.visit(module, module.__name__, module.__name__.rpartition(".")[2])
    if not attributes:
        return
    attribute, inside = attributes[0], vars(module)
    value, path = inside.get(attribute, ABSENT), f"{module.__name__}.{attributes[0]}"
    if isinstance(value, ModuleType):
        state.watch(NAME, inside, attribute, value)
        _follow(state, value, attributes[1:])
    elif label_of(state, module.__name__) is None or _is_foreign(value, module.__name__):
        state.watch(NAME, inside, attribute, value)
        if value is ABSENT:
            state.once("value", path, "not there")
        else:
            state.visit(value, path, attribute)


def _is_foreign(value: object, owner: str) -> bool:
    """Whether somebody put a function of another package into an installed module."""
    if not isinstance(value, FunctionType):
        return False
    home = str(value.__globals__.get("__name__"))
    return home.partition(".")[0] not in (
        owner.partition(".")[0],
        *_GENERATORS,
    ) and "__wrapped__" not in vars(value)


def _imported(state: State, namespace: dict[str, Any], taken: Any) -> None:
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
        state.once("value", f"module {name}", "not imported") if label_of(state, name) is None else None
        return
    if taken.taken is None:
        for chain in taken.uses:
            _follow(state, module, list(chain))
        return
    value = vars(module).get(taken.taken, sys.modules.get(f"{name}.{taken.taken}"))
    if isinstance(value, ModuleType):
        for chain in taken.uses:
            _follow(state, value, list(chain))
    else:
        _follow(state, module, [taken.taken])


# ---- modules --------------------------------------------------------------------------------------------


def visit_namespace(state: State, module: ModuleType, path: str, name: str) -> None:
    """A module: of the user's, what names lead to; of others, whether it has what a text may ask for."""
    home = module.__name__
    if home.partition(".")[0] in ("torch", "passprint"):
        return
    inside = vars(module)
    if label_of(state, home) is not None:
        for text in sorted(state.reads.texts & inside.keys()):
            state.once("value", f"{home}.{text}", "there")
        for text in state.reads.texts - inside.keys():
            state.watch(NAME, inside, text, ABSENT)
        return
    if state.is_whole(name, ModuleType):
        listed = sorted(inside.keys() - _SET_BY_IMPORTS)
        state.add("value", f"names of {home}", ", ".join(listed))
        state.watch(MAPPING, inside, dict(inside))
    for text in sorted(state.reads.names & inside.keys()):
        value = inside[text]
        state.watch(NAME, inside, text, value)
        state.visit(value, f"{home}.{text}", text)
        if isinstance(value, (FunctionType, type, ModuleType)):
            state.once("value", f"{home}.{text} is", f"{getattr(value, '__module__', '')}.{value.__name__}")
    for text in state.reads.texts - inside.keys():
        state.watch(NAME, inside, text, ABSENT)


# ---- classes --------------------------------------------------------------------------------------------


def visit_class_object(state: State, cls: type, path: str, name: str) -> None:
    """A class that was reached as a value."""
    _expand_class(state, cls)


def visit_class(state: State, cls: type) -> None:
    """The class of an instance."""
    state.visit(cls, f"{cls.__module__}.{cls.__qualname__}", ITEM)


def _expand_class(state: State, cls: type) -> None:
    called = f"{cls.__module__}.{cls.__qualname__}"
    if issubclass(cls, torch.autograd.Function) and label_of(state, cls.__module__) is None:
        _by_content(state, "class", called, cls)
        return
    for base in cls.__mro__[1:]:
        if base is not object:
            state.visit(base, f"{base.__module__}.{base.__qualname__}", ITEM)
    if not cls.__flags__ & (1 << 9):  # a class of C's, which nobody can change
        return
    state.watch(REFERS, cls, gc.get_referents(cls))
    inner = gc.get_referents(cls.__dict__)
    if len(inner) == 1 and type(inner[0]) is dict:
        state.watch(MAPPING, inner[0], dict(inner[0]))
    content = dict(vars(cls))
    if label_of(state, cls.__module__) is not None:
        _expand_installed(state, cls, called, content)
        return
    bases = ", ".join(f"{base.__module__}.{base.__qualname__}" for base in cls.__bases__)
    kind = type(cls)
    state.once("class", called, bases if kind is type else f"{bases}; {kind.__module__}.{kind.__qualname__}")
    if label_of(state, kind.__module__) is None:
        state.visit(kind, f"{kind.__module__}.{kind.__qualname__}", ITEM)
    fields = content.get("__dataclass_fields__")
    if isinstance(fields, dict):
        state.once("value", f"fields of {called}", ", ".join(fields))
    if issubclass(cls, tuple) and "_fields" in content:
        state.once("value", f"fields of {called}", ", ".join(map(str, content["_fields"])))
    names = state.reads.names
    whole = state.is_whole(ITEM, cls) or _enumerates(cls)
    for member, value in content.items():
        if member in _NOT_MEMBERS:
            continue
        special = member.startswith("__") and member.endswith("__")
        function = unwrapped(value)
        if isinstance(function, FunctionType):
            _method(state, f"{called}.{member}", member, value, function, special, whole)
        elif member in names or whole or special:
            state.visit(value, f"{called}.{member}", member)


def _enumerates(cls: type) -> bool:
    import enum

    return issubclass(cls, enum.Enum)


def _method(
    state: State, called: str, member: str, value: Any, function: FunctionType, special: bool, whole: bool
) -> None:
    """A function among a class's members: by content where it was inlined or syntax calls it, else by being there."""
    home = str(function.__globals__.get("__name__"))
    inlined = f"{home}:{function.__code__.co_qualname}" in state.reads.inlined
    marked = bool(vars(function)) and not inlined and member in state.reads.names
    if inlined or marked or (special and member not in _NOT_CALLED):
        state.visit(function, called, member)
        inner: Any = vars(function).get("__wrapped__")
        if isinstance(inner, FunctionType):
            state.visit(inner, f"{called}.__wrapped__", member)
    if member in state.reads.names or whole or special:
        kind = type(value).__name__
        if special and member in _NOT_CALLED and member not in state.reads.names:
            return
        state.once("value", f"{called} is", f"{kind} {home}.{function.__qualname__}")


def _expand_installed(state: State, cls: type, called: str, content: dict[str, Any]) -> None:
    """Functions of others that somebody put into a class of an installed distribution, and what inlined ones reach."""
    top = cls.__module__.partition(".")[0]
    if not _is_found(cls):
        state.once("class", called, ", ".join(f"{b.__module__}.{b.__qualname__}" for b in cls.__bases__))
    for member, value in content.items():
        function = unwrapped(value)
        if not isinstance(function, FunctionType):
            continue
        home = str(function.__globals__.get("__name__"))
        if home.partition(".")[0] == top or home in _GENERATORS:
            if top != "torch" and f"{home}:{function.__code__.co_qualname}" in state.reads.inlined:
                state.visit(function, f"{called}.{member}", member)
        elif "__wrapped__" not in vars(function):
            state.once("value", f"{called}.{member} is", f"{home}.{function.__qualname__}")
            state.visit(function, f"{called}.{member}", member)


def _is_found(cls: type) -> bool:
    try:
        return find(cls.__module__, cls.__qualname__) is cls
    except LookupError:
        return False


def visit_tensor_class(state: State, cls: type) -> None:
    """A tensor subclass: its Python runs while graphs with it are lowered, so all that it reaches counts."""
    called = f"{cls.__module__}.{cls.__qualname__}"
    label = label_of(state, cls.__module__)
    if label is not None:
        state.once("class", called, label)
        return
    _by_content(state, "class", called, cls)
    state.visit(cls, called, ITEM)


def _by_content(state: State, kind: str, called: str, value: Any) -> None:
    digest = state.memo.digest(value)
    if digest is None:
        raise CannotRecordError(
            f"it relies on something without an identity: {state.memo.opaque_paths(value)[0]}"
        )
    state.watch(EQUAL, value, state.memo.digest, digest)
    state.once(kind, f"{called}, all of it", digest)


# ---- what is looked up by name, and what is asked -------------------------------------------------------


def visit_root(state: State, module: str, path: str) -> None:
    """A function or class that was inlined or named by a guard, and that the model need not reach."""
    try:
        value = unwrapped(find(module, path))
    except LookupError:
        state.once("value", f"{module}.{path}", "not there")
        return
    state.visit(value, f"{module}.{path}", path.rpartition(".")[2])


def visit_operator(state: State, name: str) -> None:
    """A custom operator: its Python that a trace goes through."""
    try:
        state.once("operator", name, operators.identity(name))
    except OpaqueError as error:
        raise CannotRecordError(f"{error} has no identity") from error


def add_packages(state: State) -> None:
    """The distributions whose code was inlined, custom operators of the graph, and stamps of what hash() gives."""
    for top in state.reads.packages:
        if top not in ("torch", "passprint"):
            state.once("package", top, label_of(state, top) or "not an installed one")
    for name in state.reads.operators:
        visit_operator(state, name)
    for key in state.reads.hashing:
        state.once("hash", key.replace(":", "."), text_hash())


def add_environment(state: State) -> None:
    """The variables of the environment that inlined code can ask for."""
    names = state.reads.variables
    if names is None:
        names = tuple(sorted(os.environ))
        state.watch(MAPPING, _RAW, dict(_RAW))
    for name in names:
        key = os.fsencode(name)
        if name in os.environ:
            state.watch(NAME, _RAW, key, _RAW[key])
            state.once("variable", name, os.environ[name])
        else:
            state.watch(NAME, _RAW, key, ABSENT)


def add_questions(state: State) -> None:
    """What functions answer that were called while the code was traced."""
    for module, name, args in state.reads.questions:
        asked = f"{module}.{name}({', '.join(map(repr, args))})"
        try:
            function: Any = find(module, name)
            given = function(*args)
        except Exception as error:  # noqa: BLE001 - told: another function may raise anything
            state.once("answer", asked, f"a {type(error).__name__}")
            continue
        if type(given).__name__ == "ModuleSpec":
            state.once("answer", asked, f"a module {given.name}")
            continue
        canonical(given)
        state.once("answer", asked, repr(given))


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
