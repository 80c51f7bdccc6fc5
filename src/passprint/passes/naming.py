"""How a pass is written as text: its kebab-case name and the options that differ from their defaults."""

from __future__ import annotations

import dataclasses
import enum
import re
from typing import Any

_WORDS = re.compile(r"[A-Z]+(?=[A-Z][a-z]|\b|_|[0-9])|[A-Z]?[a-z]+|[A-Z]+|[0-9]+")


def kebab_case(name: str) -> str:
    """``FuseRMSNorm`` → ``fuse-rms-norm``; ``fold_reshapes`` → ``fold-reshapes``."""
    return "-".join(word.lower() for word in _WORDS.findall(name))


def name_of(pass_: Any) -> str:
    """What a pass (of any kind) is called in pipelines, errors and match counts."""
    name = getattr(pass_, "name", None)
    return name if isinstance(name, str) and name else kebab_case(type(pass_).__name__)


def about_of(pass_: Any) -> str:
    """What a pass does: the first line of its class's own docstring, or nothing."""
    kind = type(pass_)
    text = str(kind.__dict__.get("__doc__") or "").strip().partition("\n")[0]
    return "" if text.startswith(f"{kind.__name__}(") else text  # that one was written by dataclasses


def default_of(field: dataclasses.Field[Any]) -> Any:
    """The value that ``field`` has when it is not given, or ``dataclasses.MISSING``."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def changed_options(instance: Any) -> dict[str, Any]:
    """The init fields of a dataclass instance whose value is not the default, in their order.

    Values of different types differ (``1`` is not ``True``), and ``nan`` equals itself.
    """
    changed: dict[str, Any] = {}
    for field in dataclasses.fields(instance):
        if not field.init:
            continue
        value, default = getattr(instance, field.name), default_of(field)
        if type(value) is not type(default) or repr(value) != repr(default):
            changed[field.name] = value
    return changed


def pass_text(name: str, options: dict[str, Any]) -> str:
    """``name`` alone, or ``name{key=value,key=value}``."""
    if not options:
        return name
    return f"{name}{{{','.join(f'{key}={value_text(value)}' for key, value in options.items())}}}"


def value_text(value: Any) -> str:
    """``value`` as a pipeline's text spells it: as Python does, enum members by name, sets in order."""
    kind = type(value)
    if isinstance(value, enum.Enum):
        return repr(value.name)
    if kind in (set, frozenset):
        return f"{{{','.join(sorted(map(value_text, value)))}}}" if value else "()"
    if kind is list:
        return f"[{', '.join(map(value_text, value))}]"
    if kind is tuple:
        return f"({', '.join(map(value_text, value))}{',' if len(value) == 1 else ''})"
    if kind is dict:
        return f"{{{', '.join(f'{value_text(key)}: {value_text(item)}' for key, item in value.items())}}}"
    return repr(value)
