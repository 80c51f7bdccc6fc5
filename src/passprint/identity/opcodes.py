"""Which instructions load names, constants and locals. Everything about opcodes that differs by Python version is here.

Read against CPython 3.11, 3.12, 3.13 and 3.14. ``co_code`` is the code before it warms up, with zeroed inline
caches, so its opcodes (even bytes) and arguments (odd bytes) can be searched apart from each other with regular
expressions. Where ``_facts.c`` was built, it reads nearly all code instead; the digests are the same.
"""

from __future__ import annotations

import gc
import opcode
import re
import struct
import sys
from types import FunctionType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_OP = {name: code for name, code in opcode.opmap.items() if code < 256}  # less the pseudo ones
EXTENDED = _OP["EXTENDED_ARG"]

# The arguments of these hold flags in their lowest bits: 3.11 has LOAD_METHOD, 3.12 folded it into LOAD_ATTR.
_ATTR_SHIFT = 1 if sys.version_info >= (3, 12) else 0
_GLOBAL_SHIFT = 1
NAME_SHIFTS = {
    code: shift
    for name, shift in {
        "LOAD_GLOBAL": _GLOBAL_SHIFT,
        "LOAD_NAME": 0,
        "LOAD_FROM_DICT_OR_GLOBALS": 0,
    }.items()
    if (code := _OP.get(name)) is not None
}
ATTR_SHIFTS = {
    code: shift
    for name, shift in {"LOAD_ATTR": _ATTR_SHIFT, "LOAD_METHOD": 0}.items()
    if (code := _OP.get(name)) is not None
}
_SHIFTS = {**NAME_SHIFTS, **ATTR_SHIFTS}


def _any_of(codes: Any) -> bytes:
    return b"[" + b"".join(re.escape(bytes([code])) for code in codes) + b"]"


def _codes(*names: str) -> list[int]:
    return [_OP[name] for name in names if name in _OP]


_EXT = re.escape(bytes([EXTENDED]))
_ATTRS = b"(?:" + _EXT + b"*" + _any_of(ATTR_SHIFTS) + b"\0*)*"
_CHAIN = re.compile(_any_of(NAME_SHIFTS) + b"\0*" + _ATTRS, re.DOTALL)
_STEP = re.compile(b"[^\0" + _EXT + b"]", re.DOTALL)
_CONST_CODES = _codes("LOAD_CONST", "RETURN_CONST", "KW_NAMES", "LOAD_CONST_IMMORTAL", "LOAD_CONST_MORTAL")
_CONST_LOADS = re.compile(_any_of(_CONST_CODES), re.DOTALL)
IMPORT_NAME, IMPORT_FROM = _OP["IMPORT_NAME"], _OP["IMPORT_FROM"]
LOAD_CONST = _OP["LOAD_CONST"]
SMALL_INT = _OP.get("LOAD_SMALL_INT", -1)
LOCAL_LOADS = frozenset(_codes("LOAD_FAST", "LOAD_FAST_CHECK", "LOAD_FAST_BORROW", "LOAD_FAST_AND_CLEAR"))
LOCAL_PAIRS = frozenset(_codes("LOAD_FAST_LOAD_FAST", "LOAD_FAST_BORROW_LOAD_FAST_BORROW"))
LOCAL_STORES = frozenset(_codes("STORE_FAST"))
LOCAL_USES = frozenset(opcode.haslocal) - LOCAL_STORES
SIMPLE_LOADS = frozenset((LOAD_CONST, SMALL_INT, *LOCAL_LOADS, *NAME_SHIFTS))
NULLS = frozenset(_codes("PUSH_NULL", "NULL"))
CALLS = frozenset(_codes("PRECALL", "CALL"))
BETWEEN_IMPORT_AND_STORE = frozenset(_codes("SWAP", "POP_TOP", "ROT_TWO"))


def _argument(ops: bytes, args: bytes, position: int) -> int:
    """An instruction's argument with what its EXTENDED_ARG prefixes add."""
    value = args[position]
    shift = 8
    while position > 0 and ops[position - 1] == EXTENDED:
        position -= 1
        value |= args[position] << shift
        shift += 8
    return value


def read_chains(text: bytes, names: tuple[str, ...]) -> dict[tuple[str, ...], None]:
    """The dotted chains that start at a global name, as a dict's keys."""
    ops, args = text[::2], text[1::2]
    found: dict[tuple[str, ...], None] = {}
    for match in _CHAIN.finditer(ops):
        start, end = match.span()
        chain = []
        for at in range(start, end):
            op = ops[at]
            if op and op != EXTENDED:
                arg = _argument(ops, args, at) if ops[at - 1] == EXTENDED else args[at]
                chain.append(names[arg >> _SHIFTS[op]])
        found[tuple(chain)] = None
    return found


