"""Engines that start one after the other on one cache, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.integrations.engines.models import write_model
from tests.integrations.engines.passes import write_pass

ROOT = Path(__file__).parents[3]

ENGINE = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
}

POD = {
    "HOSTNAME": "vllm-7d9f",
    "VLLM_NIXL_SIDE_CHANNEL_HOST": "10.1.2.3",
    "VLLM_NIXL_SIDE_CHANNEL_PORT": "5601",
    "VLLM_LOOPBACK_IP": "127.0.0.2",
    "VLLM_PROCESS_NAME_PREFIX": "pod-7",
}
"""What another pod has in its environment, and no graph depends on."""


class StartError(AssertionError):
    """An engine did not start; the text is the end of what it said."""


@dataclass
class Fleet:
    """Starts of engines below one folder. ``mode``: what ``PASSPRINT_VLLM`` says."""

    folder: Path
    mode: str = "identity"
    _starts: int = 0

    def model(self, name: str = "model", factor: float = 1.0) -> Path:
        """A folder with the model; written once."""
        path = self.folder / name
        if not path.exists():
            write_model(path, factor=factor)
        return path

    def passes(self, edit: str | None, name: str) -> Path:
        """A folder with the pass; written once."""
        path = self.folder / name
        if not path.exists():
            write_pass(path, edit)
        return path

    def start(
        self,
        edit: str | None = None,
        *,
        model: Path | None = None,
        passes: Path | None = None,
        environment: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """One compiled start; raises StartError."""
        passes = passes or self.passes(edit, f"passes-{edit}")
        given = {"model": str(model or self.model()), "pass": "scale_pass.scale"}
        return self._run(given, {"PYTHONPATH": str(passes), **(environment or {})})

    def eager(self, factor: float = 1.0) -> list[int]:
        """The tokens without a compiler, of a model that computes the same."""
        found = self._run({"model": str(self.model(f"eager{factor}", factor))}, {})
        tokens: list[int] = found["tokens"]
        return tokens

    def explained(self) -> str:
        """What ``passprint explain`` says of the last start that compiled."""
        command = [sys.executable, "-m", "passprint", "explain", "--dir", str(self.folder / "history")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    def _run(self, given: dict[str, Any], more: dict[str, str]) -> dict[str, Any]:
        self._starts += 1
        environment = {
            **os.environ,
            **ENGINE,
            "PASSPRINT_VLLM": self.mode,
            "PASSPRINT_CACHE_DIR": str(self.folder / "history"),
            "VLLM_CACHE_ROOT": str(self.folder / "cache"),
            "TORCHINDUCTOR_CACHE_DIR": str(self.folder / f"inductor{self._starts}"),
            **more,
        }
        path = os.pathsep.join(
            filter(None, (str(ROOT), more.get("PYTHONPATH"), os.environ.get("PYTHONPATH")))
        )
        done = subprocess.run(
            [sys.executable, "-m", "tests.integrations.engines.child", json.dumps(given)],
            capture_output=True,
            text=True,
            cwd=self.folder,
            env={**environment, "PYTHONPATH": path},
            check=False,
            timeout=600,
        )
        lines = [line for line in done.stdout.splitlines() if line.startswith('{"tokens"')]
        if done.returncode or not lines:
            raise StartError(done.stderr[-4000:] + done.stdout[-2000:])
        found: dict[str, Any] = json.loads(lines[-1])
        return {**found, "said": done.stderr + done.stdout}
