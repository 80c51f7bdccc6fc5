"""Why something was not found: the nearest entry, what differs, and the journal of misses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest

from passprint.cache import CacheWarning, LocalStore, Miss, NoStore, explain_miss, local, with_sources
from passprint.cache.miss import JOURNAL_BYTES, Journal, last_run
from passprint.identity import Change, Fingerprint, compose

GRAPH = "\n".join(f"v{number} = op{number}(v{number - 1})" for number in range(1, 40))


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "cache")


def function(path: Path, text: str) -> FunctionType:
    """The function ``run`` of a module that is written to ``path``."""
    path.write_text(text)
    namespace: dict[str, Any] = {"__name__": "written_for_a_test"}
    exec(compile(text, str(path), "exec"), namespace)
    found = namespace["run"]
    assert isinstance(found, FunctionType)
    return found


def key_of(
    graph: str = GRAPH, passes: Any = "none", cpu: tuple[str, ...] = ("avx2",), **more: Any
) -> Fingerprint:
    parts = {
        "graph": graph,
        "passes": passes,
        "torch": "2.13",
        "host": compose("host", {"cpu": dict.fromkeys(cpu, True)}),
    }
    return compose("piece", parts | more)


def put(store: LocalStore, key: Fingerprint, label: str = "layer") -> None:
    assert store.put(key, {"code": b"x"}, {"label": label})


def test_without_a_cache_nothing_is_said_of_entries() -> None:
    for store, reason in (
        (NoStore(), "caching is turned off"),
        (NoStore("no place for it"), "no place for it"),
    ):
        assert explain_miss(store, compose("piece", {"graph": "text"}), "layers.0").reason == reason


def test_nothing_is_stored_at_all(store: LocalStore) -> None:
    miss = explain_miss(store, key_of(), "layer")
    assert miss == Miss("piece", key_of().digest, "layer", "no entry at all: no piece like 'layer' is stored")


def test_an_entry_of_something_else_is_none_at_all(store: LocalStore) -> None:
    put(store, key_of("another graph"), "head")
    assert explain_miss(store, key_of(), "layer").reason.startswith("no entry at all")
    assert explain_miss(store, key_of(), "layer").nearest == ""


def test_the_same_graph_with_other_parts(store: LocalStore) -> None:
    put(store, key_of(passes="one", torch="2.12"))
    miss = explain_miss(store, key_of(passes="two"), "layer")
    assert miss.reason == "the same graph is stored, but not with the same passes, torch"
    assert str(miss).endswith(": passes: 'one' → 'two'; torch: '2.12' → '2.13'")
    assert miss.nearest == key_of(passes="one", torch="2.12").digest


def test_the_same_graph_is_nearer_than_more_equal_parts(store: LocalStore) -> None:
    put(store, key_of(passes="other", torch="2.12", host="other"))
    put(store, key_of(GRAPH.replace("op7", "op8")))
    assert "not with the same passes, torch, host" in explain_miss(store, key_of(), "layer").reason


def test_another_graph_of_the_same_name_with_the_lines_that_differ(store: LocalStore) -> None:
    older = key_of(GRAPH.replace("op7(", "other("), torch="2.12")
    put(store, with_sources(older, texts={"graph": GRAPH.replace("op7(", "other(")}))
    miss = explain_miss(store, with_sources(key_of(), texts={"graph": GRAPH}), "layer")
    assert miss.reason == "no entry has this graph; the nearest of 'layer' has another one"
    assert [change.path for change in miss.changes] == ["piece → graph"]
    assert "-v7 = other(v6)\n+v7 = op7(v6)" in (miss.changes[0].lines or "")
    assert explain_miss(store, key_of(), "head").reason.startswith("no entry at all")


def test_a_helper_that_was_edited_is_shown_by_line(store: LocalStore, tmp_path: Path) -> None:
    text = "def helper(x):\n    # scales\n    return x * 1.0\n\ndef run(x):\n    return helper(x)\n"
    one = function(tmp_path / "one.py", text)
    two = function(tmp_path / "two.py", text.replace("1.0", "-1.0"))
    put(store, with_sources(key_of(passes=one), [one]))
    miss = explain_miss(store, with_sources(key_of(passes=two), [two]), "layer")
    assert [change.path for change in miss.changes] == ["piece → passes → helper"]
    assert "-    return x * 1.0\n+    return x * -1.0" in (miss.changes[0].lines or "")
    assert str(miss).endswith("passes → helper: changed")


def test_a_function_that_is_a_part_itself_is_named_too(store: LocalStore, tmp_path: Path) -> None:
    text = "def helper(x):\n    return x\n\ndef run(x):\n    return helper(x)\n"
    one = function(tmp_path / "one.py", text)
    two = function(tmp_path / "two.py", text.replace("return helper(x)", "return helper(-x)"))
    changes = compose("code", {"m.run": two}).diff(compose("code", {"m.run": one}))
    assert [change.path for change in changes] == ["code → m.run"]


def test_sources_leave_the_digest_and_are_stored_once(store: LocalStore, tmp_path: Path) -> None:
    one = function(tmp_path / "one.py", "def run(x):\n    return x\n")
    passes = compose("pipeline", {"0 run": one})
    keys = [with_sources(key_of(f"graph {n}", passes), [one], {"graph": f"graph {n}"}) for n in range(3)]
    assert keys[0].digest == key_of("graph 0", passes).digest
    assert len(keys[0].sources) == 2
    for key in keys:
        put(store, key)
    assert store.stats().objects == 3 + 1 + 1  # trees, the sources, the file
    with store.get(keys[1].digest) or pytest.fail("not stored") as entry:
        assert entry.key == keys[1]
        assert entry.key.sources == keys[1].sources


@pytest.mark.parametrize(
    ("built", "here", "said"),
    [
        (
            ("avx2", "avx512_f", "avx512_bw"),
            ("avx2",),
            "built for avx512_f, avx512_bw, which this host lacks",
        ),
        (("avx2",), ("avx2", "avx512_f"), "this host has avx512_f, which it was built without"),
    ],
)
def test_another_host(store: LocalStore, built: tuple[str, ...], here: tuple[str, ...], said: str) -> None:
    put(store, key_of(cpu=built))
    miss = explain_miss(store, key_of(cpu=here), "layer")
    assert str(miss) == f"the same graph is stored, but for another host: {said}"
    assert len(miss.changes) == len(set(built) ^ set(here))


def test_only_the_most_recently_used_are_compared(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, key_of(passes="near"))
    put(store, key_of("another graph"))
    near = key_of(passes="near").digest
    assert explain_miss(store, key_of(), "layer").nearest == near
    os.utime(store.root / "entries" / near[:2] / near, (1e9, 1e9))
    monkeypatch.setattr(local, "COMPARED", 1)
    assert explain_miss(store, key_of(), "layer").nearest == key_of("another graph").digest


def test_what_others_stored_or_replaced_meanwhile_is_seen(store: LocalStore) -> None:
    other = LocalStore(store.root)
    assert store.nearest(key_of()) is None
    put(other, key_of("another graph"), "old name")
    assert store.nearest(key_of(), "old name") is not None
    put(other, key_of("another graph"), "a new name")
    assert store.nearest(key_of(), "old name") is None
    assert store.nearest(key_of(), "a new name") is not None
    other.clear()
    assert store.nearest(key_of(), "a new name") is None


def test_having_no_compiler_is_not_the_reason(store: LocalStore) -> None:
    put(store, key_of(passes="one", **{"c++ compiler": "g++ 12"}))
    miss = explain_miss(store, key_of(passes="two", **{"c++ compiler": "no compiler"}), "layer")
    assert str(miss) == "the same graph is stored, but not with the same passes: passes: 'one' → 'two'"
    miss = explain_miss(store, key_of(passes="two", **{"c++ compiler": "g++ 13"}), "layer")
    assert miss.reason.endswith("not with the same passes, c++ compiler")


def test_the_entry_itself_is_not_what_it_is_compared_with(store: LocalStore) -> None:
    put(store, key_of())
    assert explain_miss(store, key_of(), "layer").reason.startswith("no entry at all")
    put(store, key_of(passes="other"))
    assert explain_miss(store, key_of(), "layer").nearest == key_of(passes="other").digest


def test_an_entry_that_cannot_be_used_is_the_reason(store: LocalStore) -> None:
    for harm, said in (
        (lambda data: data[:-1], "damaged entry"),
        (_newer, "the entry has the unknown format 999"),
    ):
        put(store, key_of())
        record = store.root / "entries" / key_of().digest[:2] / key_of().digest
        record.write_bytes(harm(record.read_bytes()))
        mine = LocalStore(store.root)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CacheWarning)
            assert mine.get(key_of().digest) is None
        assert explain_miss(mine, key_of(), "layer").reason == f"it was stored, but could not be used: {said}"


def _newer(data: bytes) -> bytes:
    magic, _, rest = data.split(b" ", 2)
    return b"%b 999 %b" % (magic, rest)


def test_a_part_can_be_left_out_of_account(store: LocalStore) -> None:
    put(store, key_of(compiler="g++ 12"))
    put(store, key_of(compiler="g++ 13", passes="other"))
    with store.get_but_for(key_of(compiler="none"), {"compiler"}) or pytest.fail("not found") as entry:
        assert entry.digest == key_of(compiler="g++ 12").digest
    assert store.get_but_for(key_of(compiler="none", torch="2.12"), {"compiler"}) is None
    assert store.get_but_for(key_of(compiler="none"), {"torch"}) is None
    put(store, key_of(compiler="none"))
    with store.get_but_for(key_of(compiler="none"), {"compiler"}) or pytest.fail("not found") as entry:
        assert entry.digest == key_of(compiler="none").digest
    counts = store.stats().counts
    assert counts["hit"] == {"without regard to compiler": 1, "": 1}
    assert counts["miss"] == {"no entry": 2}


# ---- the journal


def a_miss(number: int = 0, lines: str | None = None) -> Miss:
    change = Change(f"piece → passes → {number}", "changed", "a", "b", lines)
    return Miss(
        "piece", f"{number:064x}", "layer", "a reason\twith\nodd letters ✓", "f" * 64, (change,), "words"
    )


def test_a_miss_comes_back_from_the_journal(store: LocalStore) -> None:
    store.missed(a_miss(1))
    store.missed(a_miss(2))
    noted = LocalStore(store.root).journal.read()
    assert [one.miss for one in noted] == [a_miss(1), a_miss(2)]
    assert noted[0].run == noted[1].run
    assert noted[0].run.startswith(f"{os.getpid()}-")


def test_processes_are_told_apart(store: LocalStore) -> None:
    store.missed(a_miss(1))
    program = (
        "import sys; from passprint.cache import CacheWarning, LocalStore, Miss\n"
        "LocalStore(sys.argv[1]).missed(Miss('model', 'ab' * 32, 'Llama', 'because'))\n"
    )
    subprocess.run([sys.executable, "-c", program, str(store.root)], check=True)
    noted = store.journal.read()
    assert [one.miss.label for one in noted] == ["layer", "Llama"]
    assert [one.miss.label for one in last_run(noted)] == ["Llama"]
    assert last_run([]) == []


def test_the_journal_stays_small_and_keeps_the_newest(store: LocalStore) -> None:
    lines = "\n".join(f"+{number:0500d}" for number in range(500))
    for number in range(120):
        store.missed(a_miss(number, lines))
    noted = store.journal.read()
    assert noted[-1].miss.key == f"{119:064x}"
    assert 20 < len(noted) < 120
    assert (store.root / "misses").stat().st_size <= JOURNAL_BYTES
    shown = noted[-1].miss.changes[0].lines or ""
    assert "more lines" in shown.splitlines()[-1]


@pytest.mark.parametrize(
    "harm", [lambda data: data[:-20], lambda data: b"\xff\0" + data, lambda data: b"[1]\n{}\n" + data]
)
def test_a_torn_line_costs_only_itself(store: LocalStore, harm: Callable[[bytes], bytes]) -> None:
    for number in range(3):
        store.missed(a_miss(number))
    path = store.root / "misses"
    path.write_bytes(harm(path.read_bytes()))
    assert len(store.journal.read()) in (2, 3)
    store.missed(a_miss(9))
    store.missed(a_miss(10))
    assert store.journal.read()[-1].miss == a_miss(10)


def test_a_journal_that_others_can_write_is_not_read(store: LocalStore) -> None:
    store.missed(a_miss())
    (store.root / "misses").chmod(0o666)
    assert store.journal.read() == []


def test_where_nothing_can_be_written_noting_does_not_fail(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path / "absent" / "misses"))
    journal.add(a_miss())
    assert journal.read() == []


def test_the_json_form(store: LocalStore) -> None:
    store.missed(a_miss(1))
    form = json.loads(json.dumps(store.journal.read()[0].to_dict()))
    assert form["key"] == f"{1:064x}"
    assert form["changes"] == [{"path": "piece → passes → 1", "kind": "changed", "before": "a", "after": "b"}]
