"""What counts of objects of the standard library that code reads: each row must change the digest, or must not."""

from __future__ import annotations

import pytest
from tests.identity.pairs import Pair, check, digest, load, pair

from passprint.identity import Memo

ROWS = [
    pair(
        "what a defaultdict makes",
        "import collections\nD = collections.defaultdict(lambda: 1, a=2)\ndef target(k): return D[k]",
        changed=(
            "import collections\nD = collections.defaultdict(lambda: 3, a=2)\ndef target(k): return D[k]",
            "import collections\nD = collections.defaultdict(lambda: 1, a=3)\ndef target(k): return D[k]",
            "import collections\nD = collections.defaultdict(None, a=2)\ndef target(k): return D[k]",
            "D = dict(a=2)\ndef target(k): return D[k]",
        ),
        same=("import collections as c\nD = c.defaultdict(lambda: 1, {'a': 2})\ndef target(k): return D[k]",),
    ),
    pair(
        "what a class derived from defaultdict makes",
        "import collections\nclass C(collections.defaultdict): pass\nD = C(int)\ndef target(k): return D[k]",
        changed=(
            "import collections\nclass C(collections.defaultdict): pass\nD = C(str)\ndef target(k): return D[k]",
            """
            import collections
            class C(collections.defaultdict):
                def __missing__(self, key): return key
            D = C(int)
            def target(k): return D[k]
            """,
            """
            import collections
            class C(collections.defaultdict): pass
            D = C(int)
            D.more = 1
            def target(k): return D[k]
            """,
        ),
        same=(
            """
            import collections as c
            class C(c.defaultdict):
                'Doc.'
            D = C(int)
            def target(k): return D[k]
            """,
        ),
    ),
    pair(
        "a context variable's default",
        "import contextvars\nV = contextvars.ContextVar('v', default=1)\ndef target(): return V.get()",
        changed=(
            "import contextvars\nV = contextvars.ContextVar('v', default=2)\ndef target(): return V.get()",
            "import contextvars\nV = contextvars.ContextVar('v')\ndef target(): return V.get()",
            "import contextvars\nV = contextvars.ContextVar('v', default=None)\ndef target(): return V.get()",
            "import contextvars\nV = contextvars.ContextVar('v', default=lambda: 1)\ndef target(): return V.get()",
            "import contextvars\nV = contextvars.ContextVar('v', default=lambda: 2)\ndef target(): return V.get()",
        ),
        same=(
            "import contextvars\nV = contextvars.ContextVar('v', default=1)\nV.set(7)\ndef target(): return V.get()",
        ),
    ),
    pair(
        "a struct's format",
        "import struct\nS = struct.Struct('<i')\ndef target(x): return S.pack(x)",
        changed=("import struct\nS = struct.Struct('<q')\ndef target(x): return S.pack(x)",),
        same=("from struct import Struct\nS = Struct('<i')\ndef target(x): return S.pack(x)",),
    ),
    pair(
        "deques, ordered dicts, counters, chains, namespaces",
        """
        import collections, types
        D = collections.deque([1], maxlen=3), collections.OrderedDict(a=1), collections.Counter('a')
        C = collections.ChainMap({'a': 1}), types.SimpleNamespace(a=1)
        def target(): return D, C
        """,
        changed=tuple(
            f"import collections, types\nD = {first}\nC = {second}\ndef target(): return D, C"
            for first, second in (
                (
                    "collections.deque([1], maxlen=4), collections.OrderedDict(a=1), collections.Counter('a')",
                    "collections.ChainMap({'a': 1}), types.SimpleNamespace(a=1)",
                ),
                (
                    "collections.deque([1], maxlen=3), collections.OrderedDict(a=2), collections.Counter('a')",
                    "collections.ChainMap({'a': 1}), types.SimpleNamespace(a=1)",
                ),
                (
                    "collections.deque([1], maxlen=3), collections.OrderedDict(a=1), collections.Counter('aa')",
                    "collections.ChainMap({'a': 1}), types.SimpleNamespace(a=1)",
                ),
                (
                    "collections.deque([1], maxlen=3), collections.OrderedDict(a=1), collections.Counter('a')",
                    "collections.ChainMap({'a': 2}), types.SimpleNamespace(a=1)",
                ),
                (
                    "collections.deque([1], maxlen=3), collections.OrderedDict(a=1), collections.Counter('a')",
                    "collections.ChainMap({'a': 1}), types.SimpleNamespace(a=2)",
                ),
            )
        ),
        same=(
            """
            import collections, types
            # comment
            D = collections.deque([1], maxlen=3), collections.OrderedDict(a=1), collections.Counter('a')
            C = collections.ChainMap({'a': 1}), types.SimpleNamespace(a=1)
            def target(): return D, C
            """,
        ),
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_pair(row: Pair) -> None:
    check(row)


def test_a_defaultdict_that_is_given_another_factory_is_noticed() -> None:
    target = load("import collections\nD = collections.defaultdict(int)\ndef target(k): return D[k]")
    memo = Memo()
    first = memo.digest(target)
    assert memo.digest(target) == first
    target.__globals__["D"].default_factory = str
    changed = memo.digest(target)
    assert changed != first
    assert changed == digest(target)
    target.__globals__["D"].default_factory = int
    assert memo.digest(target) == first
