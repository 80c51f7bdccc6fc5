"""The walk in C and the walk in Python give the same nodes, the same rows and the same digests."""

from __future__ import annotations

import abc
import enum
import functools
import hashlib
import importlib
import inspect
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import CodeType, FunctionType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from passprint.identity import bytecode, fast
from passprint.identity.components import settle_digests
from passprint.identity.known import Known
from passprint.identity.node import Component, Node
from passprint.identity.origin import Origins
from passprint.identity.slots import MAPPING, SAME
from passprint.identity.walk import Walk

pytestmark = pytest.mark.skipif(fast.Walker is Walk, reason="the C module was not built")

PACKAGES = ("argparse", "click.core", "jinja2.environment", "packaging.specifiers", "networkx.classes.graph")
TORCH = (
    "torch._inductor.pattern_matcher",
    "torch.fx.interpreter",
    "torch.fx.passes.shape_prop",
    "torch._inductor.custom_graph_pass",
)
ORIGINS = Origins(["argparse", "click", "jinja2", "packaging", "networkx.classes", "tests", *TORCH])


def _walked(kind: type[Walk], settle: Callable[[Node], None], obj: Any) -> tuple[Walk, Node, Known]:
    known = Known()
    walk = kind(ORIGINS, known, obj)
    root = walk.run(obj)
    settle(root)
    known.learn(walk)
    return walk, root, known


def _row(kind: str, row: tuple[Any, ...]) -> tuple[Any, ...]:
    """A row with objects by their ids, and what each walk makes anew by what it holds."""
    shown: list[Any] = [row[0]]
    parts = row[1:]
    if row[0] == SAME:  # what reads an object may be made anew
        parts = (row[1], *row[3:])
    elif row[0] == MAPPING and kind not in ("function", "class"):  # a copy may have been read
        parts = row[2:]
    for part in parts:
        if type(part) is list:
            shown.append(list(map(id, part)))
        elif part is row[-1] and type(part) is dict:
            shown.append([(id(key), id(value)) for key, value in part.items()])
        elif type(part) is tuple:
            shown.append(tuple(map(id, part)))
        else:
            shown.append(part if type(part) in (int, str, bytes) else id(part))
    return tuple(shown)


def _compare(obj: Any) -> int:
    """Walk an object both ways and compare all that the walks found. Gives the number of nodes."""
    _walked(Walk, settle_digests, obj)  # makes the dicts that functions and objects make when they are asked
    slow, slow_root, slow_known = _walked(Walk, settle_digests, obj)
    quick, quick_root, quick_known = _walked(fast.Walker, fast.settle, obj)
    assert slow_root.mark == quick_root.mark
    assert slow.is_opaque == quick.is_opaque
    assert slow.reaches_root == quick.reaches_root
    met: dict[int, Node] = {}
    parts: dict[int, Component] = {}
    todo = [(slow_root, quick_root)]
    while todo:
        one, other = todo.pop()
        if id(one) in met:
            assert met[id(one)] is other
            continue
        met[id(one)] = other
        assert (one.kind, one.name, one.head, one.mark, one.opaque, one.text, one.unordered) == (
            (other.kind, other.name, other.head, other.mark, other.opaque, other.text, other.unordered)
        )
        assert (one.is_kept, one.is_about_root, one.is_volatile) == (
            (other.is_kept, other.is_about_root, other.is_volatile)
        )
        if not one.is_volatile:  # what is computed is a new object in each walk
            assert [_row(one.kind, row) for row in one.rows] == [_row(one.kind, row) for row in other.rows]
        assert [edge[:2] for edge in one.edges] == [edge[:2] for edge in other.edges]
        for (_, _, child, _), (_, _, twin, _) in zip(one.edges, other.edges, strict=True):
            if isinstance(child, Node):
                assert isinstance(twin, Node)
                todo.append((child, twin))
            else:
                assert child == twin
        part, its_twin = one.component, other.component
        assert part is not None
        assert its_twin is not None
        assert parts.setdefault(id(part), its_twin) is its_twin
        assert (part.is_volatile, part.is_opaque, part.is_lasting, len(part.rows), len(part.children)) == (
            (
                its_twin.is_volatile,
                its_twin.is_opaque,
                its_twin.is_lasting,
                len(its_twin.rows),
                len(its_twin.children),
            )
        )
    kept = {id(met[id(node)]) for _, node in slow_known.nodes.values() if id(node) in met}
    assert kept == {id(node) for _, node in quick_known.nodes.values()}
    return len(met)


