"""Compiling distinct pieces in processes beside this one: ``PASSPRINT_COMPILE_WORKERS`` of 0, 1 and 2, in turn.

A model of twelve blocks of six kinds: 12 pieces, of which 6 kinds of blocks and what stands between them are distinct.
Each case is a process of its own, with an empty store. "new": Inductor has built none of the kernels (but the
precompiled header, which is a matter of the machine, is there). "known": all of them, and it has compiled none of the
graphs; so it is where a pass was edited that changes few of the kernels.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import compile_bytecode

REPEATS = 3
WORKERS = (0, 1, 2)
GRAPHS = ("fxgraph", "aotautograd")
KINDS = 6


def measure() -> dict[str, Any]:
    """In the child: the seconds of a first call, by phase."""
    import torch
    from torch import nn

    import passprint

    class Block(nn.Module):
        def __init__(self, width: int, wide: int) -> None:
            super().__init__()
            self.norm, self.up, self.down = (
                nn.LayerNorm(width),
                nn.Linear(width, wide),
                nn.Linear(wide, width),
            )

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.up(self.norm(x))
            return x + self.down(nn.functional.gelu(y) * torch.sigmoid(y)).tanh()

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stages = nn.ModuleList(
                nn.ModuleList(Block(64, 32 * (kind + 1)) for _ in range(2)) for kind in range(KINDS)
            )

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for stage in self.stages:
                for block in stage:
                    x = block(x)
            return x.softmax(-1)

    torch.manual_seed(0)
    model, x = Model().eval(), torch.randn(8, 64)
    with torch.no_grad(), tempfile.TemporaryDirectory() as cache:
        compiled = passprint.compile(model, cache=cache)
        start = time.perf_counter()
        result = compiled(x)
        took = time.perf_counter() - start
        torch.testing.assert_close(result, model(x))
    report = compiled.report
    return {"cold_s": took, "seconds": dict(report.seconds), "distinct": report.distinct_pieces}


def _child(workers: int, inductor: Path) -> dict[str, Any]:
    environment = {
        **os.environ,
        "PASSPRINT_COMPILE_WORKERS": str(workers),
        "TORCHINDUCTOR_CACHE_DIR": str(inductor),
    }
    code = "import json; from benchmarks.workers import measure; print(json.dumps(measure()))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def run(repeats: int = REPEATS) -> dict[str, Any]:
    """Measure each number of processes with new and with known kernels, in turn; print medians, return all figures."""
    compile_bytecode()
    found: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "inductor"
        _child(0, folder)  # the header, once
        for repeat in range(repeats):
            for workers in WORKERS if repeat % 2 == 0 else reversed(WORKERS):
                for kernels in ("new", "known"):
                    for part in folder.iterdir():
                        # kernels and wrappers lie in folders of two letters
                        if part.name in GRAPHS or (kernels == "new" and len(part.name) == 2):
                            shutil.rmtree(part)
                    found.setdefault(f"{workers} | {kernels}", []).append(_child(workers, folder))
    table = Table(
        "processes beside", "kernels", "cold, s", "lowering here, s", "waiting for them, s", "builds, s"
    )
    for case, rows in found.items():
        phases = [
            [row["seconds"].get(phase, 0.0) for row in rows] for phase in ("compile", "workers", "build")
        ]
        cells = [median(row["cold_s"] for row in rows), *map(median, phases)]
        table.add_row(*case.split(" | "), *(f"{cell:.2f}" for cell in cells))
    Console(width=100).print(table)
    return {"cases": found, "kinds": KINDS}


if __name__ == "__main__":
    run()
