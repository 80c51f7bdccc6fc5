"""A model that one machine compiled starts warm on another, through a real Redis; and as ever without it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.cache import fleet

ROOT = Path(__file__).parents[2]


def start(folder: Path, url: str) -> dict[str, Any]:
    environment = {
        **os.environ,
        "PASSPRINT_CACHE_DIR": str(folder / "cache"),
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"),
        "PASSPRINT_CACHE_REMOTE": url,
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.compiler.fleet_child"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env=environment,
    )
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


@pytest.mark.slow
def test_the_second_machine_starts_warm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for library in ("redis", "cryptography", "zstandard"):
        pytest.importorskip(library, reason=f"the extra [redis] is not installed: no {library}")
    if fleet.REDIS is None:
        pytest.skip("there is no redis-server here: apt-get install redis-server")
    monkeypatch.setenv("PASSPRINT_TRUSTED_KEYS", str(tmp_path / "trusted-keys"))
    monkeypatch.setenv("PASSPRINT_PRIVATE_KEY", str(fleet.make_trusted_key(tmp_path)))
    with fleet.redis_server(tmp_path) as url:
        first = start(tmp_path / "a", url)
        assert first["status"] == "cold"
        assert first["tiers"][0]["failures"] == 0
        second = start(tmp_path / "b", url)
        assert second["status"] == "warm"
        assert second["tiers"][0]["requests"] <= 4
        again = start(tmp_path / "b", url)
        assert (again["status"], again["loaded"]) == ("warm", [])
        for machine, starts in (("a", 1), ("b", 2)):
            assert len(list((tmp_path / machine / "cache" / "reports").iterdir())) == starts
    without = start(tmp_path / "b", url)  # the server is gone
    assert (without["status"], without["loaded"]) == ("warm", [])
