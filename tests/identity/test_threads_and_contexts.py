"""What code reads through a thread's or a context's own storage: what counts is what it would read here and now."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from typing import Any

import pytest
from tests.identity.pairs import check, pair

from passprint.identity import Memo

STACK = """
import threading
class Stack(threading.local):
    {members}
STACK = Stack()
{then}
def target(): return STACK.items
"""
INIT = "def __init__(self): self.items = []"
ROW = pair(
    "a thread's own storage",
    STACK.format(members=INIT, then=""),
    changed=(
        STACK.format(members=INIT, then="STACK.items.append(1)"),
        STACK.format(members=INIT, then="STACK.depth = 1"),
        STACK.format(members=INIT, then="del STACK.items"),
        STACK.format(members=INIT.replace("[]", "()"), then=""),
        STACK.format(members=f"def top(self): return self.items[-1]\n    {INIT}", then=""),
    ),
    same=(
        STACK.format(members=f"'''Where things are built.'''\n    {INIT}", then=""),
        STACK.format(
            members=INIT, then="threading.Thread(target=lambda: STACK.items.append(1)).start()"
        ).replace("threading.Thread", "__import__('threading').Thread"),
        STACK.format(members=f"__fingerprint_ignore__ = ('depth',)\n    {INIT}", then="STACK.depth = 1"),
    ),
)


def test_a_threads_own_storage() -> None:
    check(ROW)


class Local(threading.local):
    def __init__(self) -> None:
        self.items: list[int] = []


PLAIN = threading.local()
LOCAL = Local()
VARIABLE: contextvars.ContextVar[Any] = contextvars.ContextVar("VARIABLE")
WITH_DEFAULT: contextvars.ContextVar[Any] = contextvars.ContextVar("WITH_DEFAULT", default=1)


def reads() -> Any:
    return PLAIN, LOCAL, VARIABLE, WITH_DEFAULT


@pytest.fixture
def digest() -> Callable[[], str | None]:
    memo = Memo()
    return lambda: memo.digest(reads)


def in_another_thread(call: Callable[[], Any]) -> Any:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(call()))
    thread.start()
    thread.join()
    return found[0]


def test_the_same_state_has_the_same_digest_again(digest: Callable[[], str | None]) -> None:
    first = digest()
    assert first is not None
    LOCAL.items.append(1)
    pushed = digest()
    assert pushed not in (first, None)
    assert digest() == pushed
    LOCAL.items.pop()
    assert digest() == first
    PLAIN.mode = "fast"
    assert digest() not in (first, None)
    del PLAIN.mode
    assert digest() == first


def test_each_thread_is_answered_by_what_it_would_read(digest: Callable[[], str | None]) -> None:
    first = digest()
    LOCAL.items.append(1)
    try:
        here = digest()
        assert in_another_thread(digest) == first != here
        assert digest() == here
    finally:
        LOCAL.items.pop()


@pytest.mark.parametrize("variable", [VARIABLE, WITH_DEFAULT])
def test_each_context_is_answered_by_what_it_would_read(
    digest: Callable[[], str | None], variable: contextvars.ContextVar[Any]
) -> None:
    first = digest()
    token = variable.set([2])
    try:
        here = digest()
        assert here not in (first, None)
        assert contextvars.Context().run(digest) == first
        variable.get().append(3)
        assert digest() not in (first, here, None)
    finally:
        variable.reset(token)
    assert digest() == first


def test_storage_that_cannot_be_set_up_is_opaque() -> None:
    class Failing(threading.local):
        fails = False

        def __init__(self) -> None:
            if self.fails:
                raise ValueError("not here")

    held = Failing()
    Failing.fails = True
    memo = Memo()
    assert memo.digest(held) is not None
    assert in_another_thread(lambda: memo.fingerprint(held).opaque) == (
        "test_storage_that_cannot_be_set_up_is_opaque.<locals>.Failing: "
        "test_storage_that_cannot_be_set_up_is_opaque.<locals>.Failing, whose __init__ raised ValueError",
    )
