"""Canonical bytes: equal if and only if type and value are equal."""

from __future__ import annotations

import datetime
import decimal
import fractions
import math
import pathlib
import re
import uuid
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from passprint import OpaqueError
from passprint.identity import Memo, canonical, fingerprint

ATOMS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.complex_numbers(),
    st.text(),
    st.binary(),
    st.just(...),
    st.decimals(allow_nan=False),
    st.fractions(),
    st.datetimes(),
    st.dates(),
    st.timedeltas(),
    st.uuids(),
    st.sampled_from(
        [pathlib.PurePosixPath("a/b"), pathlib.PureWindowsPath("a/b"), re.compile("a"), re.compile("a", re.I)]
    ),
    st.builds(range, st.integers(-5, 5), st.integers(-5, 5), st.integers(1, 3)),
    st.builds(slice, st.none() | st.integers(-3, 3), st.none() | st.integers(-3, 3)),
)
HASHABLE = st.recursive(
    ATOMS.filter(lambda value: not isinstance(value, slice)),
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3),
    max_leaves=6,
)
VALUES = st.recursive(
    ATOMS | HASHABLE,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner),
        st.dictionaries(HASHABLE, inner, max_size=3),
        st.sets(HASHABLE, max_size=3),
    ),
    max_leaves=8,
)


def same(one: Any, other: Any) -> bool:
    """Whether two values have the same type and value, as a program can tell (written apart from the code
    under test)."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        if math.isnan(one) or math.isnan(other):
            return math.isnan(one) and math.isnan(other)
        return one == other and math.copysign(1, one) == math.copysign(1, other)
    if isinstance(one, complex):
        return same(one.real, other.real) and same(one.imag, other.imag)
    if isinstance(one, decimal.Decimal):
        return one.as_tuple() == other.as_tuple()
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, dict):
        return same(list(one.items()), list(other.items()))
    if isinstance(one, (set, frozenset)):
        rest = list(other)
        for item in one:
            match = next((index for index, candidate in enumerate(rest) if same(item, candidate)), None)
            if match is None:
                return False
            del rest[match]
        return not rest
    if isinstance(one, slice):
        return same((one.start, one.stop, one.step), (other.start, other.stop, other.step))
    if isinstance(one, (datetime.datetime, datetime.time)):
        return one == other and one.fold == other.fold
    return bool(one == other)


@settings(max_examples=400, deadline=None)
@given(VALUES, VALUES)
def test_bytes_are_equal_if_and_only_if_type_and_value_are(one: Any, other: Any) -> None:
    assert (canonical(one) == canonical(other)) == same(one, other)


@settings(max_examples=200, deadline=None)
@given(VALUES)
def test_a_copy_has_the_same_bytes_and_digest(value: Any) -> None:
    import copy

    twin = copy.deepcopy(value)
    assert canonical(twin) == canonical(value)
    assert Memo().digest(twin) == Memo().digest(value) is not None


@settings(max_examples=200, deadline=None)
@given(VALUES, VALUES)
def test_digests_tell_values_apart_as_bytes_do(one: Any, other: Any) -> None:
    assert (Memo().digest(one) == Memo().digest(other)) == same(one, other)


DIFFERENT = [
    1,
    True,
    1.0,
    "1",
    b"1",
    (1,),
    [1],
    {1},
    frozenset({1}),
    {1: None},
    complex(1),
    decimal.Decimal(1),
    decimal.Decimal("1.0"),
    fractions.Fraction(1),
    0,
    0.0,
    -0.0,
    False,
    None,
    float("nan"),
    float("inf"),
    ("ab", "c"),
    ("a", "bc"),
    ("abc",),
    (("a",), "bc"),
    [["a"], "bc"],
    [],
    (),
    {},
    set(),
    "",
    b"",
    bytearray(b""),
    range(1),
    slice(1),
    ...,
    pathlib.PurePosixPath("1"),
    datetime.date(2020, 1, 1),
    datetime.datetime(2020, 1, 1),
    datetime.datetime(2020, 1, 1, fold=1),
    datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC),
    datetime.timedelta(1),
    uuid.UUID(int=1),
    re.compile("1"),
    re.compile(b"1"),
    {"a": 1, "b": 2},
    {"b": 2, "a": 1},
]


def test_each_of_these_differs_from_each_other() -> None:
    assert len({canonical(value) for value in DIFFERENT}) == len(DIFFERENT)
    assert len({Memo().digest(value) for value in DIFFERENT}) == len(DIFFERENT)


def test_every_nan_is_one_nan() -> None:
    import struct

    odd = struct.unpack(">d", bytes.fromhex("7ff8000000000001"))[0]
    assert canonical(odd) == canonical(float("nan")) == canonical(-float("nan"))


def test_the_order_of_sets_does_not_count_and_that_of_dicts_does() -> None:
    words = [f"word {number}" for number in range(50)]
    backwards = words[::-1]
    assert canonical(set(words)) == canonical(set(backwards))
    assert canonical(dict.fromkeys(words)) != canonical(dict.fromkeys(reversed(words)))


@pytest.mark.parametrize("value", [object(), len, open, type("T", (), {}), type("I", (int,), {})(3)])
def test_what_is_not_plain_data_is_refused_by_name(value: object) -> None:
    with pytest.raises(OpaqueError, match="is not plain data"):
        canonical(value)


def test_a_container_that_holds_itself_has_no_bytes_but_a_digest() -> None:
    loop: list[Any] = [1]
    loop.append(loop)
    with pytest.raises(OpaqueError, match="holds itself"):
        canonical(loop)
    other: list[Any] = [1]
    other.append(other)
    assert fingerprint(loop).digest == fingerprint(other).digest


def test_a_namesake_of_a_plain_type_is_not_taken_for_it() -> None:
    fake = type("Decimal", (), {"__module__": "decimal", "as_tuple": lambda self: (0, (1,), 0)})
    with pytest.raises(OpaqueError):
        canonical(fake())
