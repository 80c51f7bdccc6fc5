"""Canonical bytes of plain data: tagged, length-prefixed, the same in every process.

Two values have the same bytes if and only if they have the same type and a program cannot tell them apart
by value: ``1``, ``1.0`` and ``True`` differ, ``0.0`` and ``-0.0`` differ, every NaN is one NaN. The order
of lists, tuples and dicts counts (a loop sees it), the order of sets does not.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable

from passprint.errors import OpaqueError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Encoder = Callable[[Any], bytes]

_pack_float = struct.Struct(">d").pack
_NAN = _pack_float(float("nan"))


def frame(tag: bytes, payload: bytes) -> bytes:
    """One item: its tag, the length of its payload, the payload."""
    return b"%b%d:%b" % (tag, len(payload), payload)


def encode_text(value: str) -> bytes:
    """UTF-8, lone surrogates included."""
    return value.encode("utf-8", "surrogatepass")


def _float_bits(value: float) -> bytes:
    return _NAN if value != value else _pack_float(value)


ATOMS: dict[type, Encoder] = {
    type(None): lambda value: b"N0:",
    bool: lambda value: b"B1:1" if value else b"B1:0",
    int: lambda value: frame(b"i", b"%x" % value),
    float: lambda value: frame(b"f", _float_bits(value)),
    complex: lambda value: frame(b"c", _float_bits(value.real) + _float_bits(value.imag)),
    str: lambda value: frame(b"s", encode_text(value)),
    bytes: lambda value: frame(b"b", value),
    type(Ellipsis): lambda value: b"E0:",
    type(NotImplemented): lambda value: b"X0:",
}
"""Encoders of the values that hold no other value, by exact type."""


def _by_text(tag: str, text: Callable[[Any], str]) -> Encoder:
    mark = encode_text(tag)
    return lambda value: frame(b"v", frame(b"t", mark) + frame(b"s", encode_text(text(value))))


def _encode_zone(value: Any) -> str:
    """The text of a date or time; a zone counts by its own text, and ``fold`` counts."""
    zone = getattr(value, "tzinfo", None)
    if zone is not None and atom_encoder(type(zone)) is None:
        raise OpaqueError(
            f"The time zone {type(zone).__qualname__} is not plain data. Use datetime.timezone or "
            "zoneinfo.ZoneInfo.",
            [type(zone).__qualname__],
        )
    zone_text = "" if zone is None else f"|{type(zone).__qualname__}|{zone!s}"
    return f"{value.isoformat()}|{getattr(value, 'fold', 0)}{zone_text}"


# Types of modules that need not be imported to encode them: found by name when a value of one turns up.
_NAMED: dict[tuple[str, str], Encoder] = {
    **{
        (module, name): _by_text(name, str)
        for module in ("pathlib", "pathlib._local")
        for name in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")
    },
    ("decimal", "Decimal"): _by_text("Decimal", lambda value: repr(value.as_tuple())),
    ("fractions", "Fraction"): _by_text("Fraction", lambda v: f"{v.numerator:x}/{v.denominator:x}"),
    ("datetime", "datetime"): _by_text("datetime", _encode_zone),
    ("datetime", "date"): _by_text("date", _encode_zone),
    ("datetime", "time"): _by_text("time", _encode_zone),
    ("datetime", "timedelta"): _by_text("timedelta", lambda v: f"{v.days},{v.seconds},{v.microseconds}"),
    ("datetime", "timezone"): _by_text("timezone", repr),
    ("zoneinfo", "ZoneInfo"): _by_text("ZoneInfo", lambda value: str(value.key)),
    ("uuid", "UUID"): _by_text("UUID", lambda value: f"{value.int:x}"),
}


class _Found:
    """Encoders of library types that turned up. Which ones have so far is no part of what code does."""

    __fingerprint_ignore__ = ("known",)

    def __init__(self) -> None:
        self.known: dict[type, Encoder] = {}


_FOUND = _Found()


def _find_named(kind: type) -> Encoder | None:
    """The encoder of a library type, once it is certain that ``kind`` is that type and not a namesake."""
    encoder = _NAMED.get((kind.__module__, kind.__name__))
    if encoder is None:
        return None
    module = sys.modules.get(kind.__module__)
    if getattr(module, kind.__name__, None) is not kind:
        return None
    _FOUND.known[kind] = encoder
    return encoder


def atom_encoder(kind: type) -> Encoder | None:
    """The encoder for values of exactly this type, or None where it is not a plain atom."""
    return ATOMS.get(kind) or _FOUND.known.get(kind) or _find_named(kind)


def _sequence(tag: bytes) -> Callable[[Any, list[int]], bytes]:
    return lambda value, inside: frame(tag, b"".join([_encode(item, inside) for item in value]))


def _unordered(tag: bytes) -> Callable[[Any, list[int]], bytes]:
    return lambda value, inside: frame(tag, b"".join(sorted([_encode(item, inside) for item in value])))


def _mapping(value: Any, inside: list[int]) -> bytes:
    return frame(b"d", b"".join([_encode(k, inside) + _encode(v, inside) for k, v in value.items()]))


def _slice(value: Any, inside: list[int]) -> bytes:
    return frame(b"S", b"".join([_encode(item, inside) for item in (value.start, value.stop, value.step)]))


def _regex(value: Any, inside: list[int]) -> bytes:
    return frame(b"R", _encode(value.pattern, inside) + _encode(value.flags, inside))


def _range(value: Any, inside: list[int]) -> bytes:
    # Equal ranges are those with equal items: range(0, 3, 2) == range(0, 4, 2).
    first = value[0] if value else 0
    step = value.step if len(value) > 1 else 1
    return frame(b"r", b"".join([_encode(item, inside) for item in (first, len(value), step)]))


COMPOUNDS: dict[type, Callable[[Any, list[int]], bytes]] = {
    tuple: _sequence(b"("),
    list: _sequence(b"["),
    set: _unordered(b"{"),
    frozenset: _unordered(b"z"),
    dict: _mapping,
    slice: _slice,
    range: _range,
    bytearray: lambda value, inside: frame(b"y", bytes(value)),
}
"""Encoders of the plain values that hold others, by exact type."""


def _compound_encoder(kind: type) -> Callable[[Any, list[int]], bytes] | None:
    found = COMPOUNDS.get(kind)
    if found is None and kind.__module__ == "re" and kind.__name__ == "Pattern":
        found = _regex
    return found


def _encode(value: Any, inside: list[int]) -> bytes:
    kind = type(value)
    atom = atom_encoder(kind)
    if atom is not None:
        return atom(value)
    compound = _compound_encoder(kind)
    if compound is None:
        raise OpaqueError(
            f"{kind.__module__}.{kind.__qualname__} is not plain data. Give numbers, text, bytes, dates, "
            "paths and containers of them, or use passprint.fingerprint, which knows code and objects too.",
            [f"{kind.__qualname__}"],
        )
    if id(value) in inside:
        raise OpaqueError(
            f"A {kind.__qualname__} holds itself, so it has no canonical bytes. passprint.fingerprint knows "
            "cycles.",
            [kind.__qualname__],
        )
    inside.append(id(value))
    encoded = compound(value, inside)
    inside.pop()
    return encoded


def canonical(value: object) -> bytes:
    """Tagged, length-prefixed bytes of plain data.

    Plain data: None, bool, int, float, complex, str, bytes, bytearray, tuple, list, dict, set, frozenset,
    range, slice, Ellipsis, NotImplemented, path, Decimal, Fraction, date and time types, UUID, regex.

    Raises :class:`~passprint.OpaqueError` for anything else, and for a container that holds itself.
    """
    return _encode(value, [])


def is_flat(items: Any) -> bool:
    """Whether every item is an atom, so that a container of them is encoded in one go."""
    return all(atom_encoder(kind) is not None for kind in set(map(type, items)))
