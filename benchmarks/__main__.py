"""``python -m benchmarks``: runs the benchmarks, or those that are named, and writes what they return."""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import json
import os
import pkgutil
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from rich.console import Console

import benchmarks

OUT = Path(benchmarks.__file__).parent / "out"
DEFAULT_REPEATS = 5
_LAST = "demo"  # the longest one


def benchmark_modules() -> dict[str, ModuleType]:
    """All modules of this package that have a ``run``, by name; the longest one last."""
    names = sorted(
        (module.name for module in pkgutil.iter_modules(benchmarks.__path__) if module.name != "__main__"),
        key=lambda name: (name == _LAST, name),
    )
    found = {name: importlib.import_module(f"benchmarks.{name}") for name in names}
    return {name: module for name, module in found.items() if hasattr(module, "run")}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what the command line names. The exit status is 1 when a benchmark says that its results are
    wrong."""
    modules = benchmark_modules()
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(modules)}; all by default")
    parser.add_argument("--repeats", type=int, help="how often each measures; by default its own number")
    parser.add_argument("--out", type=Path, default=OUT, help="folder for the JSON files")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in modules]
    if unknown:
        parser.error(f"there is no benchmark {', '.join(unknown)}; there are {', '.join(modules)}")
    if options.repeats is not None and options.repeats < 1:
        parser.error(f"--repeats {options.repeats} was given; it must be at least 1")
    options.out.mkdir(parents=True, exist_ok=True)
    console = Console()
    wrong = []
    for name in options.names or modules:
        console.rule(name)
        repeats = options.repeats or getattr(modules[name], "REPEATS", DEFAULT_REPEATS)
        start = time.perf_counter()
        figures = modules[name].run(repeats)
        seconds = time.perf_counter() - start
        file = options.out / f"{name}.json"
        file.write_text(
            json.dumps(_record(name, repeats, seconds, figures), indent=2) + "\n", encoding="utf-8"
        )
        console.print(f"{name}: {seconds:.0f} s, written to {file}", highlight=False)
        if isinstance(figures, dict) and figures.get("ok") is False:
            wrong.append(name)
    if wrong:
        console.print(f"wrong results in {', '.join(wrong)}", style="bold red")
    return 1 if wrong else 0


def _record(name: str, repeats: int, seconds: float, figures: Any) -> dict[str, Any]:
    """What is written: the figures and where they come from."""
    return {
        "schema": 1,
        "benchmark": name,
        "repeats": repeats,
        "seconds": seconds,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "torch": importlib.metadata.version("torch"),
        "figures": figures,
    }


if __name__ == "__main__":
    sys.exit(main())
