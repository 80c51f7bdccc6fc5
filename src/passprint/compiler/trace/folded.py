"""What Dynamo folds: functions that it calls while it traces, and whose answers it takes for constants.

Most are pure: the same arguments have the same answer everywhere (``re.match``, ``struct.pack``). Others ask the
process or the machine: ``sys.getrecursionlimit()``, ``importlib.util.find_spec("flash_attn")``. A later process asks
those again.

What is reached here, and why there is no public way: three functions of ``torch._dynamo.variables`` get a layer that
notes their calls; Dynamo guards on which function was called, and not on what it gave. Read against torch 2.11 to 2.13.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, partial, wraps
from typing import Any, NamedTuple

from passprint.compiler.guards.refs import CannotRecordError, find
from passprint.compiler.start.asked import Asked, answer, has
from passprint.errors import OpaqueError

_PURE = frozenset(
    {"_collections", "_functools", "_heapq", "_operator", "_struct", "builtins", "copy", "functools", "heapq"}
    | {"itertools", "math", "operator", "optree", "re", "struct", "torch", "typing"}
)
"""Packages whose folded functions give one answer everywhere, or one that torch's version says."""
_PURE_TOO = frozenset({("sys", "intern"), ("posix", "fspath"), ("os", "fspath"), ("nt", "fspath")})
_PLAIN = (bool, int, float, str, bytes, type(None))


class Folded(NamedTuple):
    """One call: what a later process has to ask, or why nothing can be recorded."""

    asked: Asked | None
    reason: str = ""


_noting: ContextVar[list[Folded] | None] = ContextVar("passprint_folded", default=None)


@contextmanager
def noted() -> Iterator[list[Folded]]:
    """What Dynamo folds in this thread from here on."""
    _hook_into_dynamo()
    calls: list[Folded] = []
    token = _noting.set(calls)
    try:
        yield calls
    finally:
        _noting.reset(token)


def to_ask_again(calls: Sequence[Folded]) -> list[Asked]:
    """What a later process has to ask, once each. Raises :class:`CannotRecordError` where a call has no such form."""
    found: list[Asked] = []
    for asked, reason in calls:
        if asked is None:
            raise CannotRecordError(reason)
        if asked not in found:
            found.append(asked)
    return found


def _only_bounds(function: Callable[..., Any], tx: Any) -> bool:
    """``inspect.unwrap`` asks how deep calls may be, to end where wrappers go round in a circle."""
    return function is sys.getrecursionlimit and tx.f_globals.get("__name__") == "inspect"


def _name(function: Callable[..., Any]) -> tuple[str, str]:
    module = getattr(function, "__module__", None) or type(function).__module__
    return module, getattr(function, "__qualname__", type(function).__qualname__)


def _is_pure(function: Callable[..., Any]) -> bool:
    module, path = _name(function)
    return module.partition(".")[0] in _PURE or (module, path) in _PURE_TOO


@cache
def _hook_into_dynamo() -> None:
    """Once in a process; what is traced outside :func:`noted` is noted nowhere."""
    from torch._dynamo.variables import functions, nn_module

    variables: Any = functions
    _hook(variables.SkipFunctionVariable, lambda self: self.value)
    _hook(variables.PolyfilledFunctionVariable, lambda self: self.fn)
    _hook_modules()
    _hook_dicts()
    marked = variables.invoke_and_store_as_constant

    @wraps(marked)
    def invoke(tx: Any, fn: Callable[..., Any], *rest: Any) -> Any:
        calls = _noting.get()
        if calls is not None and not _is_pure(fn):
            what = ".".join(_name(fn))
            calls.append(Folded(None, f"it holds what {what} gave, which is marked as a constant result"))
        return marked(tx, fn, *rest)

    modules: tuple[Any, ...] = (functions, nn_module)
    for module in modules:
        module.invoke_and_store_as_constant = invoke


def _hook_modules() -> None:
    """``hasattr(module, name)``, and a name that a module does not have (``getattr(module, name, None)``)."""
    from torch._dynamo.exc import ObservedAttributeError
    from torch._dynamo.variables.misc import PythonModuleVariable

    variable: Any = PythonModuleVariable
    has_attribute, attribute = variable.call_obj_hasattr, variable.var_getattr

    @wraps(has_attribute)
    def call_obj_hasattr(self: Any, tx: Any, name: str) -> Any:
        _note_attribute(self, name)
        return has_attribute(self, tx, name)

    @wraps(attribute)
    def var_getattr(self: Any, tx: Any, name: str) -> Any:
        try:
            return attribute(self, tx, name)
        except ObservedAttributeError:
            _note_attribute(self, name)
            raise

    variable.call_obj_hasattr, variable.var_getattr = call_obj_hasattr, var_getattr


