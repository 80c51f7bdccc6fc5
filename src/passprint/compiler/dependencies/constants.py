"""Functions marked with ``torch.compiler.assume_constant_result``: which calls of them code holds.

Dynamo calls such a function while it traces and takes what it gives for a constant. So a later process asks again,
with the arguments that stand in the code. That covers calls of a global with constants; any other use is left to
:func:`passprint.compiler.dependencies.code.visit_function`, which refuses it.
"""

from __future__ import annotations

import dis
from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any

from passprint.compiler.guards.refs import CannotRecordError, find

Call = tuple[tuple[Any, ...], tuple[tuple[str, Any], ...]]
"""Positional and named arguments."""

_SILENT = frozenset({"PUSH_NULL", "PRECALL", "EXTENDED_ARG", "CACHE", "RESUME"})
_PLAIN = (str, int, float, bytes, type(None))  # bool is an int


def marked(value: Any) -> FunctionType | None:
    """The marked function that a call of ``value`` ends at: itself, or what ``functools.lru_cache`` wraps."""
    while not isinstance(value, FunctionType):
        held = getattr(value, "__dict__", None) if type(value).__module__ == "functools" else None
        if not isinstance(held, dict) or "__wrapped__" not in held:
            return None
        value = held["__wrapped__"]
    return value if vars(value).get("_dynamo_marked_constant") else None


def holds_result(function: FunctionType) -> CannotRecordError:
    """The error for a marked function that cannot be asked again."""
    said = f"{function.__module__}.{function.__qualname__}"
    return CannotRecordError(f"it holds what {said} gave, which is marked as a constant result")


def is_found(function: FunctionType) -> bool:
    """Whether a marked function is the one that its module and name lead to."""
    try:
        return marked(find(function.__module__, function.__qualname__)) is function
    except LookupError:
        return False


def calls_of(code: CodeType, name: str) -> list[Call] | None:
    """All calls of a global, where code does nothing else with it and each argument is a constant; else None."""
    found = []
    for each in _nested(code):
        if name not in each.co_names:
            continue
        steps = [step for step in dis.get_instructions(each) if step.opname not in _SILENT]
        for place, step in enumerate(steps):
            if step.argval == name and step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
                call = _call(each, steps[place + 1 :])
                if call is None:
                    return None
                found.append(call)
            elif step.argval == name and "CONST" not in step.opname and "FAST" not in step.opname:
                return None  # an attribute or an import of that name
    return found


def _call(code: CodeType, steps: list[dis.Instruction]) -> Call | None:
    """The arguments of a call whose function was just loaded, where they are constants."""
    given: list[Any] = []
    named: tuple[str, ...] = ()
    for step in steps:
        if step.opname in ("LOAD_CONST", "LOAD_CONST_IMMORTAL", "LOAD_SMALL_INT"):
            given.append(step.argval)
        elif step.opname == "KW_NAMES":
            named = code.co_consts[step.arg or 0]
        elif step.opname in ("CALL", "CALL_KW"):
            if step.opname == "CALL_KW":
                named = given.pop()
            if len(given) != step.arg or not all(isinstance(one, _PLAIN) for one in given):
                return None
            first = len(given) - len(named)
            return tuple(given[:first]), tuple(zip(named, given[first:], strict=True))
        else:
            return None
    return None


def _nested(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _nested(constant)
