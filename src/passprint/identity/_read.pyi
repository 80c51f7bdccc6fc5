from types import CodeType, FunctionType
from typing import Any

def read_chains(text: bytes, names: tuple[str, ...], table: bytes, /) -> dict[tuple[str, ...], None]:
    """The dotted chains that start at a global name, as a dict's keys."""

def move_constants(text: bytes, places: bytes, table: bytes, /) -> bytes | None:
    """The code with its constants elsewhere; None where it uses the first."""

def instructions(text: bytes, table: bytes, /) -> list[tuple[int, int]]:
    """Every opcode with its whole argument."""

def is_plain(const: Any, /) -> bool:
    """Whether a constant can be packed as it is."""

def read_code(
    code: CodeType,
    table: bytes,
    import_code: int,
    uncounted_flags: int,
    asks_always: bool,
    helpers: tuple[Any, ...],
    /,
) -> tuple[bytes, dict[tuple[str, ...], None], list[Any], bool]:
    """What a code object is, its chains of names, the facts of nested code, whether it has to be read step by step."""

def read_holders(function: FunctionType, /) -> tuple[dict[str, Any] | None, bool]:
    """A function's dict of attributes or None, and whether it has type hints."""
