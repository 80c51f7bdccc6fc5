"""A small, seeded part of the mutation test; ``python -m tests.identity.proof`` runs all of it."""

from __future__ import annotations

from tests.identity.mutations import behaviour_edits
from tests.identity.proof import prove


def test_no_edit_is_missed_and_none_counts_needlessly() -> None:
    tally = prove("packaging", changing=25, neutral=20, seed=20)
    assert sum(tally.changing.values()) >= 25
    assert sum(tally.neutral.values()) >= 20
    assert tally.missed == []
    assert tally.needless == []


def test_code_that_a_module_replaces_is_not_edited() -> None:
    source = "class A:\n    def f(self):\n        return 1\n    def g(self):\n        return 2\nA.f = len\n"
    assert {edit.where for edit in behaviour_edits(source, seed=1, limit=50)} == {"line 5"}
