"""Pipelines as text: parse and str are inverses, and mistakes are pointed at."""

from __future__ import annotations

import enum
import math
from dataclasses import field
from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.fx import Graph

from passprint import PipelineError
from passprint.passes import InductorPass, graph_pass
from passprint.pipeline import FixedPoint, PassManager
from passprint.pipeline.torch_door import HOOKS


class Mode(enum.Enum):
    FAST = 1
    EXACT = 2


class TextEverything(InductorPass):
    eps: float = 1e-6
    size: int = 4
    label: str = ""
    on: bool = False
    bound: int | None = None
    sizes: tuple[int, ...] = ()
    pair: tuple[str, float] = ("a", 1.0)
    table: dict[str, list[int]] = field(default_factory=dict)
    names: frozenset[str] = frozenset()
    dtype: torch.dtype = torch.float32
    mode: Mode = Mode.FAST
    choice: Literal["left", "right"] = "left"
    any_one: object = None

    def __call__(self, graph: Graph) -> None:
        return None


class TextRequired(InductorPass):
    width: int

    def __call__(self, graph: Graph) -> None:
        return None


class TextPicky(InductorPass):
    width: int = 1

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError("width must be positive")

    def __call__(self, graph: Graph) -> None:
        return None


@graph_pass
def text_function(graph: Graph) -> None:
    return None


texts = st.text(alphabet=st.characters(codec="utf-8"), max_size=8)
everything = st.builds(
    TextEverything,
    eps=st.floats(allow_nan=False),
    size=st.integers(),
    label=texts,
    on=st.booleans(),
    bound=st.none() | st.integers(),
    sizes=st.lists(st.integers(), max_size=3).map(tuple),
    pair=st.tuples(texts, st.floats(allow_nan=False)),
    table=st.dictionaries(texts, st.lists(st.integers(), max_size=2), max_size=2),
    names=st.frozensets(texts, max_size=3),
    dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.int8]),
    mode=st.sampled_from(Mode),
    choice=st.sampled_from(["left", "right"]),
)
members = (
    everything | st.builds(TextPicky, width=st.integers(min_value=1)) | st.builds(TextRequired, st.integers())
)
groups = st.recursive(
    st.lists(members, max_size=3).map(PassManager),
    lambda inner: (
        st.lists(members | inner, max_size=3).map(PassManager)
        | st.builds(FixedPoint, st.lists(members | inner, max_size=3), max=st.integers(1, 20))
    ),
    max_leaves=3,
)
GRAPH_HOOKS = [name for name, hook in HOOKS.items() if hook.takes == "graph"]


@st.composite
def pipelines(draw: st.DrawFn) -> PassManager:
    """At no hook in particular, at one, or over several."""
    hooks = draw(st.lists(st.sampled_from(GRAPH_HOOKS), unique=True, max_size=3).map(sorted))
    hooks = [hook for hook in GRAPH_HOOKS if hook in hooks]
    bodies = [draw(st.lists(members | groups, max_size=3)) for _ in hooks or [None]]
    if not hooks:
        return PassManager(bodies[0])
    stages = [PassManager(body, hook=hook) for body, hook in zip(bodies, hooks, strict=True)]
    return stages[0] if len(stages) == 1 else PassManager(stages)


@settings(max_examples=100, deadline=None)
@given(pipelines())
def test_parse_and_str_are_inverses(manager: PassManager) -> None:
    text = str(manager)
    again = PassManager.parse(text)
    assert again == manager
    assert hash(again) == hash(manager)
    assert str(again) == text
    assert again.hooks == manager.hooks


def test_values_that_equal_nothing_or_everything() -> None:
    for value in (math.nan, math.inf, -math.inf, 0.0, -0.0):
        manager = PassManager([TextEverything(eps=value)])
        again = PassManager.parse(str(manager))
        assert repr(again.passes) == repr(manager.passes)


def test_the_text_of_a_set_does_not_vary() -> None:
    assert str(TextEverything(names=frozenset("cab"))) == "text-everything{names={'a','b','c'}}"