def _named(module: str) -> Iterator[Any]:
    for value in vars(pytest.importorskip(module)).values():
        if isinstance(value, (FunctionType, type)) and value.__module__ == module:
            yield value


@pytest.mark.parametrize("module", [*PACKAGES, *TORCH])
def test_installed_code(module: str) -> None:
    assert sum([_compare(value) for value in _named(module)]) > 5


LIMIT = 3
NAMES = ["a", "b"]


class Colour(enum.Enum):
    """An enum."""

    RED = 1
    BLUE = RED
    GREEN = "é\udc80"


@dataclass(frozen=True)
class Point:
    """A dataclass whose methods are generated."""

    x: int
    y: float = 0.5
    names: list[str] = field(default_factory=list)


class Base(type):
    """A metaclass."""


class Thing(metaclass=Base):
    """Most kinds of members."""

    __slots__ = ("value",)
    limit: int | None = LIMIT

    def __init__(
        self, value: Any = None, *more: dict[str, tuple[int, ...]], key: str = "k", **rest: Any
    ) -> None:
        self.value = (value, more, key, rest)

    def broken(self) -> Any:
        return missing_name  # type: ignore[name-defined]  # noqa: F821

    @property
    def doubled(self) -> Any:
        return self.value * 2

    @functools.cached_property
    def cached(self) -> int:
        return len(NAMES)

    @staticmethod
    def other(colour: Colour = Colour.RED) -> Thing:
        return Thing(colour)

    @classmethod
    def made(cls) -> list[Thing]:
        return [cls(value) for value in range(LIMIT)]


def ping(n: int) -> int:
    """One half of a cycle."""
    return pong(n - 1) if n else LIMIT


def pong(n: int) -> int:
    """The other."""
    return ping(n - 1) if n else importlib.import_module("json").loads("1")  # type: ignore[no-any-return]


def computed(text: str) -> Any:
    """Reaches what cannot be known."""
    return eval(text), getattr(inspect, text)


def _closure(start: int) -> Callable[[], int]:
    unfilled: int

    def count(by: int = LIMIT) -> int:
        nonlocal start
        start += by
        return start + len(count.__name__)

    def never() -> int:
        return unfilled

    count.never = never  # type: ignore[attr-defined]
    if start < 0:
        unfilled = 1
    return count


@functools.singledispatch
def dispatched(value: Any) -> int:
    """By type."""
    return 0


@dispatched.register
def _(value: int) -> int:
    return LIMIT


def _spaces() -> Iterator[Any]:
    scope: dict[str, Any] = {"__name__": "nowhere"}
    exec(
        "def f(a, b=1, *, c: 'x' = 2, **d) -> [int, (str, None)]:\n return a + g(b)\ndef g(x): return f",
        scope,
    )
    yield scope["f"]
    yield type("Made", (), {"f": scope["f"], "__module__": "nowhere", "size": 10**30})
    yield FunctionType(scope["f"].__code__, {})  # no module at all


