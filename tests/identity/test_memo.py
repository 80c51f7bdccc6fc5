"""The memo answers again after comparing what it read, and notices each sort of change."""

from __future__ import annotations

import dataclasses
import gc
import importlib
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

from passprint.identity import Memo, code_kinds, engine, guards, known
from passprint.identity.walk import Walk

TEXT = """
import collections, dataclasses, functools, os
FLAG = 1
ZERO = 0.0
TABLE = {"eps": 1}
PAIRS = {"a": 1, "b": 2}
ITEMS = [1, 2]
SEEN = {1, 2}
COUNTS = collections.defaultdict(int, a=1)
class Meta(type): pass
class OtherMeta(type): pass
class Odd(metaclass=Meta): pass
NESTED = ([1], {"k": [2]})

class Config:
    def __init__(self): self.level = 1
CONFIG = Config()

class Slotted:
    __slots__ = ("size",)
    def __init__(self): self.size = 3
SLOTTED = Slotted()

def deepest(x: "float", y=1, *, z=2): return x
def make(n):
    def inner(): return n
    def change(m):
        nonlocal n
        n = m
    return inner, change
inner, change = make(1)
bound = functools.partial(deepest, 5)
def hinted(x): return x
hinted.__annotations__ = {"x": "float"}
def helper(x):
    return deepest(x), FLAG, ZERO, TABLE, PAIRS, ITEMS, SEEN, NESTED, CONFIG, SLOTTED, inner, bound, len(x), os.path, (
        COUNTS, Odd, hinted)
class Root:
    def method(self): return 1
class Base(Root):
    limit = 1
    def inherited(self): return 2
    @property
    def size(self): return 3
    @staticmethod
    def fixed(): return 4
@dataclasses.dataclass(frozen=True)
class Pass(Base):
    eps: float = 1e-5
    names: list = dataclasses.field(default_factory=lambda: ["a"])
    def __call__(self, graph): return helper(graph)
target = Pass()
"""


