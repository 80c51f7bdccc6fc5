"""What cannot be known is reported by the path to it, and never guessed."""

from __future__ import annotations

import itertools
import pickle
import sys
import threading
from typing import Any, NoReturn

import pytest
from tests.identity.pairs import load

from passprint import OpaqueError
from passprint.identity import Memo, fingerprint

HANDLE = """
class Config:
    def __init__(self): self.handle = open("/dev/null")
CONFIG = Config()
def helper(x): return CONFIG.handle.write(x)
class MyPass:
    def run(self, graph): return helper(graph)
target = MyPass()
"""


def test_the_error_names_the_path_and_three_ways_out() -> None:
    with pytest.raises(OpaqueError) as caught:
        fingerprint(load(HANDLE))
    assert caught.value.paths == ("MyPass.run → helper → CONFIG.handle: TextIOWrapper",)
    message = str(caught.value)
    assert "MyPass.run → helper → CONFIG.handle: TextIOWrapper" in message
    for way in ("plain field", "__fingerprint__", "__fingerprint_ignore__"):
        assert way in message


def test_not_strict_lists_the_paths() -> None:
    found = fingerprint(load(HANDLE), strict=False)
    assert found.opaque == ("MyPass.run → helper → CONFIG.handle: TextIOWrapper",)
    assert Memo().digest(load(HANDLE)) is None
    assert Memo().opaque_paths(load(HANDLE)) == found.opaque
    assert Memo().opaque_paths(load("def target(x): return x + 1")) == ()


def test_each_way_out_works() -> None:
    ignored = HANDLE.replace("class Config:", "class Config:\n    __fingerprint_ignore__ = ('handle',)")
    declared = HANDLE.replace("class Config:", "class Config:\n    def __fingerprint__(self): return 'null'")
    assert fingerprint(load(ignored)).opaque == ()
    assert fingerprint(load(declared)).digest != fingerprint(load(ignored)).digest


OPAQUE = {
    "eval": ("def target(x): return eval(x)", "target → eval(): a name computed at run time"),
    "exec": ("def target(x): exec(x)", "target → exec(): a name computed at run time"),
    "globals": ("def target(x): return globals()[x]", "target → globals(): a name computed at run time"),
    "import_module": (
        "import importlib\ndef target(x): return importlib.import_module(x)",
        "target → importlib.import_module(): a name computed at run time",
    ),
    "computed name of a module of the user's": (
        "import tests.identity.pairs as p\ndef target(x): return getattr(p, 'lo' + x)",
        "target → getattr(p, …): a name computed at run time",
    ),
    "computed name of the own module": (
        "import sys\ndef target(x): return getattr(sys.modules['a'], 'f' + x)",
        "target → getattr(sys.modules, …): a name computed at run time",
    ),
    "generator": ("def g(): yield\nMADE = g()\ndef target(): return MADE", "target → MADE: generator"),
    "socket": ("import _io\nRAW = _io.FileIO('/dev/null')\ndef target(): return RAW", "target → RAW: FileIO"),
    "in a container": (
        "TABLE = {'log': [open('/dev/null')]}\ndef target(): return TABLE",
        "target → TABLE['log'][0]: TextIOWrapper",
    ),
    "in a default": ("def target(out=open('/dev/null')): pass", "target(out): TextIOWrapper"),
    "in a closure": (
        "def make():\n    out = open('/dev/null')\n    return lambda: out\ntarget = make()",
        "make.<locals>.<lambda> → out: TextIOWrapper",
    ),
}


@pytest.mark.parametrize("name", OPAQUE)
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_path(name: str) -> None:
    text, path = OPAQUE[name]
    assert path in fingerprint(load(text), strict=False).opaque


KNOWN = {
    "getattr with a constant": "import json\ndef target(x): return getattr(json, 'dumps')(x)",
    "getattr of a parameter": "def target(x, name): return getattr(x, name)",
    "getattr of a foreign module": "import json\ndef target(name): return getattr(json, name)",
    "printing": "import sys\ndef target(x): print(x, file=sys.stderr)",
    "environment": "import os\ndef target(x): return os.environ.get('HOME')",
    "logging": "import logging\nLOG = logging.getLogger('x')\ndef target(x): LOG.warning(x)",
    "lock": "import threading\nLOCK = threading.Lock()\ndef target():\n    with LOCK: pass",
    "random state": "import random\nRNG = random.Random(3)\ndef target(): return RNG.random()",
    "a module's functions that are methods": "from random import choice\ndef target(x): return choice(x)",
    "deque": "import collections\nQ = collections.deque([1, 2])\ndef target(): return Q",
    "counter": "import collections\nC = collections.Counter('aab')\ndef target(): return C",
}


@pytest.mark.parametrize("name", KNOWN)
def test_no_needless_report(name: str) -> None:
    assert fingerprint(load(KNOWN[name])).opaque == ()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("random.Random(3)", "random.Random(4)"),
        ("collections.deque([1, 2])", "collections.deque([2, 1])"),
        ("collections.Counter('aab')", "collections.Counter('abb')"),
    ],
)
def test_hidden_state_that_pickle_knows_counts(before: str, after: str) -> None:
    text = next(text for text in KNOWN.values() if before in text)
    assert Memo().digest(load(text)) == Memo().digest(load(text))
    assert Memo().digest(load(text)) != Memo().digest(load(text.replace(before, after)))


def test_hidden_state_that_changes_later_is_noticed() -> None:
    target = load(KNOWN["random state"])
    memo = Memo()
    before = memo.digest(target)
    assert memo.digest(target) == before
    target()
    assert memo.digest(target) not in (None, before)


def test_no_address_and_no_name_in_place_of_content() -> None:
    def text(state: int) -> str:
        body = f"def __init__(self): self.s = {state}\n    def __repr__(self): return 'C()'"
        return f"class C:\n    {body}\ntarget = [C(), C()]"

    assert Memo().digest(load(text(1))) == Memo().digest(load(text(1)))
    assert Memo().digest(load(text(1))) != Memo().digest(load(text(2)))


def test_identity_needs_no_torch() -> None:
    import subprocess

    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import passprint\n"
        "assert passprint.fingerprint(lambda: 1).digest\n"
        "assert 'typer' not in sys.modules and 'rich' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_an_object_with_a_lock_inside_is_known() -> None:
    class Holder:
        def __init__(self) -> None:
            self.lock: Any = threading.RLock()
            self.n = 1

    one, other = Holder(), Holder()
    assert Memo().digest(one) == Memo().digest(other) is not None
    other.n = 2
    assert Memo().digest(one) != Memo().digest(other)


class _Refuses:
    def __getstate__(self) -> object:
        raise RuntimeError("dictionary changed size during iteration")


def test_a_getstate_that_raises_is_a_named_path() -> None:
    refuses = _Refuses()

    def function() -> object:
        return refuses

    (path,) = fingerprint(function, strict=False).opaque
    assert path.endswith("_Refuses, whose __getstate__ raised RuntimeError")
    assert "refuses" in path


class _RefusesToBePickled(itertools.count):  # type: ignore[type-arg]
    """An object with state that Python cannot see, whose class has an exception of its own for saying so."""

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise pickle.PickleError("not this one")


def test_a_reduce_that_raises_is_a_named_path() -> None:
    """As torch's ScriptFunction does; found by the fuzz."""
    (path,) = fingerprint({"held": [_RefusesToBePickled(3)]}, strict=False).opaque
    assert path.endswith("_RefusesToBePickled")