def _hook_dicts() -> None:
    """``name in obj.__dict__``, its length and its names: Dynamo guards on what is taken out of it alone."""
    try:
        from torch._dynamo.variables.dicts import SideEffectsProxyDict
    except ImportError:  # torch 2.11
        _hook_get_attr()
        return
    proxy: Any = SideEffectsProxyDict
    contains = proxy.__contains__

    @wraps(contains)
    def guarded(self: Any, key: Any) -> Any:
        there = contains(self, key)
        name = self._maybe_unwrap_key(key)
        changed = self.side_effects.store_attr_mutations.get(self.item, {})
        if _is_noted(self.item) and not {name, "__dict__"}.intersection(changed):  # by the traced code itself
            _guard_attribute(self.item, name, there)
        return there

    proxy.__contains__ = guarded
    for method in ("__iter__", "__len__"):
        _refuse_at(proxy, method)


def _refuse_at(proxy: Any, method: str) -> None:
    original = getattr(proxy, method)

    @wraps(original)
    def refused(self: Any) -> Any:
        if _is_noted(self.item):
            _refuse_dict(self.item)
        return original(self)

    setattr(proxy, method, refused)


_ASK_ONE = ("get", "__getitem__", "__contains__")


def _hook_get_attr() -> None:
    from torch._dynamo.variables.misc import GetAttrVariable

    variable: Any = GetAttrVariable
    original = variable.call_method

    @wraps(original)
    def call_method(self: Any, tx: Any, name: str, args: Any, kwargs: Any) -> Any:
        if self.name == "__dict__" and name != "__setitem__" and _is_noted(self.obj):
            key = args[0].as_python_constant() if args and args[0].is_python_constant() else None
            _note_asked(self.obj, tx, name, key)
        return original(self, tx, name, args, kwargs)

    variable.call_method = call_method


def _note_asked(owner: Any, tx: Any, method: str, key: Any) -> None:
    if not (method in _ASK_ONE and isinstance(key, str) and hasattr(owner, "has_key_in_generic_dict")):
        _refuse_dict(owner)
    elif tx.output.side_effects.has_pending_mutation_of_attr(owner, key):
        return  # what the traced code put there itself
    elif not owner.has_key_in_generic_dict(tx, key):
        _guard_attribute(owner, key, False)
    elif method == "__contains__":  # the others guard on what they take out
        _refuse_dict(owner)


def _is_noted(owner: Any) -> bool:
    """Whether the owner of a ``__dict__`` was there before the trace. A function counts with its attributes."""
    from torch._dynamo.variables.functions import BaseUserFunctionVariable

    return _noting.get() is not None and not (
        owner.source is None or isinstance(owner, BaseUserFunctionVariable)
    )


def _guard_attribute(owner: Any, name: str, there: bool) -> None:
    from torch._dynamo.guards import GuardBuilder, install_guard
    from torch._dynamo.source import AttrSource

    if there:
        made = AttrSource(owner.source, "__dict__").make_guard(partial(GuardBuilder.DICT_CONTAINS, key=name))
    else:
        made = owner.source.make_guard(partial(GuardBuilder.NOT_PRESENT_IN_GENERIC_DICT, attr=name))
    install_guard(made)


def _refuse_dict(owner: Any) -> None:
    calls = _noting.get()
    if calls is not None:
        kind = owner.python_type_name()
        calls.append(Folded(None, f"it relies on what the __dict__ of a {kind} held, which nothing guards"))


def _note_attribute(variable: Any, name: str) -> None:
    calls = _noting.get()
    if calls is not None and not variable.is_torch:  # torch's version says
        calls.append(_folded(has, (variable.value.__name__, name), {}))


def _hook(variable: Any, function_of: Callable[[Any], Callable[..., Any]]) -> None:
    original = variable.call_function

    @wraps(original)
    def call_function(self: Any, tx: Any, args: Any, kwargs: Any) -> Any:
        result = original(self, tx, args, kwargs)
        calls, function = _noting.get(), function_of(self)
        if calls is None or _is_pure(function) or _only_bounds(function, tx):
            return result
        if all(value.is_python_constant() for value in (*args, *kwargs.values())):
            constants = tuple([value.as_python_constant() for value in args])
            named = {name: value.as_python_constant() for name, value in kwargs.items()}
            calls.append(_folded(function, constants, named))
        return result

    variable.call_function = call_function


def _folded(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Folded:
    """What was just asked, asked once more: torch itself changes some answers before the trace is recorded."""
    said = Asked(*_name(function), args, kwargs, "")
    reason = f"it holds what {said} gave while it was traced"
    try:
        named = find(said.module, said.path) is function
        if not named or not all(type(value) in _PLAIN for value in (*args, *kwargs.values())):
            return Folded(None, reason)
        return Folded(said._replace(answer=answer(said)))
    except (LookupError, OpaqueError):
        return Folded(None, reason)
