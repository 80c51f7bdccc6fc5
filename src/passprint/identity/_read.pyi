from types import FunctionType
from typing import Any

def read_chains(text: bytes, names: tuple[str, ...], table: bytes, /) -> dict[tuple[str, ...], None]:
    """The dotted chains that start at a global name, as a dict's keys."""

def move_constants(text: bytes, places: bytes, table: bytes, /) -> bytes | None:
    """The code with its constants elsewhere; None where it uses the first."""

def instructions(text: bytes, table: bytes, /) -> list[tuple[int, int]]:
    """Every opcode with its whole argument."""

def is_plain(const: Any, /) -> bool:
    """Whether a constant can be packed as it is."""

def read_holders(function: FunctionType, /) -> tuple[dict[str, Any] | None, bool]:
    """A function's dict of attributes or None, and whether it has type hints."""
