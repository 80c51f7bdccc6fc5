# ruff: noqa: E501  (the rows are programs)
"""What counts of classes and instances: each row must change the digest, or must not."""

from __future__ import annotations

from typing import Any

import pytest
from tests.identity.pairs import Pair, check, pair

from passprint import fingerprint

ROWS = [
    pair(
        "methods",
        "class target:\n    def a(self): return 1\n    def b(self): return 2",
        changed=(
            "class target:\n    def a(self): return 1\n    def b(self): return 3",
            "class target:\n    def a(self): return 1",
            "class target:\n    def a(self): return 1\n    def c(self): return 2",
            "class target:\n    def a(self): return 1\n    @staticmethod\n    def b(self): return 2",
            "class target:\n    def a(self): return 1\n    @classmethod\n    def b(self): return 2",
            "class target:\n    def a(self): return 1\n    @property\n    def b(self): return 2",
            "class other:\n    def a(self): return 1\n    def b(self): return 2\ntarget = other",
        ),
        same=(
            "class target:\n    'doc'\n\n    def b(self): return 2\n    def a(self):\n        'doc'\n        return 1",
            "def unused(): pass\nclass target:\n    def a(self): return 1\n    # c\n    def b(self): return 2",
        ),
    ),
    pair(
        "bases",
        "class A:\n    def m(self): return 1\nclass B(A): pass\nclass target(B): pass",
        changed=(
            "class A:\n    def m(self): return 2\nclass B(A): pass\nclass target(B): pass",
            "class A:\n    def m(self): return 1\nclass B: pass\nclass target(B): pass",
            "class A:\n    def m(self): return 1\nclass B(A): x = 1\nclass target(B): pass",
            "class A:\n    def m(self): return 1\nclass B(A): pass\nclass target(dict, B): pass",
        ),
        same=(
            "'doc'\nclass A:\n    'doc'\n    def m(self): return 1\nclass B(A): 'doc'\nclass target(B): ...",
        ),
    ),
    pair(
        "metaclass",
        "class M(type):\n    def k(cls): return 1\nclass target(metaclass=M): pass",
        changed=(
            "class M(type):\n    def k(cls): return 2\nclass target(metaclass=M): pass",
            "class target: pass",
        ),
        same=("class M(type):\n    def k(cls):\n        return 1\nclass target(metaclass=M):\n    pass",),
    ),
    pair(
        "attributes and slots",
        "class target:\n    __slots__ = ('a', 'b')\n    limit = 1",
        changed=(
            "class target:\n    __slots__ = ('a', 'c')\n    limit = 1",
            "class target:\n    limit = 1",
            "class target:\n    __slots__ = ('a', 'b')\n    limit = 2",
        ),
        same=("class target:\n    limit = 1\n    __slots__ = ('a', 'b')",),
    ),
    pair(
        "property and cached property",
        "import functools\nclass target:\n    @property\n    def p(self): return 1\n    @functools.cached_property\n    def q(self): return 2",
        changed=(
            "import functools\nclass target:\n    @property\n    def p(self): return 3\n    @functools.cached_property\n    def q(self): return 2",
            "import functools\nclass target:\n    @property\n    def p(self): return 1\n    @functools.cached_property\n    def q(self): return 3",
        ),
        same=(
            "import functools\nclass target:\n    @property\n    def p(self):\n        'd'\n        return 1\n    @functools.cached_property\n    def q(self): return 2\ntarget().q",
        ),
    ),
    pair(
        "descriptor",
        "class D:\n    def __init__(self, n): self.n = n\n    def __get__(self, o, t): return self.n\nclass target:\n    d = D(1)",
        changed=(
            "class D:\n    def __init__(self, n): self.n = n\n    def __get__(self, o, t): return self.n\nclass target:\n    d = D(2)",
            "class D:\n    def __init__(self, n): self.n = n\n    def __get__(self, o, t): return -self.n\nclass target:\n    d = D(1)",
        ),
        same=(
            "class D:\n    def __get__(self, o, t): return self.n\n    def __init__(self, n): self.n = n\nclass target:\n    d = D(1)",
        ),
    ),
    pair(
        "partialmethod and singledispatchmethod",
        "import functools\nclass target:\n    def m(self, a): return a\n    p = functools.partialmethod(m, 1)\n    @functools.singledispatchmethod\n    def s(self, x): return 1",
        changed=(
            "import functools\nclass target:\n    def m(self, a): return a\n    p = functools.partialmethod(m, 2)\n    @functools.singledispatchmethod\n    def s(self, x): return 1",
            "import functools\nclass target:\n    def m(self, a): return a\n    p = functools.partialmethod(m, 1)\n    @functools.singledispatchmethod\n    def s(self, x): return 2",
        ),
        same=(
            "import functools\nclass target:\n    @functools.singledispatchmethod\n    def s(self, x): return 1\n    def m(self, a): return a\n    p = functools.partialmethod(m, 1)",
        ),
    ),
    pair(
        "enum",
        "import enum\nclass target(enum.Enum):\n    A = 1\n    B = 2\n    def m(self): return 1",
        changed=(
            "import enum\nclass target(enum.Enum):\n    A = 1\n    B = 3\n    def m(self): return 1",
            "import enum\nclass target(enum.Enum):\n    B = 2\n    A = 1\n    def m(self): return 1",
            "import enum\nclass target(enum.Enum):\n    A = 1\n    B = 2\n    def m(self): return 2",
            "import enum\nclass target(enum.Enum):\n    A = 1\n    C = 2\n    def m(self): return 1",
            "import enum\nclass target(enum.IntEnum):\n    A = 1\n    B = 2\n    def m(self): return 1",
        ),
        same=(
            "import enum\nclass target(enum.Enum):\n    'doc'\n    def m(self): return 1\n    A = 1\n    B = 2\nhash(target.A), target(1)",
        ),
    ),
    pair(
        "enum member",
        "import enum\nclass E(enum.Enum):\n    A = 1\n    B = 2\ntarget = E.A",
        changed=(
            "import enum\nclass E(enum.Enum):\n    A = 1\n    B = 2\ntarget = E.B",
            "import enum\nclass E(enum.Enum):\n    A = 1\n    B = 3\ntarget = E.A",
            "target = 1",
        ),
        same=("import enum\nclass E(enum.Enum):\n    A = 1\n    B = 2\ntarget = E(1)",),
    ),
    pair(
        "dataclass",
        "import dataclasses\n@dataclasses.dataclass(frozen=True)\nclass target:\n    a: int = 1\n    b: str = 'x'",
        changed=(
            "import dataclasses\n@dataclasses.dataclass(frozen=True)\nclass target:\n    a: int = 2\n    b: str = 'x'",
            "import dataclasses\n@dataclasses.dataclass(frozen=True)\nclass target:\n    b: str = 'x'\n    a: int = 1",
            "import dataclasses\n@dataclasses.dataclass\nclass target:\n    a: int = 1\n    b: str = 'x'",
            "import dataclasses\n@dataclasses.dataclass(frozen=True, order=True)\nclass target:\n    a: int = 1\n    b: str = 'x'",
            "import dataclasses\n@dataclasses.dataclass(frozen=True)\nclass target:\n    a: float = 1\n    b: str = 'x'",
            "import dataclasses\n@dataclasses.dataclass(frozen=True)\nclass target:\n    a: int = 1\n    b: str = dataclasses.field(default='x', compare=False)",
            "import dataclasses\n@dataclasses.dataclass(frozen=True)\nclass target:\n    a: int = 1\n    b: str = dataclasses.field(default_factory=str)",
        ),
        same=(
            "import dataclasses as d\n@d.dataclass(frozen=True)\nclass target:\n    'doc'\n    a: int = 1\n    b: str = d.field(default='x')\nrepr(target()), target() == target()",
        ),
    ),
    pair(
        "dataclass method defaults replaced",
        "import dataclasses\n@dataclasses.dataclass\nclass target:\n    a: int = 1",
        changed=(
            "import dataclasses\n@dataclasses.dataclass\nclass target:\n    a: int = 1\ntarget.__init__.__defaults__ = (5,)",
            "import dataclasses\n@dataclasses.dataclass\nclass target:\n    a: int = 1\ntarget.__eq__ = lambda a, b: True",
        ),
        same=("import dataclasses\n@dataclasses.dataclass()\nclass target:\n    a: int = 1",),
    ),
    pair(
        "instance state",
        "class C:\n    def __init__(self, **k): self.__dict__.update(k)\ntarget = C(a=1, b=[2])",
        changed=(
            "class C:\n    def __init__(self, **k): self.__dict__.update(k)\ntarget = C(a=1, b=[3])",
            "class C:\n    def __init__(self, **k): self.__dict__.update(k)\ntarget = C(a=1, c=[2])",
            "class C:\n    def __init__(self, **k): self.__dict__.update(k)\n    x = 1\ntarget = C(a=1, b=[2])",
        ),
        same=("class C:\n    def __init__(self, **k): self.__dict__.update(k)\ntarget = C(b=[2], a=1)",),
    ),
    pair(
        "slots state",
        "class C:\n    __slots__ = ('a', '__b')\n    def __init__(self, a, b): self.a = a; self.__b = b\ntarget = C(1, 2)",
        changed=(
            "class C:\n    __slots__ = ('a', '__b')\n    def __init__(self, a, b): self.a = a; self.__b = b\ntarget = C(2, 2)",
            "class C:\n    __slots__ = ('a', '__b')\n    def __init__(self, a, b): self.a = a; self.__b = b\ntarget = C(1, 3)",
        ),
        same=(
            "class C:\n    def __init__(self, a, b): self.a = a; self.__b = b\n    __slots__ = ('a', '__b')\ntarget = C(1, 2)",
        ),
    ),
    pair(
        "getstate",
        "class C:\n    def __init__(self, n): self.n, self.cache = n, object()\n    def __getstate__(self): return {'n': self.n}\ntarget = C(1)",
        changed=(
            "class C:\n    def __init__(self, n): self.n, self.cache = n, object()\n    def __getstate__(self): return {'n': self.n}\ntarget = C(2)",
        ),
        same=(
            "class C:\n    def __init__(self, n): self.n, self.cache = n, object()\n    def __getstate__(self): return {'n': self.n}\ntarget = C(1)\ntarget.cache = 5",
        ),
    ),
    pair(
        "declared fingerprint",
        "class C:\n    def __init__(self, n): self.n, self.f = n, open('/dev/null')\n    def __fingerprint__(self): return self.n\ntarget = C(1)",
        changed=(
            "class C:\n    def __init__(self, n): self.n, self.f = n, open('/dev/null')\n    def __fingerprint__(self): return self.n\ntarget = C(2)",
        ),
        same=(
            "class C:\n    def __init__(self, n): self.n, self.f = n, open('/dev/null')\n    def __fingerprint__(self): return self.n\ntarget = C(1)\ntarget.z = 3",
        ),
    ),
    pair(
        "fields left out",
        "class C:\n    __fingerprint_ignore__ = ('log', 'show')\n    def __init__(self, n, log): self.n, self.log = n, log\n    def show(self): return 1\ntarget = C(1, 2)",
        changed=(
            "class C:\n    __fingerprint_ignore__ = ('log', 'show')\n    def __init__(self, n, log): self.n, self.log = n, log\n    def show(self): return 1\ntarget = C(2, 2)",
        ),
        same=(
            "class C:\n    __fingerprint_ignore__ = ('log', 'show')\n    def __init__(self, n, log): self.n, self.log = n, log\n    def show(self): return 2\ntarget = C(1, open('/dev/null'))",
        ),
    ),
    pair(
        "subclass of a builtin",
        "class L(list): pass\ntarget = L([1, {'a': 2}]); target.x = 1",
        changed=(
            "class L(list): pass\ntarget = L([1, {'a': 3}]); target.x = 1",
            "class L(list): pass\ntarget = L([1, {'a': 2}]); target.x = 2",
            "target = [1, {'a': 2}]",
        ),
        same=("class L(list): 'doc'\ntarget = L([1]); target.x = 1; target.append({'a': 2})",),
    ),
    pair(
        "named tuple",
        "import collections\nN = collections.namedtuple('N', 'a b')\ntarget = N(1, 2)",
        changed=(
            "import collections\nN = collections.namedtuple('N', 'a b')\ntarget = N(1, 3)",
            "import collections\nN = collections.namedtuple('N', 'a c')\ntarget = N(1, 2)",
            "target = (1, 2)",
        ),
        same=("from collections import namedtuple\nN = namedtuple('N', ['a', 'b'])\ntarget = N(b=2, a=1)",),
    ),
    pair(
        "generics",
        "import typing\nT = typing.TypeVar('T')\nclass target(typing.Generic[T]):\n    items = list[int]\n    x = typing.Optional[str]",
        changed=(
            "import typing\nT = typing.TypeVar('T')\nclass target(typing.Generic[T]):\n    items = list[str]\n    x = typing.Optional[str]",
            "import typing\nT = typing.TypeVar('T')\nclass target(typing.Generic[T]):\n    items = list[int]\n    x = typing.Optional[bytes]",
        ),
        same=(
            "import typing\nT = typing.TypeVar('T')\nclass target(typing.Generic[T]):\n    x = typing.Union[str, None]\n    items = list[int]",
        ),
    ),
    pair(
        "class that names itself",
        "class target:\n    def copy(self): return target()\n    def up(self): return super().__repr__()",
        changed=(
            "class target:\n    def copy(self): return target\n    def up(self): return super().__repr__()",
        ),
        same=(
            "class target:\n    def up(self): return super().__repr__()\n    def copy(self): return target()",
        ),
    ),
    pair(
        "class of which an object was copied",
        "class target:\n    x = 1",
        changed=("class target:\n    x = 2",),
        same=("import copy\nclass target:\n    x = 1\ncopy.copy(target())",),
    ),
    pair(
        "container that holds itself",
        "target = [1]; target.append(target)",
        changed=(
            "target = [2]; target.append(target)",
            "target = [1]; target.append([target])",
            "target = [1, [1]]",
        ),
        same=("target = [1, None]; target[1] = target",),
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_pair(row: Pair) -> None:
    check(row)


class _AnswersNothing:
    """As ``torch.fx``'s stand-in for a namespace: whatever it is asked for that it has not, it raises."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __getattr__(self, name: str) -> object:
        raise RuntimeError(f"asked for {name}")


class _AnswersNothingInSlots:
    __slots__ = ("empty", "size")
    __init__ = _AnswersNothing.__init__
    __getattr__ = _AnswersNothing.__getattr__


@pytest.mark.parametrize("kind", [_AnswersNothing, _AnswersNothingInSlots])
def test_an_instance_is_not_asked_for_what_it_has_not(kind: Any) -> None:
    assert fingerprint(kind(1)).digest == fingerprint(kind(1)).digest
    assert fingerprint(kind(1)).digest != fingerprint(kind(2)).digest


@pytest.mark.parametrize("module", ["abc", "collections.abc", "json.decoder"])
def test_a_class_that_only_says_that_it_is_from_a_library_counts_by_content(module: str) -> None:
    def made(result: int) -> type:
        namespace: dict[str, Any] = {"__module__": module}
        exec(f"def __call__(self, graph): return {result}", namespace)
        return type("Made", (), namespace)

    assert fingerprint(made(1)).digest == fingerprint(made(1)).digest
    assert fingerprint(made(1)).digest != fingerprint(made(2)).digest
