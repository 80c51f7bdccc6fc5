"""How fast a compiled model runs: passprint and plain ``torch.compile`` in one process, call by call in turn.

``python -m benchmarks throughput``. SmolLM2 with an input of varying length, at 64 tokens and at one. The two are
called in the order A B B A, so that what else the machine does falls on both alike. The figure is plain's time over
passprint's (above 1: passprint is faster), as the median over rounds, with an interval of 95% from a bootstrap.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.forward import prompts

REPEATS = 1
ROUNDS = 40
LENGTHS = (64, 1)
GOAL = 0.97
_RESAMPLED = 2000


def measure(folder: str, rounds: int) -> dict[str, Any]:
    """In the child: milliseconds of each call, by length and by way."""
    import torch

    import passprint
    from passprint.demo.models import load

    ids = prompts(LENGTHS)
    with torch.no_grad(), tempfile.TemporaryDirectory() as cache:
        ways: dict[str, Any] = {
            "passprint": passprint.compile(load(folder), cache=cache, dynamic={"input_ids": (1,)}),
            "plain": torch.compile(load(folder), fullgraph=True, dynamic=True),
        }
        results = {}
        for length in LENGTHS:  # whatever has to be compiled for a length is compiled here
            for way, call in ways.items():
                results[way] = call(input_ids=ids[length], use_cache=False).logits
            difference = float((results["passprint"] - results["plain"]).abs().max())
            if not difference < 1e-2:
                raise RuntimeError(f"the logits of {length} tokens differ by {difference}")
        times: dict[str, dict[str, list[float]]] = {}
        for length in LENGTHS:
            found = times[str(length)] = {way: [] for way in ways}
            for _ in range(rounds):
                for way in ("passprint", "plain", "plain", "passprint"):
                    began = time.perf_counter()
                    ways[way](input_ids=ids[length], use_cache=False)
                    found[way].append(1e3 * (time.perf_counter() - began))
    return times


def throughput(times: dict[str, list[float]]) -> tuple[float, float, float]:
    """Plain's time over passprint's: the median over rounds, and an interval of 95%."""
    pairs = [
        sum(times["plain"][at : at + 2]) / sum(times["passprint"][at : at + 2])
        for at in range(0, len(times["plain"]), 2)
    ]
    chance = random.Random(0)
    medians = sorted(statistics.median(chance.choices(pairs, k=len(pairs))) for _ in range(_RESAMPLED))
    return (
        statistics.median(pairs),
        medians[int(0.025 * _RESAMPLED)],
        medians[int(0.975 * _RESAMPLED)],
    )


def run(repeats: int = REPEATS) -> dict[str, Any]:
    """Measure in a fresh process, print the table, give the figures."""
    from passprint.demo.models import find_model, prepare

    with tempfile.TemporaryDirectory() as temporary:
        folder = prepare(find_model("smollm2"), Path(temporary) / "smollm2", None).folder
        command = [sys.executable, "-m", "benchmarks.throughput", folder, str(ROUNDS * repeats)]
        environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": f"{temporary}/inductor"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    times = json.loads(done.stdout.splitlines()[-1])
    table = Table("tokens", "passprint, ms", "plain, ms", "throughput of plain's", "95%", f"at least {GOAL}")
    shown = {}
    for length, found in times.items():
        ratio, low, high = shown[length] = throughput(found)
        medians = [f"{statistics.median(found[way]):.2f}" for way in ("passprint", "plain")]
        word = "holds" if ratio >= GOAL else "FAILS"
        table.add_row(length, *medians, f"{ratio:.3f}", f"{low:.3f} – {high:.3f}", word)
    Console(width=110).print(table)
    return {"milliseconds": times, "throughput": shown, "goal": GOAL}


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))
