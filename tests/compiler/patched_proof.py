"""Each patch of torch left out by itself, in each way: ten models are right in two processes, and the report says so.

``python -m tests.compiler.patched_proof`` runs it in full and prints a line for each; the tests run four models with
all patches left out (``test_patches.py``).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from passprint.compiler import patches

ROOT = Path(__file__).parents[2]
Printed = dict[str, Any]
CASES = [
    f"{how}:{row}"
    for how in ("gone", "signature", "fails before")
    for row in ("BLOCKS", "KERNELS", "STRIDES", "ROWS", "DOOR")
]


def run(case: str, folder: Path, *more: str) -> Printed:
    """What a process prints for a case."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.compiler.patched_child", case, str(folder / "cache"), *more],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor")},
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{case}: {done.stderr[-3000:]}")
    found: Printed = json.loads(done.stdout.splitlines()[-1])
    return found


def problems(case: str) -> list[str]:
    """What is wrong in two processes in a row, the second with the cache of the first."""
    with tempfile.TemporaryDirectory(prefix="patched-") as name:
        first, second = (run(case, Path(name), "ALL") for _ in range(2))
    found = [
        f"{which}, {model}: off by {told['difference']:.3g}"
        for which, printed in (("first", first), ("second", second))
        for model, told in printed["models"].items()
        if not told["difference"] < 1e-5
    ]
    without = getattr(patches, case.partition(":")[2]).without
    if [said.rpartition(": ")[2] for said in first["missing"]] != [without]:
        found.append(f"lost: {first['missing']}")
    if not any(without in note for told in first["models"].values() for note in told["notes"]):
        found.append("no report says what is lost")
    traced = {model: told["why"] for model, told in second["models"].items() if told["status"] != "warm"}
    return [
        *found,
        *(f"second, {model}: compiled without a reason" for model, why in traced.items() if not why),
    ]


def main() -> int:
    """Run all cases, two at once."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(problems, CASES))
    for case, found in zip(CASES, results, strict=True):
        print(f"{case}: {'; '.join(found) or 'ten models right twice, and the loss is told'}")
    return int(any(results))


if __name__ == "__main__":
    sys.exit(main())
