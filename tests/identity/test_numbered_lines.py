"""The lines that differ of two numbered texts: what only has another number is left out, another value is not."""

from __future__ import annotations

import difflib

import pytest

from passprint.identity.numbered import lined_up

GRAPH = """\
%0 = linear(a0, a1; )
%1 = relu(%0; )
%2 = mul(%1, 0.5; )
%3 = add(%2, %0; )
%4 = add(%3, %1; )
return %4: float32 [4]"""


def shown(after: str, before: str = GRAPH) -> list[str]:
    """The lines of a difference, without those that both have."""
    one, other = before.splitlines(), after.splitlines()
    rows = list(difflib.unified_diff(lined_up(one, other), other, lineterm=""))[2:]
    return [row for row in rows if row[0] in "+-"]


DIFFERENCES = {
    "one more": (
        "%0 = linear(a0, a1; )\n%1 = neg(%0; )\n%2 = relu(%1; )\n%3 = mul(%2, 0.5; )\n%4 = add(%3, %0; )\n"
        "%5 = add(%4, %2; )\nreturn %5: float32 [4]",
        ["-%2 = relu(%0; )", "+%1 = neg(%0; )", "+%2 = relu(%1; )"],
    ),
    "one less": (
        "%0 = linear(a0, a1; )\n%1 = relu(%0; )\n%2 = add(%1, %0; )\n%3 = add(%2, %1; )\nreturn %3: float32 [4]",
        ["-%2' = mul(%1, 0.5; )", "-%2 = add(%2', %0; )", "+%2 = add(%1, %0; )"],
    ),
    "one replaced": (
        GRAPH.replace("relu", "tanh"),
        ["-%1 = relu(%0; )", "+%1 = tanh(%0; )"],
    ),
    "another value is taken": (
        GRAPH.replace("add(%3, %1; )", "add(%3, %0; )"),
        ["-%4 = add(%3, %1; )", "+%4 = add(%3, %0; )"],
    ),
    "a value is exchanged and one inserted": (
        "%0 = linear(a0, a1; )\n%1 = relu(%0; )\n%2 = neg(%1; )\n%3 = mul(%2, 0.5; )\n%4 = add(%3, %0; )\n"
        "%5 = add(%4, %0; )\nreturn %5: float32 [4]",
        [
            *("-%3 = mul(%1, 0.5; )", "+%2 = neg(%1; )", "+%3 = mul(%2, 0.5; )"),
            *("-%5 = add(%4, %1; )", "+%5 = add(%4, %0; )"),
        ],
    ),
}


@pytest.mark.parametrize("case", DIFFERENCES)
def test_only_what_differs_is_shown(case: str) -> None:
    after, expected = DIFFERENCES[case]
    assert shown(after) == expected


def test_equal_texts_have_no_difference() -> None:
    assert shown(GRAPH) == []


def test_code_stays_as_it_is() -> None:
    lines = ["x = '%5 of %7'", "y = x % 5"]
    assert lined_up(lines, ["z"]) == lines


def test_two_texts_that_differ_never_look_the_same() -> None:
    swapped = "%0 = neg(a0; )\n%1 = relu(a0; )\n%2 = sub(%0, %1; )"
    for other in (
        swapped.replace("sub(%0, %1", "sub(%1, %0"),
        swapped.replace("%2 = sub(%0, %1", "%2 = sub(%1, %1"),
    ):
        assert shown(other, swapped) != []
