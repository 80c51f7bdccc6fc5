"""What the local store costs: a lookup of a small entry and of a larger one, a miss, a store.

``python -m benchmarks.store`` prints the figures. Files are in the page cache, as when a server starts
again. Each figure is the median of ``repeats`` runs; parsing and hashing are shown beside it for comparison.
"""

from __future__ import annotations

import hashlib
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

from passprint.cache import LocalStore
from passprint.identity import compose


def _milliseconds(repeats: int, work: Callable[[int], object]) -> float:
    times = []
    for number in range(repeats):
        begun = time.perf_counter()
        work(number)
        times.append(time.perf_counter() - begun)
    return round(statistics.median(times) * 1e3, 4)


def run(repeats: int = 300) -> dict[str, Any]:
    """Milliseconds (medians) of the store's calls, and the sizes of the entries that were used."""
    small = {"wrapper.py": os.urandom(6_000), "kernel.so": os.urandom(20_000)}
    piece = {f"kernel {number}.so": os.urandom(60_000) for number in range(15)} | {
        "wrapper.py": os.urandom(90_000)
    }
    keys = {
        name: compose("piece", {"name": name, "graph": "line of a printed graph\n" * 2000, "torch": "2.13.0"})
        for name in ("small", "piece", "absent")
    }
    with tempfile.TemporaryDirectory() as folder:
        store = LocalStore(folder + "/cache")
        store.put(keys["small"], small, {"label": "small"})
        store.put(keys["piece"], piece, {"label": "piece"})

        def get(name: str) -> None:
            entry = store.get(keys[name].digest)
            if entry is None:
                raise RuntimeError(f"the entry {name!r} was not found")
            entry.close()

        def compiling(_: int) -> None:
            with store.compiling(keys["absent"].digest):
                pass

        result = {
            "get, 2 files, 26 kB": _milliseconds(repeats, lambda _: get("small")),
            "get, 16 files, 1 MB": _milliseconds(repeats, lambda _: get("piece")),
            "only the sha256 of that 1 MB": _milliseconds(
                repeats, lambda _: [hashlib.sha256(data).digest() for data in piece.values()]
            ),
            "get, absent": _milliseconds(repeats, lambda _: store.get(keys["absent"].digest)),
            "compiling(), nobody else there": _milliseconds(repeats, compiling),
            "put, 2 files, 26 kB, new": _milliseconds(
                min(repeats, 50),
                lambda number: store.put(
                    compose("piece", {"n": number}), {k: os.urandom(len(v)) for k, v in small.items()}
                ),
            ),
            "put, 2 files, 26 kB, unchanged": _milliseconds(
                min(repeats, 50), lambda _: store.put(keys["small"], small, {"label": "small"})
            ),
            "open the store": _milliseconds(repeats, lambda _: LocalStore(folder + "/cache")),
        }
    return {"unit": "ms", "repeats": repeats, "medians": result}


def main() -> None:
    """Print the figures as JSON."""
    print(json.dumps(run(), indent=2))


if __name__ == "__main__":
    main()
