"""A sample of the oracle's pairs, and that the oracle sees what is wrong. In full: ``make proof``."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.oracle import kinds  # noqa: F401
from tests.oracle.__main__ import run
from tests.oracle.fragments import KINDS, Fragment
from tests.oracle.run import model
from tests.oracle.tally import Tally


@pytest.mark.slow
def test_a_sample_is_right(tmp_path: Path) -> None:
    tally = run("sample", 100, 2, [], tmp_path, progress=False)
    assert not tally.count("stale") + tally.count("crashed"), tally.text()
    assert tally.passes, tally.text()
    assert tally.count("invalid") <= 5, tally.text(everything=True)


def _double(name: str, tmp_path: Path, pairs: int = 100) -> Tally:
    return run("double", pairs, 1, [], tmp_path, engine=f"tests.oracle.doubles:{name}", progress=False)


def test_a_cache_that_looks_at_nothing_is_seen(tmp_path: Path) -> None:
    tally = _double("forgetful", tmp_path)
    changed = [pair for pair in tally.pairs if pair.changed and not pair.mutation.weights]
    assert len(changed) > 25
    right = [
        pair
        for pair in changed
        if pair.verdict not in ("stale", "invalid") and "weight" not in pair.mutation.live
    ]
    assert not right
    assert "again: python -m tests.oracle --seed double --pair" in tally.text()


def test_needless_traces_are_seen(tmp_path: Path) -> None:
    tally = _double("suspicious", tmp_path)
    assert not tally.count("stale")
    assert tally.needless > 0.1
    assert not tally.passes


def test_crashes_are_seen(tmp_path: Path) -> None:
    tally = _double("broken", tmp_path, 2)
    assert tally.count("crashed") == 2
    assert not tally.passes


def test_a_pair_is_the_same_every_time(tmp_path: Path) -> None:
    for number in range(20):
        one, other = (model("s", number, [], tmp_path) for _ in range(2))
        assert one.mutations == other.mutations
        assert [one.program.files(m.chosen) for m in one.mutations] == [
            other.program.files(m.chosen) for m in other.mutations
        ]


@pytest.mark.parametrize("name", sorted(KINDS))
def test_every_kind_has_mutations_that_are_read(name: str) -> None:
    from random import Random

    for seed in range(5):
        fragment = Fragment(name, "f0", Random(seed))
        KINDS[name](fragment)
        varied = [s for s in (*fragment.slots.values(), *fragment.variables.values()) if s.reads]
        assert varied
        assert all(len(set(slot.choices)) > 1 for slot in varied)
        compile(fragment.fill(fragment.expression), "expression", "eval")
