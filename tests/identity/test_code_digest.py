"""A digest of a code object by itself: what it does counts, where it stands does not, and nothing runs together."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from types import CodeType

import pytest

from passprint.identity import code_digest

BASE = "def f(a, b=1):\n    'Doc.'\n    return a.x + b"
CHANGED = (
    "def f(a, b=1): return a.y + b",
    "def f(a, b=1): return a.x - b",
    "def f(a, c=1): return a.x + c",
    "def f(a, *, b=1): return a.x + b",
    "def f(a, /, b=1): return a.x + b",
    "def f(a, *b): return a.x + b",
    "def f(a, b=1): yield a.x + b",
    "async def f(a, b=1): return a.x + b",
    "def f(a, b=1): return a.x + 1",
    "def f(a, b=1): return a.x + 1.0",
    "def f(a, b=1): return a.x + True",
    "def f(a, b=1): return a.x + 0.0",
    "def f(a, b=1): return a.x + -0.0",
    "def f(a, b=1): return a in ('ab', 'c')",
    "def f(a, b=1): return a in ('a', 'bc')",
    "def f(a, b=1): return a in ('abc',)",
    "def f(a, b=1): return a in {'ab', 'c'}",
    "def f(a, b=1): return a in {'a', 'bc'}",
    "def f(a, b=1): return (1, '1', b'1')",
    "def f(a, b=1): return ('1', 1, b'1')",
    "def f(a, b=1): return (lambda: a)()",
    "def f(a, b=1): return (lambda: b)()",
    "def f(a, b=1): return (lambda: 70001)()",
    "def f(a, b=1): return (lambda: 70002)()",
    "def f(a, b=1):\n try: return a.x\n except ValueError: return b",
    "def f(a, b=1):\n try: return a.x\n except TypeError: return b",
    "def f(ab, c): return ab + c",
    "def f(a, bc): return a + bc",
)
SAME = (
    "\n\n# moved\ndef f(a, b=1):\n    'Another.'\n    return (a.x  # says why\n        + b)",
    "def f(a, b=1): return a.x + b",
    "def f(a: int, b: int = 2) -> int: return a.x + b",  # hints and defaults are the function's
    "class C:\n  def f(a, b=1): return a.x + b",
)


def code(text: str, file: str = "<pair>") -> CodeType:
    """The code of the one ``f`` that a text defines."""
    todo = [compile(text, file, "exec", dont_inherit=True)]
    while todo:
        one = todo.pop()
        if one.co_name == "f":
            return one
        todo += [const for const in one.co_consts if isinstance(const, CodeType)]
    raise AssertionError(text)


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations((BASE, *CHANGED), 2)))
def test_what_it_does_counts(one: str, other: str) -> None:
    assert code_digest(code(one)) != code_digest(code(other))


@pytest.mark.parametrize("text", SAME)
def test_where_it_stands_does_not(text: str) -> None:
    assert code_digest(code(text, "/another/folder.py")) == code_digest(code(BASE))


def test_every_process_agrees() -> None:
    text = "def f(x): return x in {'a', 'b', 'c', 'd'} or x in (1, {2, 3})"
    child = f"from passprint.identity import code_digest\nexec({text!r})\nprint(code_digest(f.__code__))"
    found = {
        subprocess.run(
            [sys.executable, "-c", child],
            env={**os.environ, "PYTHONHASHSEED": seed, "PASSPRINT_PURE_PYTHON": pure},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed, pure in (("1", ""), ("2", ""), ("3", "1"))
    }
    assert found == {code_digest(code(text))}