def test_what_the_text_says() -> None:
    manager = PassManager([TextEverything(eps=1e-5, mode=Mode.EXACT, dtype=torch.float16), text_function])
    text = "text-everything{eps=1e-05,dtype=torch.float16,mode='EXACT'},text-function"
    assert str(manager) == text
    assert PassManager.parse(text, passes=[text_function]) == manager
    assert repr(manager) == f"PassManager.parse({text!r})"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("  ", []),
        ("text-picky", [TextPicky()]),
        (" text-picky , text-picky{ width = 3 } ", [TextPicky(), TextPicky(3)]),
        ("text-picky{}", [TextPicky()]),
        ("text-picky{width=3,}", [TextPicky(3)]),
        ("text-picky\n  {width=\n3},\ntext-picky", [TextPicky(3), TextPicky()]),
        ("text-everything{eps=1}", [TextEverything(eps=1.0)]),
        ("text-everything{label='a}],\\'b'}", [TextEverything(label="a}],'b")]),
        ("(text-picky),()", [PassManager([TextPicky()]), PassManager([])]),
        ("fixed-point{text-picky}", [FixedPoint([TextPicky()])]),
        (" fixed-point ( max = 3 ) { text-picky , text-picky } ", [FixedPoint([TextPicky()] * 2, max=3)]),
        ("fixed-point(){}", [FixedPoint([])]),
        (
            "fixed-point{(text-picky),fixed-point{}}",
            [FixedPoint([PassManager([TextPicky()]), FixedPoint([])])],
        ),
        ("post-grad-post(text-picky)", [TextPicky()]),
        ("post_grad_post ( text-picky )", [TextPicky()]),
    ],
)
def test_spellings(text: str, expected: list[InductorPass]) -> None:
    assert PassManager.parse(text) == PassManager(expected)


def test_the_hook_is_an_argument_or_in_the_text() -> None:
    manager = PassManager.parse("text-picky,(text-picky)", hook="joint-pre")
    assert manager.hook == "joint_pre"
    assert str(manager) == "joint-pre(text-picky,(text-picky))"
    assert manager == PassManager.parse(str(manager))
    assert manager == PassManager([TextPicky(), PassManager([TextPicky()])], hook="joint_pre")


