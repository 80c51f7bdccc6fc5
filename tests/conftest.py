"""For the whole suite."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

# How long examples take is a matter of the machine, and no test's.
settings.register_profile("passprint", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("passprint")


@pytest.fixture(autouse=True)
def _passprint_instruments() -> None:
    """Stands in for the plug-in's: which instruments watch is what many of these tests are about."""
