"""A seeded part of the fuzzing; ``python -m tests.identity.fuzz`` does a hundred thousand objects."""

from __future__ import annotations

import pytest
from tests.identity.fuzz import fuzz


@pytest.mark.parametrize("package", ["packaging", "click", "passprint"])
def test_every_object_has_a_digest_or_a_named_path(package: str) -> None:
    result = fuzz((package,), 150, 3, by_content=True)
    assert result.failures == []
    assert sum(result.outcomes.values()) == 150
    assert result.outcomes["digest"] > 50