MISTAKES = [
    ("text-pikcy", "text-pikcy\n^^^^^^^^^^", "did you mean 'text-picky'"),
    ("text-picky,qqq", "text-picky,qqq\n           ^^^", "no pass called 'qqq'"),
    ("text-picky{widht=3}", "text-picky{widht=3}\n           ^^^^^", "did you mean 'width'"),
    ("text-picky{width='a'}", "text-picky{width='a'}\n                 ^^^", "width as int"),
    ("text-picky{width=True}", "text-picky{width=True}\n                 ^^^^", "width as int"),
    ("text-picky{width=3", "text-picky{width=3\n          ^", "not closed"),
    ("text-picky{width='}", "text-picky{width='}\n                 ^", "string is not closed"),
    ("text-picky{width=3+}", "text-picky{width=3+}\n                   ^", "cannot be read"),
    ("text-picky{width=f()}", "text-picky{width=f()}\n                 ^^^", "literal"),
    ("text-picky{3}", "text-picky{3}\n           ^", "key=value"),
    ("text-picky{**x}", "text-picky{**x}\n           ^^^", "key=value"),
    ("text-picky{width=0}", "text-picky{width=0}\n^^^^^^^^^^^^^^^^^^^", "width must be positive"),
    ("text-required", "text-required\n^^^^^^^^^^^^^", "text-required{width=...}"),
    ("text-picky,,", "text-picky,,\n           ^", "',' was found"),
    ("text-picky,", "text-picky,\n           ^", "the text ends"),
    ("text-picky text-picky", "text-picky text-picky\n           ^", "comma"),
    ("text-picky)", "text-picky)\n          ^", "')' was not expected"),
    ("(text-picky", "(text-picky\n^", "not closed"),
    ("text-picky,\ntext-x", "text-x\n^^^^^^", "'text-x'"),
    ("fixed-point{text-picky", "fixed-point{text-picky\n           ^", "this brace is not closed"),
    ("fixed-point(max=3", "fixed-point(max=3\n           ^", "this parenthesis is not closed"),
    ("fixed-point(max=3)", "fixed-point(max=3)\n^^^^^^^^^^^^^^^^^^", "its braces are missing"),
    ("fixed-point(maxx=3){}", "fixed-point(maxx=3){}\n            ^^^^", "did you mean 'max'"),
    ("fixed-point(max='a'){}", "fixed-point(max='a'){}\n                ^^^", "max as int"),
    ("fixed-point(max=0){}", "fixed-point(max=0){}\n^^^^^^^^^^^^^^^^^^^^", "1 or more"),
    ("fixed-pint{}", "fixed-pint{}\n^^^^^^^^^^", "did you mean 'fixed-point'"),
    ("pre-grid(text-picky)", "pre-grid(text-picky)\n^^^^^^^^", "did you mean 'pre-grad'"),
    ("pre-grad(text-picky", "pre-grad(text-picky\n        ^", "not closed"),
    ("pre-grad(text-picky},", "pre-grad(text-picky},\n                   ^", "'}' was not expected"),
    ("pre-grad(),text-picky", "pre-grad(),text-picky\n           ^^^^^^^^^^", "spans hooks"),
    ("pre-grad(),", "pre-grad(),\n           ^", "spans hooks"),
    ("text-picky,pre-grad()", "text-picky,pre-grad()\n           ^^^^^^^^", "stands in no other"),
    ("pre-grad(joint-pre())", "pre-grad(joint-pre())\n         ^^^^^^^^^", "stands in no other"),
    ("pre-grad(),pre-grad()", "pre-grad(),pre-grad()\n           ^^^^^^^^", "already"),
    (
        "joint-pre(),pre-grad()",
        "joint-pre(),pre-grad()\n^^^^^^^^^^^^^^^^^^^^^^",
        "Valid: pre-grad(…),joint-pre(…)",
    ),
    ("scheduler-pre(text-picky)", "scheduler-pre(text-picky)\n              ^^^^^^^^^^", "cannot run there"),
    (
        "text-everything{label='é',sizes=(1,'b')}",
        "text-everything{label='é',sizes=(1,'b')}\n                                ^^^^^^^",
        "tuple[int, ...]",
    ),
    ("text-picky{\n label='a',\n width=,}", " width=,}\n       ^", "cannot be read"),
    ("text-picky{width=1,width=2}", "text-picky{width=1,width=2}\n                   ^^^^^^^", "given twice"),
    ("\ttext-picky,qqq", "\ttext-picky,qqq\n\t           ^^^", "no pass called 'qqq'"),
    (
        "text-everything{label='日本',sizes=3}",
        "text-everything{label='日本',sizes=3}\n                                   ^",
        "tuple[int, ...]",
    ),
    ("text-picky{幅=3}", "text-picky{幅=3}\n           ^^", "no option '幅'"),
    (
        "text-everything{choice='up'}",
        "text-everything{choice='up'}\n                       ^^^^",
        "one of 'left', 'right'",
    ),
    (
        "text-everything{mode='SLOW'}",
        "text-everything{mode='SLOW'}\n                     ^^^^^^",
        "one of 'FAST', 'EXACT'",
    ),
]


@pytest.mark.parametrize(("text", "shown", "message"), MISTAKES)
def test_a_caret_stands_under_the_mistake(text: str, shown: str, message: str) -> None:
    with pytest.raises(PipelineError) as caught:
        PassManager.parse(text)
    problem, line, carets = str(caught.value).split("\n")
    assert message in problem
    assert [line[2:], carets[2:]] == shown.split("\n")


def test_the_hook_is_said_once() -> None:
    with pytest.raises(PipelineError, match="say it once"):
        PassManager.parse("pre-grad(text-picky)", hook="joint_pre")
    with pytest.raises(PipelineError, match="'postgrad'; did you mean 'post_grad_p"):
        PassManager.parse("text-picky", hook="postgrad")


def test_a_given_object_takes_no_options() -> None:
    with pytest.raises(PipelineError, match="takes no options"):
        PassManager.parse("text-function{a=1}", passes=[text_function])


def test_only_text_is_parsed() -> None:
    with pytest.raises(PipelineError, match="text was expected"):
        PassManager.parse([TextPicky()])  # type: ignore[arg-type]
