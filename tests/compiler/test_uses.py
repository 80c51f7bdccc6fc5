"""What bytecode tells of how a name is used: may the order count, may any key be read, do all attributes count?"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable
from enum import Enum
from typing import Any

import pytest

from passprint.compiler.dependencies.can_read import CanRead, Inlined, can_read
from passprint.compiler.dependencies.uses import MADE, SELF, uses_of
from passprint.errors import CacheError

OPTIONS: Any = {}
helper: Any = None
log = logging.getLogger(__name__)


class Part(Enum):
    """An enum, of which code may name one member or ask for any."""

    MLP = 1
    GATE = 2


class Reader:
    """Methods that use ``self.names`` (a set) and ``self.table`` (a dict) in one way each."""

    names: Any
    table: Any
    key: Any

    def member(self) -> Any:
        return "x" in self.names

    def union_length(self) -> Any:
        return len(self.names | {"eta"}) == 7

    def last_sorted(self) -> Any:
        return sorted(self.names)[-1]

    def local(self) -> Any:
        names = self.names
        more = names | {"q"}
        return "a" in more and len(names)

    def equal(self) -> Any:
        return self.names == {"a"} and set(self.names) <= {"b"}

    def in_an_error(self) -> Any:
        if self.key not in self.names:
            raise ValueError(f"none of {list(self.names)}")
        return 1

    def loop(self) -> Any:
        for name in self.names:
            return name
        return None

    def joined(self) -> Any:
        return ", ".join(self.names)

    def handed_over(self) -> Any:
        return helper(self.names)

    def returned(self) -> Any:
        return self.names

    def chosen(self) -> Any:
        return (self.names if self.key else None) is None

    def one_key(self) -> Any:
        return self.table["x"] if "y" in self.table else self.table.get("z", 1)

    def computed_key(self) -> Any:
        return self.table[self.key]

    def computed_get(self) -> Any:
        return self.table.get(self.key)

    def counted(self) -> Any:
        return len(self.table)

    def items(self) -> Any:
        return [key for key, _ in self.table.items()]

    def truth(self) -> Any:
        return 1 if self.table else 2

    def names_members(self) -> Any:
        return self.key is Part.MLP or Part["GATE"].value

    def member_of_a_value(self) -> Any:
        return Part(self.key)

    def member_through_a_local(self) -> Any:
        kind = Part
        return kind(self.key)

    def member_by_a_computed_name(self) -> Any:
        return Part[self.key]

    def all_members(self) -> Any:
        return [part.value for part in Part]

    def counted_members(self) -> Any:
        return len(Part)

    def own_dict(self) -> Any:
        return self.__dict__

    def dict_of_another(self) -> Any:
        return len(OPTIONS.__dict__) + len(vars(self.table))

    def makes_one(self) -> Any:
        return list({name.upper() for name in helper(self)})

    def fills_one(self) -> Any:
        made = set()
        for name in helper(self):
            made.add(name)
        made.discard("a")
        return [*made, *enumerate(made)]

    def asks_what_it_makes(self) -> Any:
        made = {name.upper() for name in helper(self)}
        return "X" in made

    def asks_in_nested_code(self) -> Any:
        known = {"a", "b", "c", "d"}
        return [name for name in helper(self) if name not in known], lambda name: name in known

    def asks_what_it_combines(self) -> Any:
        return "x" in set(helper(1)) | set(helper(2))

    def goes_through_a_constant(self) -> Any:
        return [name for name in {"a", "b", "c"}]  # noqa: C416

    def goes_through_constants(self) -> Any:
        made = {"a", "b", "c", "d"}
        return [name.upper() for name in made]

    def combines(self) -> Any:
        return [name.upper() for name in set(helper(1)) | set(helper(2))]

    def combines_in_place(self) -> Any:
        made = set(helper(1))
        made &= set(helper(2))
        return list(made)

    def intersects(self) -> Any:
        made = set(helper(1))
        return list(made.intersection(helper(2)))

    def pops(self) -> Any:
        return {helper(1), helper(2)}.pop()

    def hands_over_what_it_makes(self) -> Any:
        return helper(set(helper(1)))

    def combines_in_nested_code(self) -> Any:
        made, other = set(helper(1)), helper(2)
        return lambda: list(made - other)

    def copies(self) -> Any:
        return [name.upper() for name in set(self.names)]

    def goes_through_in_nested_code(self) -> Any:
        names = self.names
        return lambda: [name.upper() for name in names]

    def logged(self) -> Any:
        log.warning("none of %s, %s", list(self.names), f"{', '.join(self.names)}")
        warnings.warn(f"none of {list(self.names)}", stacklevel=2)
        return "x" in self.names

    def told_after_a_log(self) -> Any:
        log.warning("a word")
        return helper(self.names)

    def handed_to_something_called_log(self) -> Any:
        return helper.warning(self.names)


IN_ANY_ORDER = ["logged", "member", "union_length", "last_sorted", "local", "equal", "in_an_error"]
IN_ORDER = [
    "told_after_a_log",
    "handed_to_something_called_log",
    "loop",
    "joined",
    "handed_over",
    "returned",
    "chosen",
]


def uses(name: str) -> Any:
    return uses_of(getattr(Reader, name).__code__, globals())


@pytest.mark.parametrize("name", IN_ANY_ORDER)
def test_the_order_does_not_count(name: str) -> None:
    assert "names" not in uses(name).ordered
    assert MADE not in uses(name).ordered


@pytest.mark.parametrize("name", IN_ORDER)
def test_the_order_may_count(name: str) -> None:
    found = uses(name)
    assert "names" in found.ordered | found.returned


def test_a_shadowed_builtin_is_none() -> None:
    code = Reader.last_sorted.__code__
    assert "names" not in uses_of(code).ordered
    assert "names" in uses_of(code, {"sorted": print}).ordered, "it is somebody else's"


def test_keys_that_code_holds_are_all_that_is_read() -> None:
    assert "table" not in uses("one_key").keyed


@pytest.mark.parametrize("name", ["computed_key", "computed_get", "counted", "items", "truth"])
def test_any_key_may_be_read(name: str) -> None:
    assert "table" in uses(name).keyed


def test_members_that_code_names_are_all_that_is_read() -> None:
    assert "Part" not in uses("names_members").keyed


@pytest.mark.parametrize(
    "name",
    [
        "member_of_a_value",
        "member_through_a_local",
        "member_by_a_computed_name",
        "all_members",
        "counted_members",
    ],
)
def test_any_member_may_be_read(name: str) -> None:
    assert "Part" in uses(name).keyed


def test_all_attributes_count_where_they_are_listed() -> None:
    assert uses("own_dict").whole == {SELF}
    assert {"OPTIONS", "table"} <= uses("dict_of_another").whole


IN_ITS_OWN_ORDER = [
    "makes_one",
    "fills_one",
    "asks_what_it_makes",
    "asks_in_nested_code",
    "asks_what_it_combines",
]
IN_ANOTHER_ORDER = [
    *(
        "goes_through_a_constant",
        "goes_through_constants",
        "combines",
        "combines_in_place",
        "intersects",
        "pops",
    ),
    *("hands_over_what_it_makes", "combines_in_nested_code"),
]


@pytest.mark.parametrize("name", IN_ITS_OWN_ORDER)
def test_a_set_that_is_filled_here_has_the_order_of_its_filling(name: str) -> None:
    assert MADE not in uses(name).ordered


@pytest.mark.parametrize("name", IN_ANOTHER_ORDER)
def test_what_is_made_of_sets_may_have_another_order(name: str) -> None:
    assert MADE in uses(name).ordered


@pytest.mark.parametrize("name", ["copies", "goes_through_in_nested_code"])
def test_the_order_of_what_a_set_is_made_of_counts(name: str) -> None:
    assert "names" in uses(name).ordered
    assert MADE not in uses(name).ordered


def listed(function: Callable[..., Any]) -> CanRead:
    return can_read([Inlined(function.__code__, function, __name__, None)])  # type: ignore[arg-type]


class Holder:
    """A dict behind a property, read by names, and behind a method."""

    _table: Any
    _other: Any

    @property
    def table(self) -> Any:
        return self._table

    def other(self) -> Any:
        return self._other

    def by_name(self) -> Any:
        return self.table["x"]

    def by_key(self) -> Any:
        return self.table[helper()]

    def by_computed_name(self) -> Any:
        return getattr(self, helper())

    def of_another(self, other: Any) -> Any:
        return getattr(other, helper())

    def of_another_by_its_getter(self, other: Any) -> Any:
        return other.__getattr__(helper())

    def by_known_name(self) -> Any:
        return getattr(self, "table", None)["x"]


class Forwards:
    """Looks names up in a dict, as configurations do."""

    _table: Any

    def __getattr__(self, name: str) -> Any:
        if "_table" in self.__dict__ and hasattr(self.__dict__["_table"], name):
            return self._table[name]
        return name in self.__dict__


class Prefixed(Forwards):
    def __getattr__(self, name: str) -> Any:
        return super().__getattr__(f"_{name}")


class Passed(Forwards):
    def __getattr__(self, name: str) -> Any:
        return super().__getattr__(name)


class Computes:
    _table: Any

    def __getattr__(self, name: str) -> Any:
        name = f"_{name}"
        return self._table[name]


class Lists:
    def __getattr__(self, name: str) -> Any:
        return [held for held in self.__dict__ if held != name]


def test_what_a_getter_is_asked_for_is_a_name_that_somebody_holds() -> None:
    assert not any(uses_of(Forwards.__getattr__.__code__)[:4])
    assert uses_of(Forwards.__getattr__.__code__).asked == {"_table", f"@{SELF}"}
    assert "_table" in uses_of(Computes.__getattr__.__code__).keyed
    assert SELF in uses_of(Lists.__getattr__.__code__).whole


def test_what_a_property_gives_is_used_as_the_property_is() -> None:
    def keyed(*names: str) -> frozenset[str]:
        getter = Inlined(Holder.table.fget.__code__, None, __name__, None, frozenset({"table"}))  # type: ignore[attr-defined]
        functions = [vars(Holder)[name] for name in names]
        return can_read([getter, *[Inlined(f.__code__, f, __name__, None) for f in functions]]).keyed

    assert "_table" not in keyed("by_name")
    assert "_table" in keyed("by_name", "by_key")
    assert "_other" in keyed("other")
    assert "_table" in keyed("by_computed_name")
    assert "_table" not in keyed("by_known_name")


def test_a_getter_that_is_asked_for_a_computed_name_may_be_asked_for_any() -> None:
    def reads(*functions: Any) -> CanRead:
        return can_read([Inlined(f.__code__, f, __name__, None) for f in functions])

    assert "_table" not in reads(Forwards.__getattr__, Holder.by_known_name).keyed
    assert "_table" in reads(Forwards.__getattr__, Holder.of_another).keyed
    assert "_table" in reads(Forwards.__getattr__, Holder.of_another_by_its_getter).keyed
    assert "_table" in reads(Forwards.__getattr__, Prefixed.__getattr__).keyed
    if sys.version_info < (3, 12):  # newer Python has an instruction for super(), which is not followed
        assert "_table" not in reads(Forwards.__getattr__, Passed.__getattr__).keyed
    assert f"{__name__}:Forwards" in reads(Forwards.__getattr__, Holder.of_another).whole


class Listed:
    def __init__(self) -> None:
        self.found = any(getattr(self, name) for name in helper(self))


class ListedToo(Listed, Forwards):
    pass


class ByItself:
    def __init__(self) -> None:
        self.found = any(getattr(self, name) for name in helper(self))


def test_a_getter_of_objects_that_nobody_asks_for_computed_names() -> None:
    def reads(*functions: Any) -> CanRead:
        return can_read([Inlined(f.__code__, f, __name__, None) for f in functions])

    assert uses_of(ByItself.__init__.__code__).computes == {SELF}
    assert "_table" not in reads(Forwards.__getattr__, ByItself.__init__).keyed
    assert "_table" in reads(Forwards.__getattr__, Listed.__init__).keyed, "a class is derived from both"


def test_a_list_is_the_same_after_it_was_stored() -> None:
    for name in (*IN_ANY_ORDER, *IN_ORDER, "dict_of_another"):
        reads = listed(getattr(Reader, name))
        assert CanRead.decode(reads.encode()) == reads
        assert CanRead.decode(reads.encode()).encode() == reads.encode()
    with pytest.raises(CacheError, match="cannot be read"):
        CanRead.decode(b"nothing")


def test_what_is_asked_of_the_process() -> None:
    def limited() -> int:
        return sys.getrecursionlimit()

    def flagged() -> Any:
        import os

        return os.environ.get("SOME_VARIABLE")

    def computed(name: str) -> Any:
        import os

        return os.environ.get(f"SOME_{name}")

    assert listed(limited).questions == (("sys", "getrecursionlimit", (), ()),)
    assert listed(flagged).variables is not None
    assert "SOME_VARIABLE" in (listed(flagged).variables or ())
    assert listed(computed).variables is None, "names of variables are computed: all count"
    assert listed(Reader.member).variables == ()
