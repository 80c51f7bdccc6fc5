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

#: Kinds of values that are written by torch's own names.
_TORCHS: dict[Any, str] = {
    torch.dtype: "torch.dtype, as in torch.float16",
    torch.layout: "torch.layout, as in torch.strided",
    torch.memory_format: "torch.memory_format, as in torch.channels_last",
}


class WrongType(Exception):
    """A value that is not of the type expected; always turned into a PipelineError with a caret."""

    def __init__(self, expected: str) -> None:
        super().__init__(expected)
        self.expected = expected


class _Names(ast.NodeTransformer):
    """Puts in the values of the names that a value's text may use beside literals."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Constant(_NUMBERS[node.id]) if node.id in _NUMBERS else node

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        if isinstance(node.value, ast.Name) and node.value.id == "torch":
            found: Any = getattr(torch, node.attr, None)
            if isinstance(found, torch.dtype | torch.layout | torch.memory_format):
                return ast.Constant(found)  # type: ignore[arg-type]
        return node


def read_value(node: ast.expr, hint: Any = Any) -> Any:
    """A Python literal, in which ``inf``, ``nan`` and names of torch's such as ``torch.float16`` may stand.

    ``hint``: the type expected, for the error about what is no literal.
    """
    try:
        return ast.literal_eval(_Names().visit(node))
    except (ValueError, TypeError) as error:
        if hint in _TORCHS:
            raise WrongType(_TORCHS[hint]) from error
        literal = "a Python literal (a number, a string in quotes, True, None, a tuple, …)"
        raise WrongType(literal if hint is Any else f"{_spelled(hint)}, written as {literal}") from error


def hints_of(owner: type) -> dict[str, Any]:
    """The types that the fields of ``owner`` declare, as far as they can be told."""
    try:
        return typing.get_type_hints(owner)
    except NameError:  # an annotation of a name that only a type checker sees
        return {}


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
        return _instance(value, hint, _TORCHS.get(hint, hint.__name__))
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
    # literals have no frozenset and no empty set
    if kind in (set, frozenset) and (isinstance(value, set) or value == ()):
        value = kind(value)
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
