"""For the whole suite."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _passprint_instruments() -> None:
    """Stands in for the plug-in's: which instruments watch is what many of these tests are about."""