@pytest.mark.parametrize(
    "obj",
    [
        *(Colour, Colour.GREEN, Point, Point(1), Base, Thing, Thing.doubled, Thing(2), Thing(2).made),
        *(ping, pong, computed, _closure(1), _closure(-1), dispatched, functools.partial(ping, n=2)),
        *(
            functools.lru_cache(ping),
            [NAMES, {"a": ping}],
            lambda x=(1, 2): x,
            importlib,
            NAMES,
            None,
            1.5,
            len,
        ),
        *_spaces(),
    ],
    ids=lambda obj: getattr(obj, "__name__", type(obj).__name__),
)
def test_every_kind(obj: Any) -> None:
    assert _compare(obj) >= 1


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.sampled_from([ping, Point]),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(), inner)
        | st.frozensets(st.text())
    ),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(default=VALUES, keyword=VALUES, held=VALUES, attribute=VALUES, name=st.text(min_size=1))
def test_values_in_functions(default: Any, keyword: Any, held: Any, attribute: Any, name: str) -> None:
    def function(a: Any = default, *, b: Any = keyword) -> Any:
        return a, b, held

    function.__name__ = function.__qualname__ = name
    function.__dict__[name] = attribute
    function.__annotations__["é"] = name
    _compare(function)


def test_an_earlier_answer_is_taken_over() -> None:
    slow, quick = Known(), Known()
    for known, kind, settle in ((slow, Walk, settle_digests), (quick, fast.Walker, fast.settle)):
        marks = []
        for obj in (pong, ping, Thing, ping):
            walk = kind(ORIGINS, known, obj)
            root = walk.run(obj)
            settle(root)
            known.learn(walk)
            marks.append(root.mark)
        assert marks[1] == marks[3]
    assert sorted(str(node.mark) for _, node in slow.nodes.values()) == sorted(
        str(node.mark) for _, node in quick.nodes.values()
    )


def _below(code: CodeType) -> Iterator[CodeType]:
    yield code
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from _below(const)


def _compare_facts(code: CodeType) -> None:
    from passprint.identity import _facts

    in_c, in_python = _facts.read_facts(code), bytecode.read_facts_in_python(code)
    for name in ("payload", "chains", "imports", "computed"):
        assert getattr(in_c, name) == getattr(in_python, name), (name, code)
    assert [type(one) for one in in_c.imports] == [type(one) for one in in_python.imports]


@pytest.mark.parametrize(
    "module",
    [*PACKAGES, *TORCH, "dataclasses", "inspect", "tarfile", "typing", "ast"],
)
def test_code(module: str) -> None:
    found = 0
    for value in _named(module):
        for one in (value, *vars(value).values()):
            if isinstance(one, FunctionType):
                for code in _below(one.__code__):
                    _compare_facts(code)
                    found += 1
    assert found > 5


IMPORTS = (
    "import a",
    "import a.b.c",
    "import a.b as c; c.d; c.e.f",
    "import a.b.c; a.b.c.d(); a.x",
    "from a import b, c as d; b.e; print(d)",
    "from . import a",
    "from ..a.b import c; c(); c.d",
    "import a; g = lambda: a.b",
    "import a; a = 2; del a",
    "import a.b; a; x, a = 1, 2; return a, x",
    "getattr(a.b, 'c')(1)",
    "getattr(a.b, 'c', None).d",
    "getattr(a, x); getattr(x, 'c'); getattr(a, 'b' + x)",
    "'doc'; return 'doc', None, 1",
    "'doc'",
    "return 1.5, -0.0, 1e400, 1e400 - 1e400, 2j, b'x', ..., 10**40, -(10**40), 2**31, -(2**31), -(2**31) - 1",
    "return x in {1, 2}, x in ('a', None, (1, 2.5, frozenset())), {'a': (1, {2})}",
    "return [y for y in x if z], {k: v for k, v in x}, (lambda q, *r, s=1, **t: (q, r, s, t, x))",
    "x.é = 'é\\udc80'; ω.б",
    "class A(B):\n  'doc'\n  def m(self): return __class__, x",
    "a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r.s.t",
)


