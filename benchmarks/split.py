"""Where to cut SmolLM2: cold compile, and forward time at three lengths, for each split and for plain torch.compile.

Each in a process of its own with empty caches. The forward times of one process are medians of many calls.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import compile_bytecode
from benchmarks.forward import CALLS, forward_ms, prompts

REPEATS = 1
SPLITS = ("blocks", "attention", "whole", "plain torch.compile")
LENGTHS = (64, 16, 1)


def measure(folder: str, split: str) -> dict[str, Any]:
    """In the child: compile at the first length, then time calls at each length (seconds, milliseconds)."""
    import torch

    import passprint
    from passprint.demo.models import load

    model = load(folder)
    ids = prompts(LENGTHS)
    report = None
    with torch.no_grad():
        start = time.perf_counter()
        if split == SPLITS[-1]:
            compiled = torch.compile(model, fullgraph=True)
            torch._dynamo.mark_dynamic(ids[LENGTHS[0]], 1)
        else:
            compiled = passprint.compile(model, cache=False, split=split, dynamic={"input_ids": (1,)})
        compiled(input_ids=ids[LENGTHS[0]], use_cache=False)
        cold = time.perf_counter() - start
        forward = forward_ms(compiled, ids)
        if split != SPLITS[-1]:
            report = {"pieces": compiled.report.pieces, "distinct": compiled.report.distinct_pieces}
    return {"cold_s": cold, "forward_ms": forward, "report": report}


def run(repeats: int = REPEATS) -> dict[str, Any]:
    """Measure every split ``repeats`` times, in turn; print medians, return all figures."""
    from passprint.demo.models import find_model, prepare

    compile_bytecode()
    found: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLITS}
    with tempfile.TemporaryDirectory() as temporary:
        folder = prepare(find_model("smollm2"), Path(temporary) / "model", None).folder
        for repeat in range(repeats):
            for split in SPLITS:
                caches = {"TORCHINDUCTOR_CACHE_DIR": f"{temporary}/inductor-{repeat}-{SPLITS.index(split)}"}
                command = [sys.executable, "-m", "benchmarks.split", folder, split]
                done = subprocess.run(
                    command, env={**os.environ, **caches}, capture_output=True, text=True, check=True
                )
                found[split].append(json.loads(done.stdout.splitlines()[-1]))
    table = Table("split", "pieces", "distinct", "cold s", *(f"{n} tokens, ms" for n in LENGTHS))
    for split, runs in found.items():
        report = runs[0]["report"] or {"pieces": "–", "distinct": "–"}
        forward = [statistics.median(r["forward_ms"][str(n)] for r in runs) for n in LENGTHS]
        cold = statistics.median(r["cold_s"] for r in runs)
        table.add_row(
            split,
            str(report["pieces"]),
            str(report["distinct"]),
            f"{cold:.1f}",
            *(f"{ms:.1f}" for ms in forward),
        )
    Console(width=110).print(table)
    return {"splits": found, "lengths": LENGTHS, "calls": CALLS}


if __name__ == "__main__":
    print(json.dumps(measure(*sys.argv[1:])))