def move_constants(text: bytes, places: bytes) -> bytes | None:
    """The code with each constant at another place; None where it uses the first, which is to be left out."""
    moved = bytearray(text)
    for match in _CONST_LOADS.finditer(text[::2]):
        at = 2 * match.start() + 1
        if not 0 < moved[at] < len(places):
            return None
        moved[at] = places[moved[at]]
    return bytes(moved)


def read_instructions(text: bytes) -> list[tuple[int, int]]:
    """Every opcode with its whole argument; caches and argument prefixes are left out."""
    ops, args = text[::2], text[1::2]
    if EXTENDED not in ops:
        return [(op, arg) for op, arg in zip(ops, args, strict=True) if op]
    found = []
    high = 0
    for op, arg in zip(ops, args, strict=True):
        if op == EXTENDED:
            high = (high | arg) << 8
        elif op:
            found.append((op, high | arg))
            high = 0
    return found


def without_caches(text: bytes) -> bytes:
    """The code less its inline caches, which are empty, and as many as the instructions before them have."""
    words = memoryview(text).cast("H")
    kept = list(filter(None, words))
    return struct.pack(f"={len(kept)}H", *kept)


_PLAIN_CONSTS = frozenset({type(None), bool, int, str, bytes, type(Ellipsis)})


def is_plain(const: Any) -> bool:
    """Whether a constant can be packed as it is."""
    kind = type(const)
    if kind is tuple:
        return _PLAIN_CONSTS.issuperset(map(type, const)) or all(map(is_plain, const))
    return kind in _PLAIN_CONSTS or (kind is float and const == const)  # every NaN is one NaN


_HOLDERS = frozenset({dict, tuple})


def read_holders(function: FunctionType) -> tuple[dict[str, Any] | None, bool]:
    """A function's dict of attributes (None where it has none), and whether it holds a dict of type hints.

    Asking for ``__dict__`` or ``__annotations__`` makes a dict where there is none, which later checks would
    have to look at; what the garbage collector sees tells whether there is one.
    """
    typed: Any = function  # not every type checker's FunctionType has __builtins__
    known = [
        function.__globals__,
        typed.__builtins__,
        function.__kwdefaults__,
        function.__defaults__,
        function.__closure__,
    ]
    ids = set(map(id, known))
    extra = [item for item in gc.get_referents(function) if type(item) in _HOLDERS and id(item) not in ids]
    if not extra:
        return None, False
    if sys.version_info >= (3, 14):
        dicts = [item for item in extra if type(item) is dict]
        attributes = function.__dict__ if dicts else None
        has_attributes = any(item is attributes for item in dicts)
        return attributes if has_attributes else None, len(dicts) > has_attributes
    hints = function.__annotations__
    ids.add(id(hints))
    has_attributes = any(type(item) is dict and id(item) not in ids for item in gc.get_referents(function))
    return function.__dict__ if has_attributes else None, bool(hints)


_TABLE = bytearray(256)
"""What each opcode is; _facts.c has the same numbers."""
for _code in NAME_SHIFTS:
    _TABLE[_code] |= 1
for _code in ATTR_SHIFTS:
    _TABLE[_code] |= 2
for _code, _shift in _SHIFTS.items():
    _TABLE[_code] |= 4 * _shift
_TABLE[EXTENDED] |= 8
_LOCALS = bytearray(256)
"""What each opcode does with local variables; _facts.c has the same numbers."""
for _table, _bit, _members in (
    (_TABLE, 16, _CONST_CODES),
    (_TABLE, 32, NULLS),
    (_TABLE, 64, CALLS),
    (_TABLE, 128, BETWEEN_IMPORT_AND_STORE),
    (_LOCALS, 1, LOCAL_LOADS),
    (_LOCALS, 2, LOCAL_PAIRS),
    (_LOCALS, 4, LOCAL_STORES),
    (_LOCALS, 8, LOCAL_USES),
    (_LOCALS, 16, SIMPLE_LOADS),
):
    for _code in _members:
        if 0 <= _code < 256:
            _table[_code] |= _bit
KINDS = bytes(_TABLE)
"""The table as _facts.c takes it."""
LOCAL_KINDS = bytes(_LOCALS)
"""The other one."""
