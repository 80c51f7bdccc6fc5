"""Option values: read from text, and fitted to the type that the pass's field declares."""

from __future__ import annotations

import ast
import enum
import math
import types
import typing
from typing import Any, Literal, Union, get_args, get_origin

import torch

_NUMBERS = {"inf": math.inf, "nan": math.nan}


class WrongType(Exception):
    """A value that is not of the type expected; always turned into a PipelineError with a caret."""

    def __init__(self, expected: str) -> None:
        super().__init__(expected)
        self.expected = expected


def read_value(node: ast.expr) -> Any:
    """A Python literal, ``inf``, ``nan``, or a name of torch's such as ``torch.float16``."""
    if isinstance(node, ast.Name) and node.id in _NUMBERS:
        return _NUMBERS[node.id]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Name):
        return -read_value(node.operand)
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "torch":
        found = getattr(torch, node.attr, None)
        if isinstance(found, torch.dtype | torch.layout | torch.memory_format):
            return found
    try:
        return ast.literal_eval(node)
    except ValueError as error:
        raise WrongType("a Python literal (a number, a string in quotes, True, None, a tuple, …)") from error


def fitted(owner: type, key: str, value: Any) -> Any:
    """``value`` as the field ``key`` of ``owner`` wants it; raises WrongType when it does not fit."""
    try:
        hint = typing.get_type_hints(owner).get(key, Any)
    except NameError:  # an annotation of a name that only a type checker sees
        hint = Any
    return fit(value, hint)


def fit(value: Any, hint: Any) -> Any:
    """``value`` as ``hint``: a whole number may stand for a float, a name for an enum member."""
    if hint is Any or isinstance(hint, typing.TypeVar):
        return value
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _fit_union(value, hint, args)
    if origin is Literal:
        if any(type(value) is type(choice) and value == choice for choice in args):
            return value
        raise WrongType(f"one of {', '.join(map(repr, args))}")
    if hint is None or hint is type(None):
        return _instance(value, type(None), "None")
    if hint is float and type(value) is int:
        return float(value)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        if isinstance(value, str) and value in hint.__members__:
            return hint[value]
        raise WrongType(f"one of {', '.join(map(repr, hint.__members__))}")
    if origin in (tuple, list, set, frozenset, dict) or hint in (tuple, list, set, frozenset, dict):
        return _fit_container(value, hint, origin or hint, args)
    if isinstance(hint, type):
        # True is an int to Python, and not what "a whole number" means
        if isinstance(value, bool) and hint is not bool and hint is not object:
            raise WrongType(hint.__name__)
        return _instance(value, hint, hint.__name__)
    return value


def _instance(value: Any, kind: type, name: str) -> Any:
    if not isinstance(value, kind):
        raise WrongType(name)
    return value


def _fit_union(value: Any, hint: Any, choices: tuple[Any, ...]) -> Any:
    # an exact type first, so that 1 stays an int in `float | int`
    for choice in sorted(choices, key=lambda choice: choice is not type(value)):
        try:
            return fit(value, choice)
        except WrongType:
            continue
    raise WrongType(_spelled(hint))


def _fit_container(value: Any, hint: Any, kind: type, args: tuple[Any, ...]) -> Any:
    if kind is frozenset and isinstance(value, set):
        value = frozenset(value)
    _instance(value, kind, _spelled(hint))
    if not args:
        return value
    try:
        if kind is dict:
            return {fit(key, args[0]): fit(item, args[1]) for key, item in value.items()}
        if kind is tuple and not (len(args) == 2 and args[1] is Ellipsis):
            return tuple(fit(item, inner) for item, inner in zip(value, args, strict=True))
        return kind(fit(item, args[0]) for item in value)
    except (WrongType, ValueError) as error:
        raise WrongType(_spelled(hint)) from error


def _spelled(hint: Any) -> str:
    return (
        hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint).replace("typing.", "")
    )
