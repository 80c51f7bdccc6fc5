"""What a model has read of its configuration: by the names in its code, and by what its modules hold.

vLLM's configuration hashes leave fields out by hand, and some of them are read by a model's code
(V#53366: ``num_speculative_tokens``). Which ones those are is derived here from the code of the model's classes.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterable, Iterator
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

import torch

from passprint.identity import code_digest, default_memo

if TYPE_CHECKING:
    from collections.abc import Mapping

_DEPTH = 3
"""How deep configuration objects stand in one another."""


def of_model(model: torch.nn.Module, forward: Any) -> dict[str, object]:
    """By name: the code of the model's classes, of ``forward``, and the plain values that its modules hold.

    Classes of an installed distribution count by its version. Tensors are inputs of the graph and do not count.
    """
    classes = _classes(model)
    memo = default_memo()
    parts: dict[str, object] = {"forward": code_digest(forward.__code__)}
    for kind in classes:
        found = memo.without_values().fingerprint(kind)
        parts[f"{kind.__module__}.{kind.__qualname__}"] = found.digest if found.opaque else found
    parts["modules"] = _values_held(model)
    return parts


def read_by(model: torch.nn.Module, vllm_config: Any, left_out: frozenset[str]) -> dict[str, object]:
    """The fields of configuration objects that code of the model's classes names, as ``Class.field``.

    ``left_out``: fields that differ between processes which run the same. Only plain values count; vLLM's own hashes
    see to the rest.
    """
    names = _names_in(_classes(model))
    found: dict[str, object] = {}
    for config in _configs(vllm_config, _DEPTH):
        for field in dataclasses.fields(config):
            label = f"{type(config).__name__}.{field.name}"
            value = getattr(config, field.name, None)
            if field.name in names and label not in left_out and _is_plain(value):
                found[label] = value
    return dict(sorted(found.items()))


def _classes(model: torch.nn.Module) -> list[type]:
    """The classes of a model's modules, and their bases that are modules too; in a fixed order."""
    kinds = {
        base
        for module in model.modules()
        for base in type(module).__mro__
        if issubclass(base, torch.nn.Module) and not base.__module__.startswith("torch.")
    }
    return sorted(kinds, key=lambda kind: (kind.__module__, kind.__qualname__))


def _names_in(classes: Iterable[type]) -> frozenset[str]:
    """Every attribute that methods of the classes, and functions that these name, can ask for by name."""
    functions = {function for kind in classes for function in _functions_of(kind)}
    for function in list(functions):
        named = (function.__globals__.get(name) for name in function.__code__.co_names)
        functions.update(one for one in named if isinstance(one, FunctionType))
    return frozenset(name for function in functions for name in _names_in_code(function.__code__))


def _functions_of(kind: type) -> Iterator[FunctionType]:
    for value in vars(kind).values():
        function = getattr(value, "__func__", None) or getattr(value, "fget", None) or value
        if isinstance(function, FunctionType):
            yield function


def _names_in_code(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names_in_code(constant)
        elif isinstance(constant, str):  # getattr(config, "name")
            yield constant


def _configs(config: Any, depth: int) -> Iterator[Any]:
    """A configuration object and those that are its fields."""
    yield config
    if depth == 0:
        return
    for field in dataclasses.fields(config):
        value = getattr(config, field.name, None)
        if (
            dataclasses.is_dataclass(value)
            and not isinstance(value, type)
            and "vllm" in type(value).__module__
        ):
            yield from _configs(value, depth - 1)


def _values_held(model: torch.nn.Module) -> dict[str, object]:
    """The plain attributes of every module, by its path: what a trace takes for constants."""
    held: dict[str, object] = {}
    for path, module in model.named_modules():
        values = {name: value for name, value in _own(vars(module)) if _is_plain(value)}
        if values:
            held[path] = values
    return held


def _own(attributes: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name in sorted(attributes):
        value = attributes[name]
        is_path = isinstance(value, str) and value.startswith("/")
        if not name.startswith("_") and not is_path:
            yield name, value


_PLAIN = (bool, int, float, str, bytes, complex, type(None), enum.Enum, torch.dtype, torch.device)


def _is_plain(value: object) -> bool:
    if isinstance(value, _PLAIN):
        return True
    if isinstance(value, list | tuple | set | frozenset):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(_is_plain(key) and _is_plain(item) for key, item in value.items())
    return False
