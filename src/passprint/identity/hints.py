"""Type hints as they are written.

A hint counts by its text and not by what it names: code does not run it, but libraries read it (schemas of
custom operators, dataclass fields). What a library made of a hint (a registry, a generated function) counts
by itself. Lazy annotations (3.14) are never evaluated: the code that would compute them counts, and what somebody
changes in the dict that it has made does not. Hints that were assigned, or written under ``from __future__ import
annotations``, are a dict in every version and count by content.
"""

from __future__ import annotations

import sys
from types import CodeType

from passprint.identity.bytecode import code_facts
from passprint.identity.canonical import encode_text, frame

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LAZY_HINTS = sys.version_info >= (3, 14)


def hint_text(hint: Any) -> str:
    """A hint's text: types by name, generics by their parts, anything else by its type."""
    if isinstance(hint, str):
        return hint
    if hint is None or hint is ...:
        return str(hint)
    arguments = getattr(hint, "__args__", None)
    if isinstance(arguments, tuple):
        origin = getattr(hint, "__origin__", None) or type(hint)
        return f"{hint_text(origin)}[{', '.join([hint_text(part) for part in arguments])}]"
    if isinstance(hint, (list, tuple)):
        return f"[{', '.join([hint_text(part) for part in hint])}]"
    name = (
        getattr(hint, "__qualname__", None) or getattr(hint, "__name__", None) or getattr(hint, "_name", None)
    )
    return name if isinstance(name, str) else type(hint).__qualname__


def held_hints(owner: Any) -> dict[str, Any] | None:
    """The dict of own hints that a function or class holds; None where it has none, or code would make it (3.14)."""
    hints: Any
    if not isinstance(owner, type):
        hints = None if LAZY_HINTS and owner.__annotate__ is not None else owner.__annotations__
    elif LAZY_HINTS and vars(owner).get("__annotate_func__") is not None:
        hints = None
    else:
        # An own entry only: a class's __annotations__ would be its base's where it has none.
        hints = vars(owner).get("__annotations__") or vars(owner).get("__annotations_cache__")
    # A class made in C may have a descriptor by this name.
    return hints if isinstance(hints, dict) and hints else None


def lazy_hints(owner: Any) -> bytes:
    """The bytes of the code that makes an owner's hints when they are asked for (3.14); empty where none does."""
    if not LAZY_HINTS:
        return b""
    lazy = vars(owner).get("__annotate_func__") if isinstance(owner, type) else owner.__annotate__
    code = getattr(lazy, "__code__", None)
    return frame(b"a", code_facts(code).payload) if isinstance(code, CodeType) else b""


def hint_bytes(hints: dict[str, Any] | None) -> bytes:
    """The bytes of hints as they are written."""
    if not hints:
        return b""
    return frame(b"a", encode_text("\n".join([f"{name}: {hint_text(hint)}" for name, hint in hints.items()])))
