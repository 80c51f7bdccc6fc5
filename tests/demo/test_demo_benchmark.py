import math
from collections.abc import Callable
from typing import Any

import pytest
from benchmarks import demo as benchmark

from passprint.demo.result import BASELINE_COLD, COLD, LIBRARY, DemoResult, PhaseError

Make = Callable[..., Any]


def with_phases(result: DemoResult, phases: dict[str, Any]) -> DemoResult:
    return DemoResult(
        model=result.model,
        prompt=result.prompt,
        prepared=result.prepared,
        passes=None,
        environment=result.environment,
        phases=phases,
    )


def test_a_median_is_taken_of_every_duration(result: DemoResult, phase: Make, report: Make) -> None:
    runs = [
        with_phases(
            result,
            {
                COLD: phase(
                    seconds={"first logits": first, "decode": 1.0},
                    report=report(seconds={"identity": first / 100}),
                    difference=first / 1e6,
                    same_text=True,
                )
            },
        )
        for first in (30.0, 10.0, 11.0)
    ]
    median = benchmark.median_result(runs)
    assert median.seconds(COLD) == 11.0
    found = median.report(COLD)
    assert found is not None
    assert found["seconds"]["identity"] == 0.11
    assert found["pieces"] == 61
    assert median.phases[COLD].difference == 30.0 / 1e6  # the worst, not the median


@pytest.mark.parametrize("order", [1, -1])
def test_a_run_with_wrong_results_is_not_outvoted(result: DemoResult, phase: Make, order: int) -> None:
    good = with_phases(result, {COLD: phase(difference=0.0, same_text=True)})
    bad = with_phases(result, {COLD: phase(difference=math.nan, same_text=False)})
    bad.errors[LIBRARY] = PhaseError("its process failed")
    median = benchmark.median_result([good, bad, good][::order])
    assert len(median.failures()) == 3


def test_expectations_compare_with_their_limits(result: DemoResult, phase: Make, report: Make) -> None:
    deep = with_phases(
        result,
        {
            COLD: phase(seconds={"first logits": 20.0, "decode": 1.0}, report=report(repeated_piece_ms=6.0)),
            BASELINE_COLD: phase(seconds={"first logits": 50.0, "decode": 1.0}),
        },
    )
    found = benchmark.expectations({"random-llama-80": deep})
    assert [(entry["value"], entry["holds"]) for entry in found] == [
        (0.03 / 20.0, True),
        (6.0, False),
        (0.4, True),
    ]
