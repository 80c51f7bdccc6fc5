"""Small samples of ``tests.cache.fleet_proof``: nothing wrong, nothing lost that was acknowledged, no slow start."""

from __future__ import annotations

from pathlib import Path

import pytest

from .fleet_proof import prove_faults, prove_kills


@pytest.mark.slow
def test_each_fault_of_a_proxy(redis_url: str, tmp_path: Path) -> None:
    figures = prove_faults(tmp_path, 4)
    assert figures["starts"] == 20
    assert (figures["wrong"], figures["slow"]) == (0, 0), figures


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["redis", "file"])
def test_killed_writers(kind: str, redis_url: str, tmp_path: Path) -> None:
    figures = prove_kills(tmp_path, redis_url if kind == "redis" else f"file://{tmp_path}/remote", 6)
    assert (figures["wrong"], figures["lost"]) == (0, 0), figures
    assert figures["acknowledged"] > 0
