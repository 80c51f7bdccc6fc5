"""hash_source and hash_dict: vLLM's digests, and a memo that keeps nothing alive."""

from __future__ import annotations

import dataclasses
import gc
import hashlib
import inspect
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from passprint.passes import InductorPass
from passprint.passes.sources import SourceMemo, hash_dict, hash_source, make_hash_source


def helper(x: int) -> int:
    return x + 1


class Plain:
    def method(self) -> int:
        return 1


class Unhashable:
    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return True


class EqualToAll:
    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 7


class AlsoEqualToAll(EqualToAll):
    pass


class NoWeakReference:
    __slots__ = ()


@dataclasses.dataclass(frozen=True)
class Options:
    size: int = 1


def expected(*texts: str) -> str:
    return hashlib.sha256("".join(texts).encode("utf-8")).hexdigest()


CASES: list[tuple[tuple[Any, ...], tuple[Any, ...]]] = [
    ((), ()),
    (("some text",), ("some text",)),
    (("ab", "c"), ("a", "bc")),
    ((helper,), (inspect.getsource(helper),)),
    ((Plain,), (inspect.getsource(Plain),)),
    ((Plain(),), (inspect.getsource(Plain),)),
    (("x", helper, Plain), ("x", inspect.getsource(helper), inspect.getsource(Plain))),
    ((Options(), helper), (inspect.getsource(Options), inspect.getsource(helper))),
    ((helper, Unhashable()), (inspect.getsource(helper), inspect.getsource(Unhashable))),
    ((Unhashable(), "x"), (inspect.getsource(Unhashable), "x")),
    ((NoWeakReference(), helper), (inspect.getsource(NoWeakReference), inspect.getsource(helper))),
    ((helper, NoWeakReference()), (inspect.getsource(helper), inspect.getsource(NoWeakReference))),
]


@pytest.mark.parametrize(("srcs", "texts"), CASES)
def test_sources_are_hashed_one_after_another(srcs: tuple[Any, ...], texts: tuple[str, ...]) -> None:
    for _ in range(3):
        assert InductorPass.hash_source(*srcs) == expected(*texts)


def test_known_digests() -> None:
    # from sha256sum, so that the reference above is not all there is
    assert hash_source("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert hash_source("a", "bc") == hash_source("abc")
    assert hash_source("é") == hashlib.sha256(b"\xc3\xa9").hexdigest()


def test_a_dictionary_is_hashed_as_sorted_json() -> None:
    assert hash_dict({"b": 1, "a": [1, 2.5, None]}) == expected('{"a": [1, 2.5, null], "b": 1}')
    assert InductorPass.hash_dict({"a": 1, "b": 2}) == InductorPass.hash_dict({"b": 2, "a": 1})
    with pytest.raises(TypeError):
        hash_dict({"a": object()})


def test_things_without_source_say_so() -> None:
    with pytest.raises(TypeError):
        hash_source(3)
    scope: dict[str, Any] = {}
    exec("def made(): pass", scope)
    with pytest.raises(OSError, match="source"):
        hash_source(scope["made"])


def fresh() -> tuple[SourceMemo, Callable[..., str]]:
    memo = SourceMemo()
    return memo, make_hash_source(memo)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What inspect.getsource was asked for."""
    asked: list[Any] = []
    original = inspect.getsource

    def recorded(obj: Any) -> str:
        asked.append(obj)
        return original(obj)

    monkeypatch.setattr(inspect, "getsource", recorded)
    return asked


def test_no_source_is_read_twice(reads: list[Any]) -> None:
    _, hash_it = fresh()
    instance = Plain()
    combinations: list[tuple[Any, ...]] = [
        (helper,),
        (helper, Plain),
        (Plain, helper),
        ("text", instance),
        (instance, "text"),
        (Options(), helper),
    ]
    for _ in range(2):
        for srcs in combinations:
            hash_it(*srcs)
    assert sorted(map(repr, reads)) == sorted(map(repr, [helper, Plain, Options]))


def test_a_remembered_combination_reads_and_hashes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    memo, hash_it = fresh()
    srcs = (Options(), helper, "text", Plain)
    digest = hash_it(*srcs)
    monkeypatch.setattr(memo, "digest", None)  # the slow path is gone
    assert hash_it(*srcs) == digest
    with pytest.raises(TypeError):
        hash_it(helper, *srcs)


@pytest.mark.parametrize("position", [0, 1])
def test_equal_objects_of_two_classes_are_told_apart(position: int) -> None:
    _, hash_it = fresh()
    for _ in range(2):
        for kind in (EqualToAll, AlsoEqualToAll):
            srcs = (kind(), helper) if position == 0 else (helper, kind())
            texts = [inspect.getsource(kind), inspect.getsource(helper)]
            assert hash_it(*srcs) == expected(*(texts if position == 0 else texts[::-1]))


def make_function() -> Callable[[], int]:
    def made() -> int:
        return 1

    return made


@pytest.mark.parametrize("position", [0, 1, 2])
def test_functions_die_at_once_and_leave_nothing(position: int) -> None:
    memo, hash_it = fresh()
    kept: list[Any] = [helper, "text", Plain]
    hash_it(*kept)
    size = len(memo)
    made = make_function()
    gone = weakref.ref(made)
    srcs = [*kept]
    srcs[position] = made
    hash_it(*srcs)
    assert len(memo) > size
    del made, srcs
    assert gone() is None
    # what is left may only be about what still lives: its sources, and nothing keyed by the dead
    hash_it(*kept)
    assert all(len(tails) <= 1 for tails in memo.heads.values())
    assert len(memo) <= size + 1


def test_classes_and_instances_made_in_a_loop_leak_nothing() -> None:
    memo, hash_it = fresh()

    def make_class() -> type:
        class Made:
            pass

        return Made

    for _ in range(50):
        kind = make_class()
        hash_it(kind, helper)
        hash_it(kind(), kind)
        hash_it(helper, kind())
    del kind
    gc.collect()
    assert set(memo.heads) <= {id(helper)}
    assert len(memo) <= 2


def test_an_id_used_again_is_not_mistaken() -> None:
    _, hash_it = fresh()
    seen = set()
    for _ in range(100):
        for kind in (Plain, Options):
            assert hash_it(kind()) == expected(inspect.getsource(kind))
        text = "".join(["t", str(len(seen))])
        seen.add(hash_it(text))
    assert len(seen) == 100


def test_all_tables_are_bounded() -> None:
    memo = SourceMemo(heads=4, tails=3, sources=2)
    hash_it = make_hash_source(memo)
    functions = [make_function() for _ in range(10)]
    for function in functions:
        for text in "abcdef":
            hash_it(function, text)
    assert len(memo.heads) == 4
    assert all(len(tails) == 3 for tails in memo.heads.values())
    assert len(memo) == 4 * 3 + 2
    assert hash_it(functions[0], "a") == expected(inspect.getsource(functions[0]), "a")


def test_the_drop_in_stays_usable_as_a_uuid() -> None:
    class Legacy(InductorPass):
        def __call__(self, graph: Any) -> None:
            return None

        def uuid(self) -> str:
            return InductorPass.hash_source(self, helper)

    texts = inspect.getsource(Legacy), inspect.getsource(helper)
    assert Legacy().uuid() == Legacy().uuid() == expected(*texts)
