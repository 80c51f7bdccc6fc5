"""What counts of objects of the standard library that code reads: each row must change the digest, or must not."""

from __future__ import annotations

import pytest
from tests.identity.pairs import Pair, check, digest, load, pair

from passprint.identity import Memo, fingerprint

WRAPPED = """
import functools
class Wrapped:
    def __init__(self, function): functools.update_wrapper(self, function); self.function = function
    def __call__(self): return self.function()
@Wrapped
def target():
    'Doc.'
    return 1
"""
PARTIAL = """
import functools
def f(a):
    'Doc.'
    return a
target = functools.update_wrapper(functools.partial(f, 1), f)
"""

ROWS = [
    pair(
        "an instance that took a function's name and documentation",
        WRAPPED,
        changed=(WRAPPED.replace("return 1", "return 2"),),
        same=(WRAPPED.replace("Doc.", "Another."),),
    ),
    pair(
        "a partial that took a function's documentation",
        PARTIAL,
        changed=(PARTIAL.replace("(f, 1)", "(f, 2)"),),
        same=(PARTIAL.replace("Doc.", "Another."),),
    ),
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
        "a context variable's value and default",
        "import contextvars\nV = contextvars.ContextVar('v', default=1)\ndef target(): return V.get()",
        changed=(
            "import contextvars\nV = contextvars.ContextVar('v', default=2)\ndef target(): return V.get()",
            "import contextvars\nV = contextvars.ContextVar('v')\ndef target(): return V.get()",
            "import contextvars\nV = contextvars.ContextVar('v', default=None)\ndef target(): return V.get()",
            "import contextvars\nV = contextvars.ContextVar('v', default=lambda: 1)\ndef target(): return V.get()",
            "import contextvars\nV = contextvars.ContextVar('v', default=lambda: 2)\ndef target(): return V.get()",
            "import contextvars\nV = contextvars.ContextVar('v', default=1)\nV.set(7)\ndef target(): return V.get()",
            "import contextvars\nV = contextvars.ContextVar('v')\nV.set(1)\ndef target(): return V.get()",
        ),
        same=(
            "import contextvars\nV = contextvars.ContextVar('v', default=1)\nV.set(1)\ndef target(): return V.get()",
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


READS = {
    "a subscript": "import os\ndef target(): return os.environ['PASSPRINT_TEST_FUSE']",
    "get": "import os\ndef target(): return os.environ.get('PASSPRINT_TEST_FUSE', '0') == '1'",
    "getenv": "import os\ndef target(): return os.getenv('PASSPRINT_TEST_FUSE')",
    "a name of its own": "from os import environ\ndef target(): return environ.get('PASSPRINT_TEST_FUSE')",
    "getenv as a name": "from os import getenv as ask\ndef target(): return ask('PASSPRINT_TEST_FUSE')",
    "whether it is there": "import os\ndef target(): return 'PASSPRINT_TEST_FUSE' in os.environ",
    "imported inside": "def target():\n    import os\n    return os.environ.get('PASSPRINT_TEST_FUSE')",
    "a nested function": "import os\ndef target(): return [os.environ['PASSPRINT_TEST_FUSE'] for _ in range(2)]",
    "a name in a constant": "import os\nNAME = 'PASSPRINT_TEST_FUSE'\ndef target(): return os.environ.get(NAME)",
    "a helper": "import os\ndef helper(): return os.getenv('PASSPRINT_TEST_FUSE')\ndef target(): return helper()",
    "a default": "import os\ndef target(name='PASSPRINT_TEST_FUSE'): return os.environ.get(name)",
    "a method": "import os\nclass target:\n    def run(self): return os.environ['PASSPRINT_TEST_FUSE']",
}


@pytest.mark.parametrize("text", READS.values(), ids=READS)
def test_an_environment_variable_that_code_names_counts(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "PASSPRINT_TEST_FUSE"
    monkeypatch.delenv(name, raising=False)
    target = load(text)
    memo = Memo()
    unset = memo.digest(target)
    monkeypatch.setenv("PASSPRINT_TEST_OTHER", "1")
    assert memo.digest(target) == unset == digest(load(text))
    monkeypatch.setenv(name, "1")
    first = memo.digest(target)
    assert first not in (unset, None)
    assert digest(load(text)) == first
    monkeypatch.setenv(name, "2")
    assert memo.digest(target) not in (unset, first)
    monkeypatch.setenv(name, "1")
    assert memo.digest(target) == first
    monkeypatch.delenv(name)
    assert memo.digest(target) == unset


def test_a_text_that_names_a_variable_counts_for_itself_where_the_environment_is_not_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    target = load("def target(): return 'PASSPRINT_TEST_FUSE'")
    monkeypatch.delenv("PASSPRINT_TEST_FUSE", raising=False)
    memo = Memo()
    first = memo.digest(target)
    monkeypatch.setenv("PASSPRINT_TEST_FUSE", "1")
    assert memo.digest(target) == first == digest(target)


@pytest.mark.parametrize(
    "text",
    [
        "import os\ndef helper(name): return os.getenv(name)\ndef target(): return helper('PASSPRINT_TEST_FUSE')",
        "import os\ndef target(): return dict(os.environ)",
    ],
    ids=["a name that is given", "all of them"],
)
def test_the_environment_by_names_that_the_code_does_not_hold_is_a_named_path(text: str) -> None:
    found = fingerprint(load(text), strict=False)
    assert len(found.opaque) == 1
    assert "os.environ" in found.opaque[0]
