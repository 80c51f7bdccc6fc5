"""Running a script in a fresh interpreter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def in_new_process(tmp_path: Path, body: str) -> dict[str, Any]:
    """Run ``body`` in a fresh interpreter with an empty Inductor cache; it prints JSON as its last line."""
    environment = {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "child")}
    script = "import json, torch, passprint\nfrom tests.compiler.models import *\n" + body
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, **environment},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
