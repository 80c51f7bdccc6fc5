"""The demo's table for SmolLM2 and for a random Llama of 80 layers: passprint beside plain ``torch.compile``.

Each repetition is a whole demo with empty caches; the table shows the median of each figure.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from benchmarks import compile_bytecode
from passprint.demo.result import BASELINE_COLD, COLD, DemoResult
from passprint.demo.run import DemoOptions, run_demo
from passprint.demo.table import demo_comparison
from passprint.demo.task import PhaseResult
from passprint.report.progress import PhaseProgress
from passprint.report.terminal import comparison_table

REPEATS = 3

DEEP = DemoOptions(model="random-llama", layers=80, library=False)
MODELS = {"smollm2": DemoOptions(model="smollm2"), "random-llama-80": DEEP}

IDENTITY_SHARE = 0.01
REPEATED_PIECE_MS = 5.0
DEEP_COLD_RATIO = 0.5


def run(repeats: int = REPEATS) -> dict[str, Any]:
    """Runs both models ``repeats`` times, prints their tables and what was expected, and returns all
    figures."""
    compile_bytecode()
    console = Console(width=110)
    medians: dict[str, DemoResult] = {}
    runs: dict[str, list[dict[str, Any]]] = {}
    for name, options in MODELS.items():
        results = []
        for number in range(1, repeats + 1):
            console.print(f"{name}, run {number} of {repeats}", highlight=False)
            with PhaseProgress(console) as progress:
                results.append(run_demo(options, progress))
        medians[name] = median_result(results)
        runs[name] = [result.to_dict() for result in results]
        console.print(comparison_table(demo_comparison(medians[name])))
        for problem in [*medians[name].failures(), *medians[name].notes()]:
            console.print(problem, style="bold red", markup=False)
    expected = expectations(medians)
    for entry in expected:
        word = "holds" if entry["holds"] else "FAILS"
        console.print(f"{word}: {entry['text']}: {entry['value']:.4g}", highlight=False)
    return {
        "models": {name: {"median": medians[name].to_dict(), "runs": found} for name, found in runs.items()},
        "expectations": expected,
        "ok": all(one["ok"] for found in runs.values() for one in found),
    }


def median_result(results: Sequence[DemoResult]) -> DemoResult:
    """One result with the median of every duration and rate, the worst difference, and every failed phase."""
    first = results[0]
    phases = {
        phase: PhaseResult.from_dict(
            _median([result.phases[phase].to_dict() for result in results if phase in result.phases])
        )
        for phase in first.phases
    }
    for phase, figures in phases.items():
        found = [result.phases[phase] for result in results if phase in result.phases]
        differences = [one.difference for one in found if one.difference is not None]
        same = [one.same_text for one in found if one.same_text is not None]
        phases[phase] = PhaseResult.from_dict(
            {
                **figures.to_dict(),
                "difference": max(differences, key=_worse) if differences else None,
                "same_text": all(same) if same else None,
            }
        )
    errors = {phase: error for result in results for phase, error in result.errors.items()}
    return DemoResult(
        model=first.model,
        prompt=first.prompt,
        prepared=first.prepared,
        passes=first.passes,
        environment=first.environment,
        phases=phases,
        errors=errors,
    )


def expectations(results: dict[str, DemoResult]) -> list[dict[str, Any]]:
    """What the project promises of these figures, each with the value found and whether it holds."""
    found = []
    for name, result in results.items():
        cold, report = result.seconds(COLD), result.report(COLD)
        if cold is None or report is None:
            continue
        share = report["seconds"].get("identity", 0.0) / cold
        found.append(_expect(f"{name}: identity's share of a cold compile", share, IDENTITY_SHARE))
        if report["repeated_piece_ms"] is not None:
            value = report["repeated_piece_ms"]
            found.append(_expect(f"{name}: ms for a repeated piece", value, REPEATED_PIECE_MS))
        baseline = result.seconds(BASELINE_COLD)
        if baseline is not None and MODELS[name] is DEEP:
            found.append(_expect(f"{name}: cold, against the baseline's", cold / baseline, DEEP_COLD_RATIO))
    return found


def _worse(difference: float) -> tuple[bool, float]:
    """Orders differences; one that is not a number is the worst."""
    return math.isnan(difference), difference


def _expect(text: str, value: float, limit: float) -> dict[str, Any]:
    return {"text": f"{text} (at most {limit:g})", "value": value, "limit": limit, "holds": value <= limit}


def _median(values: list[Any]) -> Any:
    """The median of equal structures: of each float its median, of anything else the first."""
    first = values[0]
    if isinstance(first, dict):
        return {key: _median([value[key] for value in values if key in value]) for key in first}
    if isinstance(first, float) and all(isinstance(value, float) for value in values):
        return statistics.median(values)
    return first
