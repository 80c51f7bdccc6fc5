"""The C module that reads code gives what Python gives."""

from __future__ import annotations

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

from passprint.identity import opcodes

needs_c = pytest.mark.skipif(
    opcodes.read_chains is opcodes.read_chains_in_python, reason="the C module was not built"
)
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


@needs_c
def test_chains_are_the_same() -> None:
    codes = _codes()
    assert len(codes) > 500
    for code in codes:
        found = opcodes.read_chains(code.co_code, code.co_names)
        assert list(found) == list(opcodes.read_chains_in_python(code.co_code, code.co_names)), code


def test_chains_of_wide_arguments_are_read() -> None:
    found = opcodes.read_chains(_large().__code__.co_code, _large().__code__.co_names)
    assert ("name399", "part399", "deeper399") in found
    assert ("other399",) in found
    assert len(found) == 800


@needs_c
def test_instructions_are_the_same() -> None:
    for code in _codes():
        assert opcodes.read_instructions(code.co_code) == opcodes.read_instructions_in_python(code.co_code), (
            code
        )


@needs_c
def test_moved_constants_are_the_same() -> None:
    moved = 0
    for code in _codes():
        for places in (bytes([0, *range(255)]), bytes(range(7)), bytes([0, *reversed(range(1, 256))])):
            found = opcodes.move_constants(code.co_code, places)
            assert found == opcodes.move_constants_in_python(code.co_code, places), code
            moved += found is not None and found != code.co_code
    assert moved > 100


@needs_c
@pytest.mark.parametrize(
    "const",
    [
        None,
        True,
        1,
        2.5,
        float("nan"),
        float("inf"),
        -0.0,
        2j,
        "text",
        b"bytes",
        ...,
        (),
        (1, ("a", (None, 2.0))),
        (1, ("a", (None, float("nan")))),
        frozenset({1}),
        (1, frozenset({1})),
        int,
        type("Text", (str,), {})("x"),
    ],
)
def test_plain_constants_are_the_same(const: object) -> None:
    assert opcodes.is_plain(const) == opcodes.is_plain_in_python(const)


@needs_c
def test_what_functions_hold_is_the_same() -> None:
    def bare() -> None: ...

    def hinted(a: int, *, b: str = "") -> int:
        return a

    def marked(a=(1,), *, b={}):  # noqa: B006
        return a

    marked.__dict__["mark"] = {}
    for function in (*_functions(), bare, hinted, marked):
        in_c = opcodes.read_holders(function)
        in_python = opcodes.read_holders_in_python(function)
        assert in_c[0] is in_python[0], function
        assert in_c[1] == in_python[1] or sys.version_info >= (3, 14), function


@needs_c
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
