# ruff: noqa: E501  (the rows are programs)
"""What counts of functions and of what they reach: each row must change the digest, or must not."""

from __future__ import annotations

import sys

import pytest
from tests.identity.pairs import Pair, check, digest, load, pair

from passprint.identity import Memo

ROWS = [
    pair(
        "code",
        "def target(x): return x + 1",
        changed=(
            "def target(x): return x - 1",
            "def target(x): return x + 2",
            "def target(x): return x + 1.0",
            "def target(x): return x + True",
            "def target(x): return x.a",
            "def target(x): return x.b",
            "def target(x, y): return x + 1",
            "def target(x, /): return x + 1",
            "def target(*, x): return x + 1",
            "def target(*x): return x + 1",
            "def target(**x): return x + 1",
            "def target(y): return y + 1",
            "async def target(x): return x + 1",
            "def target(x): yield x + 1",
            "async def target(x): yield x + 1",
            "target = lambda x: x + 1",
            "def other(x): return x + 1\ntarget = other",
        ),
        same=(
            "# comment\n\n\ndef target(x):\n    # comment\n\n    return (\n        x\n        + 1\n    )",
            "def target(x):\n    'docstring'\n    return x + 1",
            "import os\nOTHER = 3\ndef unused(): pass\ndef target(x): return x + 1",
        ),
    ),
    pair(
        "docstring where None is a constant too",
        "def target(x):\n    x(7, 8)",
        changed=("def target(x):\n    'doc'\n    x(7, 9)", "def target(x):\n    'doc'\n    x(8, 7)"),
        same=("def target(x):\n    'doc'\n    x(7, 8)", "def target(x):\n    'other'\n    x(7, 8)"),
    ),
    pair(
        "exceptions",
        """
        def target(x):
            try:
                return x()
            except ValueError:
                return 1
        """,
        changed=(
            "def target(x):\n    try:\n        return x()\n    except KeyError:\n        return 1\n",
            "def target(x):\n    try:\n        y = 1\n    except ValueError:\n        return 1\n    return x()\n",
        ),
        same=(
            "\n\ndef target(x):\n\n    try:\n        return x()\n\n    except ValueError:  # c\n        return 1",
        ),
    ),
    pair(
        "nested function",
        "def target():\n    def inner(a): return a * 2\n    return inner",
        changed=("def target():\n    def inner(a): return a * 3\n    return inner",),
        same=("def target():\n    def inner(a):\n        'doc'\n        return a * 2\n    return inner",),
    ),
    pair(
        "set constant",
        "def target(x): return x in {'a', 'b', 'c', 'd'}",
        changed=("def target(x): return x in {'a', 'b', 'c', 'e'}",),
        same=("def target(x): return x in {'a', 'b', 'c', 'd'}  # c",),
    ),
    pair(
        "defaults",
        "def target(a, b=1, *, c=2): pass",
        changed=(
            "def target(a, b=2, *, c=2): pass",
            "def target(a, b=True, *, c=2): pass",
            "def target(a, b=1, *, c=3): pass",
            "def target(a=0, b=1, *, c=2): pass",
        ),
        same=("B = 1\ndef target(a, b=B, *, c=2): pass",),
    ),
    pair(
        "closure",
        "def make(n):\n    return lambda: n\ntarget = make(1)",
        changed=(
            "def make(n):\n    return lambda: n\ntarget = make(2)",
            "def make(n):\n    return lambda: n\ntarget = make('1')",
        ),
        same=("def renamed(n):\n    return lambda: n\ntarget = renamed(1)",),
    ),
    pair(
        "function attributes",
        "def target(): pass\ntarget.limit = 3",
        changed=(
            "def target(): pass\ntarget.limit = 4",
            "def target(): pass\ntarget.other = 3",
            "def target(): pass",
        ),
        same=("def target(): pass\ntarget.limit = 1 + 2",),
    ),
    pair(
        "wrapper and wrapped",
        """
        import functools
        def wrap(f):
            @functools.wraps(f)
            def inner(*a): return f(*a)
            return inner
        @wrap
        def target(x): return x
        """,
        changed=(
            """
            import functools
            def wrap(f):
                @functools.wraps(f)
                def inner(*a): return f(*a)
                return inner
            @wrap
            def target(x): return -x
            """,
            """
            import functools
            def wrap(f):
                @functools.wraps(f)
                def inner(*a): return not f(*a)
                return inner
            @wrap
            def target(x): return x
            """,
            "def target(x): return x",
        ),
        same=(
            """
            from functools import wraps
            def wrap_renamed(f):
                @wraps(f)
                def inner(*a):
                    "doc"
                    return f(*a)
                return inner
            @wrap_renamed
            def target(x): return x
            """,
        ),
    ),
    pair(
        "helper",
        "def helper(x): return x\ndef target(x): return helper(x)",
        changed=(
            "def helper(x): return -x\ndef target(x): return helper(x)",
            "def target(x): return helper(x)",
            "helper = len\ndef target(x): return helper(x)",
        ),
        same=("def target(x): return helper(x)\n\n\ndef helper(x):\n    'doc'\n    return x",),
    ),
    pair(
        "global constant",
        "LIMIT = 1\ndef target(): return LIMIT",
        changed=(
            "LIMIT = 2\ndef target(): return LIMIT",
            "LIMIT = True\ndef target(): return LIMIT",
            "LIMIT = 1.0\ndef target(): return LIMIT",
            "LIMIT = '1'\ndef target(): return LIMIT",
        ),
        same=("OTHER = 5\nLIMIT = OTHER - 4\ndef target(): return LIMIT",),
    ),
    pair(
        "global container",
        "TABLE = {'a': [1, 2], 'b': 3}\ndef target(): return TABLE",
        changed=(
            "TABLE = {'a': [1, 3], 'b': 3}\ndef target(): return TABLE",
            "TABLE = {'b': 3, 'a': [1, 2]}\ndef target(): return TABLE",
            "TABLE = {'a': (1, 2), 'b': 3}\ndef target(): return TABLE",
        ),
        same=("TABLE = dict(a=[1, 2])\nTABLE['b'] = 3\ndef target(): return TABLE",),
    ),
    pair(
        "builtin replaced",
        "def target(x): return len(x)",
        changed=(
            "def len(x): return 3\ndef target(x): return len(x)",
            "len = sum\ndef target(x): return len(x)",
        ),
        same=("def target(x): return len(x)\nlength = len",),
    ),
    pair(
        "standard library",
        "import json\ndef target(x): return json.dumps(x)",
        changed=(
            "import json\ndef target(x): return json.loads(x)",
            "import pickle as json\ndef target(x): return json.dumps(x)",
        ),
        same=("import json, os\ndef target(x): return json.dumps(x)",),
    ),
    pair(
        "import inside",
        "def target(x):\n    from json import dumps\n    return dumps(x)",
        changed=(
            "def target(x):\n    from json import loads as dumps\n    return dumps(x)",
            "def target(x):\n    from pickle import dumps\n    return dumps(x)",
        ),
        same=("def target(x):\n    from json import dumps  # c\n    return dumps(x)",),
    ),
    pair(
        "partial",
        "import functools\ndef f(a, b): return a\ntarget = functools.partial(f, 1, b=2)",
        changed=(
            "import functools\ndef f(a, b): return a\ntarget = functools.partial(f, 2, b=2)",
            "import functools\ndef f(a, b): return a\ntarget = functools.partial(f, 1, b=3)",
            "import functools\ndef f(a, b): return b\ntarget = functools.partial(f, 1, b=2)",
        ),
        same=(
            "from functools import partial\ndef f(a, b):\n    'd'\n    return a\ntarget = partial(f, 1, b=2)",
        ),
    ),
    pair(
        "bound method",
        "class C:\n    def __init__(self, n): self.n = n\n    def m(self): return self.n\ntarget = C(1).m",
        changed=(
            "class C:\n    def __init__(self, n): self.n = n\n    def m(self): return self.n\ntarget = C(2).m",
            "class C:\n    def __init__(self, n): self.n = n\n    def m(self): return -self.n\ntarget = C(1).m",
        ),
        same=(
            "class C:\n    def m(self): return self.n\n    def __init__(self, n): self.n = n\ntarget = C(1).m",
        ),
    ),
    pair(
        "singledispatch",
        "import functools\n@functools.singledispatch\ndef target(x): return 0\n@target.register(int)\ndef _(x): return 1",
        changed=(
            "import functools\n@functools.singledispatch\ndef target(x): return 0\n@target.register(int)\ndef _(x): return 2",
            "import functools\n@functools.singledispatch\ndef target(x): return 0\n@target.register(str)\ndef _(x): return 1",
            "import functools\n@functools.singledispatch\ndef target(x): return 5\n@target.register(int)\ndef _(x): return 1",
        ),
        same=(
            "import functools\n@functools.singledispatch\ndef target(x): return 0\n@target.register(int)\ndef _(x): return 1\ntarget(3); target('')",
        ),
    ),
    pair(
        "lru_cache",
        "import functools\n@functools.lru_cache(8)\ndef target(x): return x",
        changed=(
            "import functools\n@functools.lru_cache(9)\ndef target(x): return x",
            "import functools\n@functools.lru_cache(8)\ndef target(x): return [x]",
        ),
        same=("import functools\n@functools.lru_cache(8)\ndef target(x): return x\ntarget(1)",),
    ),
    pair(
        "callable instance",
        "class C:\n    def __init__(self, k): self.k = k\n    def __call__(self, x): return x * self.k\ntarget = C(2)",
        changed=(
            "class C:\n    def __init__(self, k): self.k = k\n    def __call__(self, x): return x * self.k\ntarget = C(3)",
            "class C:\n    def __init__(self, k): self.k = k\n    def __call__(self, x): return x + self.k\ntarget = C(2)",
        ),
        same=(
            "class C:\n    'd'\n    def __init__(self, k): self.k = k\n    def __call__(self, x): return x * self.k\ntarget = C(2)",
        ),
    ),
    pair(
        "two lambdas on one line",
        "one, two = lambda x: x + 1, lambda x: x + 2\ntarget = one",
        changed=("one, two = lambda x: x + 1, lambda x: x + 2\ntarget = two",),
        same=("two, one = lambda x: x + 2, lambda x: x + 1\ntarget = one",),
    ),
    pair(
        "mutual recursion",
        "def even(n): return n == 0 or odd(n - 1)\ndef odd(n): return n != 0 and even(n - 1)\ntarget = even",
        changed=(
            "def even(n): return n == 0 or odd(n - 1)\ndef odd(n): return n != 1 and even(n - 1)\ntarget = even",
            "def even(n): return n == 0 or odd(n - 1)\ndef odd(n): return n != 0 and even(n - 1)\ntarget = odd",
        ),
        same=(
            "def odd(n): return n != 0 and even(n - 1)\n\ndef even(n): return n == 0 or odd(n - 1)\nodd(3)\ntarget = even",
        ),
    ),
    pair(
        "text that runs together",
        "def target(): return ('ab', 'c')",
        changed=(
            "def target(): return ('a', 'bc')",
            "def target(): return ('abc',)",
            "def target(): return 'ab', b'c'",
        ),
        same=("def target():\n    return 'a' 'b', 'c'",),
    ),
    pair(
        "hints as they are written",
        "def target(x: int) -> str: return x",
        changed=("def target(x: float) -> str: return x", "def target(x: int): return x"),
        same=("def target(x: int) -> str:\n    return x",),
    ),
    pair(
        "hints under the future import",
        "from __future__ import annotations\ndef target(x: int) -> str: return x",
        changed=("from __future__ import annotations\ndef target(x: float) -> str: return x",),
        same=("from __future__ import annotations\ndef target(x: int) -> str:\n    return x",),
    ),
    pair(
        "hints that were assigned",
        "def target(x): return x\ntarget.__annotations__ = {'x': 'int'}",
        changed=("def target(x): return x\ntarget.__annotations__ = {'x': 'float'}",),
        same=("def target(x): return x\ntarget.__annotations__ = dict(x='int')",),
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_pair(row: Pair) -> None:
    check(row)


def test_hints_are_not_evaluated_and_asking_for_them_changes_nothing() -> None:
    text = "def target(x: list[int], y: dict) -> str: return x\ntarget.__dict__['mark'] = 1"
    before, memo, target = digest(load(text)), Memo(), load(text)
    assert memo.digest(target) == before
    assert set(target.__annotations__) == {"x", "y", "return"}
    assert memo.digest(target) == digest(target) == before
    if sys.version_info >= (3, 14):  # before, the definition fails
        assert digest(load("def target(x: undefined): return x")) != before
