"""The table of docs/vllm.md: what a start does after each edit, in vLLM as it is and with the plug-in.

``python -m tests.integrations.engines.table [off] [identity]``, in the environment that ``make test-vllm`` makes.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.integrations.engines.starts import POD, Fleet, StartError


def _moved(fleet: Fleet) -> dict[str, Any]:
    elsewhere = fleet.folder / "elsewhere"
    shutil.copytree(fleet.model(), elsewhere / "llama")
    return fleet.start(model=elsewhere / "llama", passes=fleet.passes(None, "elsewhere/passes"))


ROWS: dict[str, tuple[Callable[[Fleet], dict[str, Any]], float]] = {
    "cold": (lambda fleet: fleet.start(), 1.0),
    "warm": (lambda fleet: fleet.start(), 1.0),
    "helper edited": (lambda fleet: fleet.start("helper"), -1.0),
    "base class edited": (lambda fleet: fleet.start("base"), -1.0),
    "comments edited": (lambda fleet: fleet.start("comment"), 1.0),
    "another folder": (_moved, 1.0),
    "another pod": (lambda fleet: fleet.start(environment=POD), 1.0),
    "opaque value": (lambda fleet: fleet.start("opaque"), 1.0),
    "opaque value again": (lambda fleet: fleet.start("opaque"), 1.0),
}
"""What is done, and by what factor the pass then scales."""


def main() -> None:
    for mode in sys.argv[1:] or ("off", "identity"):
        with tempfile.TemporaryDirectory() as folder:
            fleet = Fleet(Path(folder), mode)
            eager = {factor: fleet.eager(factor) for factor in (1.0, -1.0)}
            print(f"\nPASSPRINT_VLLM={mode}", flush=True)
            for name, (start, factor) in ROWS.items():
                try:
                    found = start(fleet)
                except StartError as error:
                    print(f"{name:<20} failed: {str(error).strip().splitlines()[-1][:80]}", flush=True)
                    continue
                did = "loads" if found["loaded"] else "compiles"
                tokens = "right tokens" if found["tokens"] == eager[factor] else "WRONG TOKENS"
                saved = "stored" if found["saved"] else "not stored"
                seconds = f"{found['seconds']:.1f} s"
                print(f"{name:<20} {did:<9} {tokens:<13} {saved:<11} {seconds:>8}", flush=True)


if __name__ == "__main__":
    main()
