"""Environment variables that code names: what they hold counts, as what a global name holds does.

A function that uses ``os.environ`` or ``os.getenv`` is taken to read every variable that is named by a text in its
code, in its defaults, in its closure, or by a global name that it looks up. That may be one too many (a text that is
no variable's name is none that is set, mostly), and none too few. Where there is no such text, the names are computed.
"""

from __future__ import annotations

import os
from types import CodeType, FunctionType

from passprint.identity.node import Node
from passprint.identity.origin import PYTHON
from passprint.identity.walk import COMPUTED, Walk, by_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

ENVIRON = os.environ
GETENV = os.getenv
PLACES = (f"{PYTHON} os.environ", f"{PYTHON} os.getenv")
"""How code that counts by name is written on an edge; the variants for bytes begin alike."""

ENVIRON_BYTES = by_name(PYTHON, "os", "environ")

_RAW: dict[Any, Any] = vars(os.environ)["_data"]
_ENCODE: Callable[[str], Any] = vars(os.environ)["encodekey"]


def reads_environment(node: Node) -> bool:
    """Whether a function's node has an edge to the environment."""
    for _, _, _, value in node.edges:
        if value is ENVIRON or value is GETENV or (type(value) is str and value.startswith(PLACES)):
            return True
    return False


def add_environment(walk: Walk, node: Node, function: FunctionType) -> None:
    """Add to the node of a function that reads the environment what the variables hold that it names."""
    held = [cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell)]
    reached = [value for _, _, _, value in node.edges]
    given = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    names = sorted(_names([function.__code__, *reached, *given, *held]))
    if not names:
        node.add("→", "os.environ[…]", walk.opaque(object(), COMPUTED))
        return
    for name in names:
        # Rows about the dict below: comparing those decodes nothing.
        key = _ENCODE(name)
        if key not in _RAW:
            walk.slots.missing(_RAW, key)
            continue
        walk.slots.name(_RAW, key, _RAW[key])
        value = ENVIRON[name]
        node.add("→", f"os.environ[{name!r}]", walk.child(value), value)


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018  (an empty one raises)
    except ValueError:
        return False
    return True


def _names(values: list[Any]) -> set[str]:
    """The texts among values that can name a variable; those in tuples and in code are among them as well."""
    found: set[str] = set()
    for value in values:  # which grows meanwhile
        kind = type(value)  # not isinstance: a stranger's object may answer for another class, or raise
        if kind is str:
            if value.isidentifier() and value.isascii():
                found.add(value)
        elif kind is tuple or kind is frozenset:
            values.extend(value)
        elif kind is CodeType:
            values.extend(value.co_consts)
        elif kind is bytes:
            values.append(value.decode("latin-1"))
    return found
