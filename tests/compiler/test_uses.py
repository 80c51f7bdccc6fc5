"""What bytecode tells of how a name is used: may the order count, may any key be read, do all attributes count?"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from passprint.compiler.dependencies.can_read import CanRead, Inlined, can_read
from passprint.compiler.dependencies.uses import MADE, SELF, uses_of
from passprint.errors import CacheError

OPTIONS: Any = {}
helper: Any = None


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

    def own_dict(self) -> Any:
        return self.__dict__

    def dict_of_another(self) -> Any:
        return len(OPTIONS.__dict__) + len(vars(self.table))

    def makes_one(self) -> Any:
        return list({name.upper() for name in helper(self)})

    def asks_what_it_makes(self) -> Any:
        made = {name.upper() for name in helper(self)}
        return "X" in made


IN_ANY_ORDER = ["member", "union_length", "last_sorted", "local", "equal", "in_an_error"]
IN_ORDER = ["loop", "joined", "handed_over", "returned", "chosen"]


def uses(name: str) -> Any:
    return uses_of(getattr(Reader, name).__code__, globals())


@pytest.mark.parametrize("name", IN_ANY_ORDER)
def test_the_order_does_not_count(name: str) -> None:
    assert "names" not in uses(name).ordered
    assert MADE not in uses(name).ordered


@pytest.mark.parametrize("name", IN_ORDER)
def test_the_order_may_count(name: str) -> None:
    assert "names" in uses(name).ordered


def test_a_shadowed_builtin_is_none() -> None:
    code = Reader.last_sorted.__code__
    assert "names" not in uses_of(code).ordered
    assert "names" in uses_of(code, {"sorted": print}).ordered


def test_keys_that_code_holds_are_all_that_is_read() -> None:
    assert "table" not in uses("one_key").keyed


@pytest.mark.parametrize("name", ["computed_key", "computed_get", "counted", "items", "truth"])
def test_any_key_may_be_read(name: str) -> None:
    assert "table" in uses(name).keyed


def test_all_attributes_count_where_they_are_listed() -> None:
    assert uses("own_dict").whole == {SELF}
    assert {"OPTIONS", "table"} <= uses("dict_of_another").whole


def test_a_set_that_the_code_makes_itself() -> None:
    assert MADE in uses("makes_one").ordered
    assert MADE not in uses("asks_what_it_makes").ordered


def listed(function: Callable[..., Any]) -> CanRead:
    return can_read([Inlined(function.__code__, function, __name__, None)])  # type: ignore[arg-type]


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

    assert listed(limited).questions == (("sys", "getrecursionlimit", ()),)
    assert listed(flagged).variables is not None
    assert "SOME_VARIABLE" in (listed(flagged).variables or ())
    assert listed(computed).variables is None, "names of variables are computed: all count"
    assert listed(Reader.member).variables == ()
