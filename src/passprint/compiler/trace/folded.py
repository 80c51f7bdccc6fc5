"""What Dynamo folds: functions that it calls while it traces, and whose answers it takes for constants.

Most are pure: the same arguments have the same answer everywhere (``re.match``, ``struct.pack``). Others ask the
process or the machine: ``sys.getrecursionlimit()``, ``importlib.util.find_spec("flash_attn")``. A later process asks
those again.

What is reached here, and why there is no public way: three functions of ``torch._dynamo.variables`` get a layer that
notes their calls; Dynamo guards on which function was called, and not on what it gave. Read against torch 2.11 to 2.13.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import wraps
from types import ModuleType
from typing import Any

from passprint.compiler.guards.refs import CannotRecordError, find
from passprint.compiler.start.asked import Asked, answer, has, names
from passprint.compiler.trace.noting import Folded, current
from passprint.errors import OpaqueError

_PURE = frozenset(
    {"_collections", "_functools", "_heapq", "_operator", "_struct", "builtins", "copy", "functools", "heapq"}
    | {"itertools", "math", "operator", "optree", "re", "struct", "torch", "typing"}
)
"""Packages whose folded functions give one answer everywhere, or one that torch's version says."""
_PURE_TOO = frozenset({("sys", "intern"), ("posix", "fspath"), ("os", "fspath"), ("nt", "fspath")})
_PLAIN = (bool, int, float, str, bytes, type(None))


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


def hook_into_dynamo() -> None:
    """Put the layers in, once in a process."""
    from torch._dynamo.variables import functions, nn_module

    variables: Any = functions
    _hook(variables.SkipFunctionVariable, lambda self: self.value)
    _hook(variables.PolyfilledFunctionVariable, lambda self: self.fn)
    _hook_modules()
    _hook_dir()
    marked = variables.invoke_and_store_as_constant

    @wraps(marked)
    def invoke(tx: Any, fn: Callable[..., Any], *rest: Any) -> Any:
        notes = current()
        if notes is not None and not _is_pure(fn):
            what = ".".join(_name(fn))
            notes.refuse(f"it holds what {what} gave, which is marked as a constant result")
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


def _note_attribute(variable: Any, name: str) -> None:
    notes = current()
    if notes is not None and not variable.is_torch:  # torch's version says
        notes.folded.append(_folded(has, (variable.value.__name__, name), {}))


def _hook_dir() -> None:
    """``dir(module)`` and ``dir(cls)``."""
    from torch._dynamo.variables.builtin import BuiltinVariable
    from torch._dynamo.variables.misc import PythonModuleVariable

    variable: Any = BuiltinVariable
    listed = variable.call_dir

    @wraps(listed)
    def call_dir(self: Any, tx: Any, arg: Any) -> Any:
        result = listed(self, tx, arg)
        notes = current()
        if notes is not None and result is not None and not isinstance(arg, BuiltinVariable):
            value = arg.value if isinstance(arg, PythonModuleVariable) else arg.as_python_constant()
            if not getattr(arg, "is_torch", False) and type(value) not in _PLAIN:
                notes.folded.append(_names_of(value))
        return result

    variable.call_dir = call_dir


def _names_of(value: Any) -> Folded:
    if isinstance(value, ModuleType):
        return _folded(names, (value.__name__, ""), {})
    module, path = str(getattr(value, "__module__", None)), str(getattr(value, "__qualname__", None))
    try:
        if find(module, path) is value:
            return _folded(names, (module, path), {})
    except LookupError:
        pass
    return Folded(None, f"it holds what dir() gave of a {type(value).__qualname__}")


def _hook(variable: Any, function_of: Callable[[Any], Callable[..., Any]]) -> None:
    original = variable.call_function

    @wraps(original)
    def call_function(self: Any, tx: Any, args: Any, kwargs: Any) -> Any:
        result = original(self, tx, args, kwargs)
        notes, function = current(), function_of(self)
        if notes is None or _is_pure(function) or _only_bounds(function, tx):
            return result
        if all(value.is_python_constant() for value in (*args, *kwargs.values())):
            constants = tuple([value.as_python_constant() for value in args])
            named = {name: value.as_python_constant() for name, value in kwargs.items()}
            notes.folded.append(_folded(function, constants, named))
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