@pytest.fixture(params=["as built", "in Python"])
def check(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check in C where it was built, and the one in Python."""
    if request.param == "in Python":
        monkeypatch.setattr(engine, "build_check", guards.build_check_in_python)
        monkeypatch.setattr(known, "rows_hold", guards.rows_hold_in_python)


def _module() -> Any:
    module = ModuleType("memo_subject")
    exec(compile(TEXT, "<memo>", "exec", dont_inherit=True), vars(module))
    return module


def _replaced(m: Any) -> None:
    def deepest(x: Any, y: int = 1, *, z: int = 2) -> Any:
        return -x

    m.deepest.__code__ = deepest.__code__


CHANGES = {
    "a global is bound to another object": lambda m: setattr(m, "FLAG", 2),
    "a global is bound to an equal object of another type": lambda m: setattr(m, "FLAG", True),
    "a global is bound to the other zero": lambda m: setattr(m, "ZERO", -0.0),
    "a function is replaced": lambda m: setattr(m, "helper", lambda x: x),
    "a function that a helper calls is replaced": lambda m: setattr(m, "deepest", len),
    "a function's code is assigned": _replaced,
    "defaults are assigned": lambda m: setattr(m.deepest, "__defaults__", (7,)),
    "defaults are assigned equal ones of another type": lambda m: setattr(m.deepest, "__defaults__", (True,)),
    "defaults are removed": lambda m: setattr(m.deepest, "__defaults__", None),
    "keyword defaults are assigned": lambda m: setattr(m.deepest, "__kwdefaults__", {"z": 3}),
    "keyword defaults are mutated": lambda m: m.deepest.__kwdefaults__.update(z=True),
    "a function gets an attribute": lambda m: setattr(m.deepest, "mark", 1),
    "a closure's variable is rebound": lambda m: m.change(5),
    "a closure's variable is rebound to an equal object": lambda m: m.change(True),
    "a builtin is shadowed": lambda m: setattr(m, "len", sum),
    "a method is patched": lambda m: setattr(m.Pass, "__call__", lambda self, g: 0),
    "a base's method is patched": lambda m: setattr(m.Base, "inherited", lambda self: 0),
    "a base's base's method is patched": lambda m: setattr(m.Root, "method", lambda self: 0),
    "a base gets a method": lambda m: setattr(m.Root, "extra", lambda self: 0),
    "a method is added that shadows a base's": lambda m: setattr(m.Pass, "inherited", lambda self: 9),
    "a base loses a method": lambda m: delattr(m.Base, "inherited"),
    "a class attribute is assigned": lambda m: setattr(m.Base, "limit", 2),
    "a class attribute is assigned an equal object": lambda m: setattr(m.Base, "limit", 1.0),
    "a property is replaced": lambda m: setattr(m.Base, "size", property(lambda self: 5)),
    "a static method is replaced": lambda m: setattr(m.Base, "fixed", staticmethod(lambda: 5)),
    "a class is renamed": lambda m: setattr(m.Pass, "__name__", "Renamed"),
    "a base is renamed": lambda m: setattr(m.Pass.__bases__[0], "__name__", "Renamed"),
    "bases are assigned": lambda m: setattr(m.Pass, "__bases__", (m.Root,)),
    "a list is appended to": lambda m: m.ITEMS.append(3),
    "an item of a list is assigned an equal object": lambda m: m.ITEMS.__setitem__(0, True),
    "a dict's value is assigned": lambda m: m.TABLE.update(eps=2),
    "a dict's value is assigned an equal object": lambda m: m.TABLE.update(eps=1.0),
    "a dict's order changes": lambda m: m.PAIRS.update(a=m.PAIRS.pop("a")),
    "hints are assigned": lambda m: setattr(m.deepest, "__annotations__", {"x": "int"}),
    "a hint is changed in place": lambda m: m.hinted.__annotations__.update(x="int"),
    "a dict gets a key": lambda m: m.TABLE.update(other=1),
    "a defaultdict gets a key": lambda m: m.COUNTS["b"],
    "a defaultdict's value is assigned an equal object": lambda m: m.COUNTS.update(a=True),
    "a class's metaclass is assigned": lambda m: setattr(m.Odd, "__class__", m.OtherMeta),
    "a class's metaclass is patched": lambda m: setattr(m.Meta, "__call__", lambda cls: None),
    "a set gets an item": lambda m: m.SEEN.add(3),
    "a list inside a tuple is mutated": lambda m: m.NESTED[0].append(2),
    "a list inside a dict inside a tuple is mutated": lambda m: m.NESTED[1]["k"].append(2),
    "an instance's attribute is assigned": lambda m: setattr(m.CONFIG, "level", 2),
    "an instance's class is assigned": lambda m: setattr(
        m.CONFIG, "__class__", type("Other", (m.Config,), {"x": 1})
    ),
    "a slot is assigned": lambda m: setattr(m.SLOTTED, "size", 4),
    "a slot is deleted": lambda m: delattr(m.SLOTTED, "size"),
    "the code of a method that dataclasses wrote is assigned": lambda m: setattr(
        m.Pass.__eq__, "__code__", (lambda self, other: True).__code__
    ),
    "a frozen field is forced": lambda m: object.__setattr__(m.target, "eps", 2e-5),
    "a field's list is mutated": lambda m: m.target.names.append("b"),
    "the object's own dict gets a key": lambda m: m.target.__dict__.update(extra=1),
}


@pytest.mark.usefixtures("check")
@pytest.mark.parametrize("what", CHANGES)
def test_a_change_is_noticed(what: str) -> None:
    module = _module()
    memo = Memo()
    before = memo.digest(module.target)
    assert memo.digest(module.target) == before
    assert memo.digests([module.target]) == memo.digests([module.target]) == (before,)
    CHANGES[what](module)
    after = memo.digest(module.target)
    assert after is not None
    assert after != before
    assert after == Memo().digest(module.target)
    assert memo.digests([module.target]) == (after,)


@pytest.mark.usefixtures("check")
def test_what_is_put_back_is_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dict or class that has changed and is as it was is compared again, not walked."""
    module = _module()
    memo = Memo()
    before = memo.digest(module.target)
    assert memo.digest(module.target) == before
    kept = module.FLAG, module.Root.method
    module.FLAG, module.Root.method = 2, len
    module.FLAG, module.Root.method = kept
    module.COUNTS["new"] = 1
    del module.COUNTS["new"]
    monkeypatch.setattr(engine, "Walker", None)  # walking would fail
    assert memo.digest(module.target) == before
    assert memo.digest(module.target) == before


@pytest.fixture
def named() -> Iterator[Any]:
    """The module as one that was imported: what it names is taken over by later walks."""
    module = _module()
    sys.modules[module.__name__] = module
    yield module
    del sys.modules[module.__name__]


@pytest.mark.usefixtures("check")
@pytest.mark.parametrize("what", CHANGES)
def test_a_change_in_what_another_walk_settled_is_noticed(what: str, named: Any) -> None:
    memo = Memo()
    memo.digest(named.Pass)
    memo.digest(named.helper)

    def user() -> Any:
        return named.Pass(), named.helper

    def other() -> Any:
        return named.Pass, named.helper, named.target

    assert memo.digest(user) == Memo().digest(user)
    CHANGES[what](named)
    assert memo.digest(other) == Memo().digest(other)
    assert memo.digest(user) == Memo().digest(user)
    assert memo.digest(named.target) == Memo().digest(named.target)


def test_what_was_settled_is_not_read_again(named: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    memo = Memo()
    memo.digest(named.Pass)
    read = []
    add_reached = code_kinds.add_reached

    def counting(walk: Any, node: Any, function: Any, facts: Any) -> None:
        read.append(function.__name__)
        add_reached(walk, node, function, facts)

    monkeypatch.setattr(engine, "Walker", Walk)  # the walk in Python, so that it can be watched
    monkeypatch.setattr(code_kinds, "add_reached", counting)
    before = memo.digest(named.target)
    assert read == []
    named.FLAG = 5
    assert memo.digest(named.target) != before
    assert "helper" in read
    assert "deepest" not in read


def test_settled_nodes_are_bounded(named: Any) -> None:
    few = known.Known(limit=6)
    seen = set()
    for obj in (
        named.target,
        named.deepest,
        named.helper,
        named.Root,
        named.Base,
        named.deepest,
        named.target,
    ):
        assert engine.walk_object(obj, Memo().origins, few)[1].digest == Memo().digest(obj)
        assert len(few) <= 6
        seen.add(len(few))
    assert max(seen) > 1


def test_what_does_not_count_keeps_the_answer() -> None:
    module = _module()
    memo = Memo()
    before = memo.digest(module.target)
    module.unrelated = 5
    module.helper.__doc__ = "doc"
    repr(module.target)
    module.target == module.Pass()  # noqa: B015  (generated code runs, which changes nothing)
    assert memo.digest(module.target) == before
    module.FLAG = 2
    assert memo.digest(module.target) != before
    module.FLAG = 1
    assert memo.digest(module.target) == before


def test_nothing_is_walked_again_while_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    module = _module()
    memo = Memo()
    before = memo.digest(module.target)

    def walked(*_: Any) -> Any:
        raise AssertionError("walked again")

    monkeypatch.setattr("passprint.identity.memo.walk_object", walked)
    assert memo.digest(module.target) == before
    module.FLAG = 3
    with pytest.raises(AssertionError, match="walked again"):
        memo.digest(module.target)


class Timed:
    """Writes down when it ran, as passes in vLLM do."""

    __fingerprint_ignore__ = ("started", "ended")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.started = 0.0


class TimedOtherwise(Timed):
    pass


@pytest.mark.parametrize(
    ("change", "is_walked"),
    [
        (lambda it: setattr(it, "started", 1.5), False),
        (lambda it: setattr(it, "ended", 2.5), False),
        (lambda it: delattr(it, "started"), False),
        (lambda it: setattr(it, "limit", 4), True),
        (lambda it: setattr(it, "more", 1), True),
        (lambda it: delattr(it, "limit"), True),
        (lambda it: setattr(it, "__class__", TimedOtherwise), True),
        (lambda it: setattr(it, "__dict__", {"limit": 3}), False),
        (lambda it: setattr(it, "__dict__", {"limit": 4, "started": 0.0}), True),
    ],
)
def test_what_is_ignored_can_be_written_without_another_walk(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[Any], None], is_walked: bool
) -> None:
    target, memo, walks = Timed(3), Memo(), []
    before = memo.digest(target)
    original = engine.walk_object

    def walked(*given: Any) -> Any:
        walks.append(given)
        return original(*given)

    monkeypatch.setattr("passprint.identity.memo.walk_object", walked)
    change(target)
    assert (memo.digest(target) == before) is not is_walked
    assert bool(walks) is is_walked


def test_members_of_a_group_are_each_checked() -> None:
    first, second = _module(), _module()
    memo = Memo()
    group = [first.target, second.target]
    before = memo.digests(group)
    assert memo.digests(group) == before
    second.TABLE["eps"] = 5
    after = memo.digests(group)
    assert after[0] == before[0]
    assert after[1] != before[1]


def test_an_opaque_object_is_none_until_it_is_known() -> None:
    module = _module()
    memo = Memo()
    with open(__file__) as file:
        module.CONFIG.handle = file
        assert memo.digest(module.target) is None
        assert memo.digest(module.target) is None
        del module.CONFIG.handle
    assert memo.digest(module.target) == Memo().digest(module.target) is not None


def _short_lived(number: int) -> Any:
    def function(x: int) -> int:
        return x + number

    return function


def _names_itself(number: int) -> Any:
    def function(x: int) -> int:
        return int(function(x - 1)) + number

    return function


@pytest.mark.parametrize(
    ("make", "count"),
    [
        (_short_lived, 5_000),
        (_names_itself, 2_000),
        pytest.param(_short_lived, 100_000, marks=pytest.mark.slow),
    ],
)
def test_short_lived_functions_leave_nothing_behind(make: Any, count: int) -> None:
    memo = Memo()

    def work(count: int) -> None:
        for number in range(count):
            function = make(number)
            memo.digest(function)

    work(500)
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    work(count)
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 200_000


def test_an_entry_goes_with_its_object_and_a_new_one_is_not_mistaken_for_it() -> None:
    memo = Memo()
    digests = set()
    for number in range(200):
        digests.add(memo.digest(_short_lived(number)))
    assert len(digests) == 200


def test_the_number_of_entries_is_bounded() -> None:
    memo = Memo(limit=8)
    kept = [_short_lived(number) for number in range(50)]
    first = [memo.digest(function) for function in kept]
    assert [memo.digest(function) for function in kept] == first
    assert len(memo._entries) <= 8


def test_threads_may_ask_at_once_while_another_changes_a_global() -> None:
    module = _module()
    memo = Memo()
    allowed = set()
    for flag in (1, 2):
        module.FLAG = flag
        allowed.add(Memo().digest(module.target))
    answers: list[Any] = []
    finished: list[bool] = []
    complete: list[bool] = []

    def ask() -> None:
        try:
            for _ in range(200):
                answers.append(memo.digest(module.target))
                answers.extend(memo.digests([module.target]))
            complete.append(True)
        finally:
            finished.append(True)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for turn in range(200):
        module.FLAG = 1 + turn % 2
    for thread in threads:
        thread.join()
    assert len(finished) == len(complete) == len(threads)
    assert set(answers) <= allowed
    module.FLAG = 1
    assert memo.digest(module.target) == Memo().digest(module.target)


def test_an_ordered_set_of_torchs_is_checked_by_pointer() -> None:
    ordered = importlib.import_module("torch.utils._ordered_set").OrderedSet

    class Holder:
        pass

    holder: Any = Holder()
    holder.names = ordered(["a", "b"])
    memo = Memo()
    before = memo.digest(holder)
    assert id(holder) in memo._entries  # what is walked each time has none
    assert memo.digest(holder) == before
    holder.names.add("c")
    assert memo.digest(holder) not in (None, before)
    holder.names = ordered(["b", "a"])
    assert memo.digest(holder) not in (None, before)


@dataclasses.dataclass(frozen=True, slots=True)
class _Frozen:
    n: int
    names: list[str]


def test_a_frozen_dataclass_with_slots_is_checked_by_pointer() -> None:
    value = _Frozen(1, ["a"])
    memo = Memo()

    def holder() -> _Frozen:
        return value

    before = memo.digest(holder)
    assert id(holder) in memo._entries
    assert memo.digest(holder) == before
    value.names.append("b")
    changed = memo.digest(holder)
    assert changed not in (None, before)
    object.__setattr__(value, "n", 2)
    assert memo.digest(holder) not in (None, before, changed)
