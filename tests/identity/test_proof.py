"""A small, seeded part of the mutation test; ``python -m tests.identity.proof`` runs all of it."""

from __future__ import annotations

import pytest
from tests.identity.proof import prove


@pytest.mark.parametrize("package", ["packaging", "passprint"])
def test_no_edit_is_missed_and_none_counts_needlessly(package: str) -> None:
    tally = prove(package, changing=25, neutral=20, seed=20)
    assert sum(tally.changing.values()) >= 40
    assert sum(tally.neutral.values()) >= 20
    assert tally.missed == []
    assert tally.needless == []
