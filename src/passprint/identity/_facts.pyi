"""What ``_facts.c`` offers, for type checkers."""

from collections.abc import Callable
from types import CodeType
from typing import Any

from passprint.identity.bytecode import CodeFacts, ImportRef

def setup(
    facts: type[CodeFacts],
    import_ref: type[ImportRef],
    canonical: Callable[[Any], bytes],
    in_python: Callable[[CodeType], CodeFacts],
    kinds: bytes,
    local_kinds: bytes,
    opcodes: tuple[int, int, int, int],
    flags: tuple[int, int],
    docstrings: tuple[bool, bool, bool],
    /,
) -> None: ...
def code_facts(code: CodeType, /) -> CodeFacts: ...
def read_facts(code: CodeType, /) -> CodeFacts: ...
def forget() -> None: ...
