"""What torch puts around a function counts by what is in it, not by where it lies in this process."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch

from passprint.identity import Memo, fast
from passprint.identity.walk import Walk

WRAPPERS: dict[str, Callable[[Any], Any]] = {
    "nothing": lambda f: f,
    "disable": torch.compiler.disable,
    "disable with a reason": lambda f: torch.compiler.disable(f, reason="slow"),
    "disable, not what it calls": lambda f: torch.compiler.disable(f, recursive=False),
    "compile": torch.compile,
    "compile with another back end": lambda f: torch.compile(f, backend="eager"),
    "a constant result": torch.compiler.assume_constant_result,
    "no_grad": torch.no_grad(),
    "by torch itself": torch._disable_dynamo,
}


def made(factor: int = 2) -> Callable[[Any], Any]:
    """A function of its own, with code of its own."""
    scope: dict[str, Any] = {"__name__": "wrapped"}
    exec(f"def f(x): return x * {factor}", scope)
    function: Callable[[Any], Any] = scope["f"]
    return function


def digest(obj: object) -> str:
    found = Memo().digest(obj)
    assert found is not None
    return found


@pytest.mark.parametrize("name", WRAPPERS)
def test_one_made_anew_is_the_same(name: str) -> None:
    wrap = WRAPPERS[name]
    first, keeps = wrap(made()), [made() for _ in range(3)]
    other = wrap(made())
    assert first is not other
    assert digest(first) == digest(other)
    assert digest(wrap(made(3))) != digest(first)
    del keeps


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(WRAPPERS, 2)))
def test_what_is_around_it_counts(one: str, other: str) -> None:
    assert digest(WRAPPERS[one](made())) != digest(WRAPPERS[other](made()))


@pytest.mark.parametrize("name", ["disable", "compile with another back end", "by torch itself"])
def test_a_call_changes_nothing(name: str) -> None:
    wrapped = WRAPPERS[name](made())
    first = digest(wrapped)
    wrapped(torch.ones(2))
    assert digest(wrapped) == first


def test_a_copied_address_is_anothers() -> None:
    """Dynamo looks through a wrapper whose address is its own, and not through one that copied it."""
    inner = torch.compiler.disable(made())

    @functools.wraps(inner)
    def outer(x: Any) -> Any:
        return inner(x)

    copied = digest(outer)
    vars(outer)["_torchdynamo_wrapper_id"] = id(outer)
    assert digest(outer) != copied


@pytest.mark.skipif(fast.Walker is Walk, reason="the C module was not built")
@pytest.mark.parametrize("name", WRAPPERS)
def test_both_walks_agree(name: str) -> None:
    from tests.identity.test_twins import _compare

    _compare(WRAPPERS[name](made()))
