"""A small, seeded part of the mutation test; ``python -m tests.identity.proof`` runs all of it."""

from __future__ import annotations

from tests.identity.proof import prove


def test_no_edit_is_missed_and_none_counts_needlessly() -> None:
    tally = prove("packaging", changing=25, neutral=20, seed=20)
    assert sum(tally.changing.values()) >= 25
    assert sum(tally.neutral.values()) >= 20
    assert tally.missed == []
    assert tally.needless == []
