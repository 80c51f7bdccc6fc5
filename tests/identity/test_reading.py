"""Code and functions are read as ``dis`` reads them, and digests are the same without the C modules."""

from __future__ import annotations

import dis
import gc
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import pytest
from tests.identity.stability_subject import PACKAGES

from passprint.identity import bytecode, opcodes

CACHE = dis.opmap.get("CACHE", 0)
MODULES = (
    "argparse",
    "asyncio.base_events",
    "ast",
    "dataclasses",
    "difflib",
    "inspect",
    "tarfile",
    "typing",
    "turtle",
)


def _below(code: CodeType) -> Iterator[CodeType]:
    yield code
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from _below(const)


def _functions() -> Iterator[FunctionType]:
    for name in MODULES:
        try:
            module = importlib.import_module(name)
        except ImportError:  # turtle needs a window system
            continue
        for value in vars(module).values():
            for one in (value, *vars(value).values()) if isinstance(value, type) else (value,):
                if isinstance(one, FunctionType):
                    yield one


def _large() -> FunctionType:
    """A function whose instructions need arguments of more than one byte."""
    lines = ["def f():", " 'doc'", *[f" name{n}.part{n}.deeper{n}; {n + 1000}" for n in range(400)]]
    lines.append(" return " + " + ".join([f"other{n}(9000{n}, 'text {n}')" for n in range(400)]))
    scope: dict[str, Any] = {}
    exec("\n".join(lines), scope)
    function: FunctionType = scope["f"]
    return function


def _codes() -> list[CodeType]:
    return [code for function in (*_functions(), _large()) for code in _below(function.__code__)]


def test_chains_of_wide_arguments_are_read() -> None:
    found = opcodes.read_chains(_large().__code__.co_code, _large().__code__.co_names)
    assert ("name399", "part399", "deeper399") in found
    assert ("other399",) in found
    assert len(found) == 800


def test_instructions_are_those_of_dis() -> None:
    codes = _codes()
    assert len(codes) > 500
    for code in codes:
        expected = [
            (one.opcode, one.arg or 0)
            for one in dis.get_instructions(code)
            if one.opcode not in (opcodes.EXTENDED, CACHE)
        ]
        assert opcodes.read_instructions(code.co_code) == expected, code


def test_a_constant_is_moved_where_it_stands() -> None:
    def fn() -> tuple[str, str, str]:
        return "one", "two".upper(), "three" * len("one")

    text, consts = fn.__code__.co_code, fn.__code__.co_consts
    places = bytes([0, *reversed(range(1, len(consts)))])
    moved = opcodes.move_constants(text, places)
    assert moved is not None
    turned = fn.__code__.replace(co_code=moved, co_consts=(consts[0], *reversed(consts[1:])))
    assert FunctionType(turned, {})() == fn()
    assert moved != text or len(consts) < 3
    assert opcodes.move_constants(text, places[:2]) is None


@pytest.mark.parametrize(
    ("const", "is_plain"),
    [
        (None, True),
        (True, True),
        (1, True),
        (2.5, True),
        (float("nan"), False),
        (float("inf"), True),
        (-0.0, True),
        (2j, False),
        ("text", True),
        (b"bytes", True),
        (..., True),
        ((), True),
        ((1, ("a", (None, 2.0))), True),
        ((1, ("a", (None, float("nan")))), False),
        (frozenset({1}), False),
        ((1, frozenset({1})), False),
        (int, False),
        (type("Text", (str,), {})("x"), False),
    ],
)
def test_which_constants_are_plain(const: object, is_plain: bool) -> None:
    assert opcodes.is_plain(const) is is_plain


def test_what_functions_hold_is_read_without_making_it() -> None:
    def bare() -> None: ...

    def unhinted(a, b=1): ...  # type: ignore[no-untyped-def]

    def hinted(a: int, *, b: str = "") -> int:
        return a

    def marked(a=(1,), *, b={}):  # type: ignore[no-untyped-def]  # noqa: B006
        return a

    marked.__dict__["mark"] = {}
    assert opcodes.read_holders(unhinted) == (None, False)
    assert opcodes.read_holders(hinted) == (None, True)
    assert opcodes.read_holders(marked) == ({"mark": {}}, False)
    before = gc.get_referents(unhinted)
    assert opcodes.read_holders(unhinted) == (None, False)
    assert gc.get_referents(unhinted) == before


@pytest.mark.skipif(
    bytecode.code_facts is bytecode.code_facts_in_python, reason="the C modules were not built"
)
def test_digests_do_not_depend_on_the_c_modules() -> None:
    found = []
    for pure in ("", "1"):
        done = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("stability_subject.py"))],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PASSPRINT_PURE_PYTHON": pure},
        )
        assert done.returncode == 0, done.stderr
        found.append(json.loads(done.stdout))
    assert len(found[0]) > 300
    assert len(PACKAGES) > 1
    assert found[0] == found[1]
