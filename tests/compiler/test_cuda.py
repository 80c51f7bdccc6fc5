"""On a GPU, Triton's binaries are part of what is stored: a start with empty folders of torch's builds nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="torch sees no GPU here, and Triton's binaries are made on one"
)

BODY = """
import json, sys, torch, passprint
from tests.compiler.models import inputs, stack

model, x = stack(3).cuda(), inputs().cuda()
compiled = passprint.compile(model, cache=sys.argv[1])
with torch.no_grad():
    torch.testing.assert_close(compiled(x), model(x), rtol=1e-3, atol=1e-3)
report = compiled.report
print(json.dumps({"status": report.status, "traced": report.traced, "pieces": [p.origin for p in report.pieces_seen]}))
"""


def start(tmp_path: Path, name: str) -> dict[str, Any]:
    """Start a model in a new process with folders of torch's that nobody has used."""
    folders = {"TORCHINDUCTOR_CACHE_DIR": tmp_path / name, "TRITON_CACHE_DIR": tmp_path / f"{name}-triton"}
    done = subprocess.run(
        [sys.executable, "-c", BODY, str(tmp_path / "cache")],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, **{key: str(folder) for key, folder in folders.items()}},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_a_later_process_starts_from_the_stored_binaries(tmp_path: Path) -> None:
    cold, warm = start(tmp_path, "cold"), start(tmp_path, "warm")
    assert cold["status"] == "cold"
    assert (warm["status"], warm["traced"]) == ("warm", 0)
    assert "compiled" not in warm["pieces"]
