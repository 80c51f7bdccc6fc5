"""The first tests to run on a new torch: every public door once, cold in one process and warm in the next.

``make smoke-torch TORCH=2.16.0``. A torch that nobody has read costs warm starts, never results and never an exception.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.versions import is_read

ROOT = Path(__file__).parents[2]
DOORS = ["module", "a_function", "sizes", "own_passes", "writes", "breaks", "training"]
OTHERS = ["torchs_door", "options", "mounted"]
WARM = ["module", "a_function", "sizes", "own_passes", "writes", "training"]


def _process(cache: Path, inductor: Path) -> dict[str, dict[str, Any]]:
    environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": os.fspath(inductor)}
    environment["PYTHONPATH"] = os.pathsep.join([os.fspath(ROOT / "src"), os.fspath(ROOT)])
    command = [sys.executable, "-W", "ignore", "-m", "tests.smoke.child", os.fspath(cache)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {line["door"]: line for line in lines}


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a cold and a warm process found, by door."""
    folder = tmp_path_factory.mktemp("smoke")
    return _process(folder / "cache", folder / "one"), _process(folder / "cache", folder / "two")


@pytest.mark.parametrize("door", DOORS + OTHERS)
def test_cold(processes: Any, door: str) -> None:
    found = processes[0][door]
    assert "error" not in found, found["error"]
    assert found["difference"] < 1e-4


@pytest.mark.parametrize("door", DOORS + OTHERS)
def test_warm(processes: Any, door: str) -> None:
    found = processes[1][door]
    assert "error" not in found, found["error"]
    assert found["difference"] < 1e-4
    if door in WARM and is_read():
        assert (found["status"], found["traced"]) == ("warm", 0), found
    elif door in WARM:
        assert found["status"] in ("warm", "cold", "bypass")


def test_a_warm_start_imports_no_compiler(processes: Any) -> None:
    if not is_read():
        pytest.skip("what nobody has read runs with torch's own runtime")
    assert [found["module"]["compiler"] for found in processes] == [True, False]


def test_the_versions_agree() -> None:
    """The torch that is asked for is the one that runs."""
    wanted = os.environ.get("PASSPRINT_TEST_TORCH")
    if wanted is None:
        pytest.skip("no version is asked for")
    assert torch.__version__.partition("+")[0] == wanted