@pytest.mark.parametrize("text", IMPORTS)
@pytest.mark.parametrize("doc", ["", "'a docstring'\n", "x, y\n"])
@pytest.mark.parametrize("head", ["def f(x=1, *, z=2):", "async def f(x, *y, **z):", "class f:"])
def test_written_code(text: str, doc: str, head: str) -> None:
    if "return" in text and head.startswith("class"):
        text = text.replace("return", "x =", 1) if text.startswith("return") else "pass"
    body = f"{doc}{text}".replace("\n", "\n  ")
    for code in _below(compile(f"{head}\n  {body}\n", "<text>", "exec")):
        _compare_facts(code)


def test_code_with_much_in_it() -> None:
    many = "\n".join([f" n{i}.a{i}; {i + 1000}; 't{i}'; import m{i}.s; v{i} = m{i}.s.q" for i in range(300)])
    for doc in ("", " 'doc'\n"):
        for code in _below(compile(f"def f(x):\n{doc}{many}\n return getattr(x, 'y')", "<text>", "exec")):
            _compare_facts(code)


def test_code_made_by_hand() -> None:
    class Text(str):
        """Not exactly text."""

    code = ping.__code__
    for made in (
        code.replace(co_name=Text("x")),
        code.replace(co_consts=(*code.co_consts, frozenset({1, "a"}), (1, float("nan")))),
        code.replace(co_names=(*code.co_names, "getattr")),
    ):
        _compare_facts(made)


def test_facts_are_remembered() -> None:
    facts = bytecode.code_facts(ping.__code__)
    assert bytecode.code_facts(ping.__code__) is facts
    bytecode.forget_facts()
    assert bytecode.code_facts(ping.__code__) is not facts


def test_what_c_is_given_is_checked() -> None:
    from passprint.identity import _walk

    for wrong in (
        lambda: _walk.child(1),
        lambda: _walk.child(1, 2),
        lambda: _walk.expand_all(1),
        lambda: _walk.settle(1),
        lambda: _walk.learn(1, 2, 3),
    ):  # type: ignore
        with pytest.raises(TypeError):
            wrong()
    with pytest.raises(KeyError):
        _walk.setup({})
    assert _compare(ping) > 2  # what was set up stands


@settings(deadline=None)
@given(st.binary(max_size=300), st.binary(max_size=1000), st.integers(0, 3))
def test_the_hash_is_that_of_hashlib(before: bytes, data: bytes, times: int) -> None:
    mark = importlib.import_module("passprint.identity._walk").mark
    for data in (data, data * times, data[:128], bytes(128 * times)):  # noqa: B020  (about a block's length as well)
        assert mark(before, data) == b"@" + hashlib.blake2b(before + data, digest_size=32).digest()


def test_the_hash_takes_bytes() -> None:
    mark = importlib.import_module("passprint.identity._walk").mark
    with pytest.raises(TypeError, match="bytes twice"):
        mark("text", b"")
    with pytest.raises(TypeError, match="2 arguments"):
        mark(b"")


class _Meta(type):
    def __getattr__(cls, name: str) -> Any:
        if name == "__args__":
            return (int,)
        raise AttributeError(name)


class _Generic(metaclass=_Meta):
    """A class that makes its arguments when it is asked for them."""


HINTS = [
    typing.Any,
    typing.Union,
    typing.Optional,
    typing.Union[int, typing.Optional[str]],  # noqa: UP007, UP045
    typing.Literal["a", 1],
    typing.ClassVar[int],
    typing.Callable[[int], str],
    typing.Callable[..., None],
    typing.TypeVar("T"),
    typing.NewType("New", int),
    typing.ForwardRef("Name"),
    typing.Annotated[int, 3],
    abc.ABC,
    enum.Enum,
    list[dict[str, int]],
    int | None,
    type,
    type[int],
    [int, str],
    3,
    _Generic,
    list[_Generic],
]


@pytest.mark.parametrize("hint", HINTS, ids=str)
def test_hints_are_written_alike(hint: Any) -> None:
    def target(value: Any) -> None:
        """A hint is put in."""

    target.__annotations__ = {"value": hint, "again": hint}
    _compare(target)
