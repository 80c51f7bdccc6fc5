"""torch's own doors beside ``passprint.compile``: the same model, cold and warm, each start in a fresh process.

``python -m benchmarks.doors`` (five minutes on two cores). The doors take turns, so that a slow minute of the machine
meets all of them. "Start" is from before the door is opened to the first result, less one forward pass; the model has
imported torch's compiler by then, as transformers does.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import compile_bytecode
from benchmarks.start import start_in_process

REPEATS = 3
MODEL = "llama12"
OWN = "passprint"
DOORS = (OWN, "torch.compile(model)", "model.compile()", "torch.compile(model.forward)")
WARM_LIMIT_S = 0.05
COLD_LIMIT = 1.05
_WARM_STARTS = 3


def run(repeats: int = REPEATS, model: str = MODEL) -> dict[str, Any]:
    """Measures, prints a table and returns every figure; ``expectations`` says what was expected."""
    compile_bytecode()
    console = Console(width=110)
    starts: dict[str, dict[str, list[float]]] = {door: {"cold": [], "warm": []} for door in DOORS}
    wrong: list[str] = []
    with tempfile.TemporaryDirectory(prefix="doors-") as name:
        for repeat in range(repeats):
            for door in DOORS[repeat % len(DOORS) :] + DOORS[: repeat % len(DOORS)]:
                place = Path(name) / "one"
                spec = {"model": model, "peer": door, "folder": "", "cache": str(place / "cache")}
                for number in range(1 + _WARM_STARTS):
                    kind = "warm" if number else "cold"
                    found = start_in_process(spec, {"TORCHINDUCTOR_CACHE_DIR": str(place / "inductor")})
                    if "error" in found:
                        raise SystemExit(f"{door}, {kind}: {found['error']}")
                    if (
                        found["status"] != kind
                        or found["traced"] != (kind == "cold")
                        or found["difference"] > 1e-4
                    ):
                        wrong.append(
                            f"{door}, {kind}: {found['status']}, {found['difference']}, {found['why']}"
                        )
                    starts[door][kind].append(found["start"])
                    console.print(f"{door}, {kind}: {found['start']:.3f} s", highlight=False, markup=False)
                shutil.rmtree(place)
    medians = {door: {k: statistics.median(v) for k, v in kinds.items()} for door, kinds in starts.items()}
    console.print(_table(model, medians))
    expectations = []
    for door in DOORS[1:]:
        later = medians[door]["warm"] - medians[OWN]["warm"]
        ratio = medians[door]["cold"] / medians[OWN]["cold"]
        for text, value, limit in (
            (f"{door}: seconds that a warm start takes more", later, WARM_LIMIT_S),
            (f"{door}: cold start, times passprint.compile's", ratio, COLD_LIMIT),
        ):
            expectations.append({"text": text, "value": value, "limit": limit, "holds": value <= limit})
            console.print(f"{'holds' if value <= limit else 'FAILS'}: {text}: {value:.3f} (at most {limit})")
    return {"starts": starts, "medians": medians, "expectations": expectations, "wrong": wrong}


def _table(model: str, medians: dict[str, dict[str, float]]) -> Table:
    table = Table(title=f"{model}: seconds to start, medians; beside passprint.compile")
    for heading in ("door", "cold", "× own", "warm", "more, ms"):
        table.add_column(heading, justify="left" if heading == "door" else "right")
    own = medians[OWN]
    for door, found in medians.items():
        more = 1e3 * (found["warm"] - own["warm"])
        table.add_row(
            "passprint.compile(model)" if door == OWN else door,
            f"{found['cold']:.2f}",
            f"{found['cold'] / own['cold']:.3f}",
            f"{found['warm']:.3f}",
            f"{more:.0f}",
        )
    return table


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--model", default=MODEL, help="llamaN, qwenN, gptN or minilm")
    arguments = parser.parse_args()
    run(arguments.repeats, arguments.model)
