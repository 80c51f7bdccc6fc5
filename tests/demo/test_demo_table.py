from collections.abc import Callable
from typing import Any

import pytest

from passprint.demo.result import BASELINE_COLD, BASELINE_WARM, COLD, EAGER, LIBRARY, WARM, DemoResult
from passprint.demo.table import demo_comparison
from passprint.demo.task import DEFAULT_PASS, OPT_IN_PASS
from passprint.report.comparison import Comparison, Row

Make = Callable[..., Any]


def seconds(first: float) -> dict[str, float]:
    return {
        "import torch": 2.0,
        "import transformers": 1.0,
        "load": 0.5,
        "first logits": first,
        "decode": 1.0,
    }


@pytest.fixture
def full(result: DemoResult, phase: Make, report: Make) -> DemoResult:
    result.phases[WARM] = phase(
        seconds=seconds(1.2), difference=0.0, same_text=True, report=report(status="warm")
    )
    result.phases[BASELINE_COLD] = phase(seconds=seconds(60.0), difference=2e-6, same_text=True, graphs=1)
    result.phases[BASELINE_WARM] = phase(seconds=seconds(9.6), difference=2e-6, same_text=True, graphs=1)
    result.phases[LIBRARY] = phase(
        difference=0.5,
        same_text=False,
        report=report(matches={"noop-elimination": 120, "fuse-rms-norm": 61, "fuse-rms-norm/llama": 61}),
        pass_roles={"noop-elimination": DEFAULT_PASS, "fuse-rms-norm": OPT_IN_PASS},
    )
    return result


def row(comparison: Comparison, label: str) -> Row:
    return next(row for part in comparison.sections for row in part.rows if row.label == label)


def cells(comparison: Comparison, label: str) -> dict[str, str]:
    return dict(zip(comparison.columns, row(comparison, label).cells, strict=True))


def test_seconds_stand_beside_the_baseline_with_ratios(full: DemoResult) -> None:
    comparison = demo_comparison(full)
    assert comparison.columns == (EAGER, COLD, WARM, BASELINE_COLD, BASELINE_WARM, LIBRARY)
    assert cells(comparison, "compile to first logits")[BASELINE_COLD] == "60.0 s"
    ratios = cells(comparison, "ratio to baseline")
    assert (ratios[COLD], ratios[WARM], ratios[BASELINE_COLD]) == ("0.25×", "0.12×", "–")


def test_pieces_lookups_and_identity_come_from_the_report(full: DemoResult) -> None:
    comparison = demo_comparison(full)
    for label, value in {
        "status": "cold",
        "pieces": "61",
        "distinct pieces": "4",
        "cache lookups": "61",
        "time in lookups": "12.0 ms",
        "time in identity": "30.0 ms",
        "its share": "0.20%",
        "a repeated piece": "200 µs",
        "trace": "2.50 s",
    }.items():
        assert cells(comparison, label)[COLD] == value
        assert cells(comparison, label)[EAGER] == "–"


def test_each_pass_has_a_row_and_opt_in_ones_are_marked(full: DemoResult) -> None:
    comparison = demo_comparison(full)
    assert cells(comparison, "noop-elimination")[COLD] == "120"
    opt_in = cells(comparison, "fuse-rms-norm *")
    assert (opt_in[COLD], opt_in[LIBRARY]) == ("–", "61")
    assert "outside the default pipeline" in comparison.legend
    labels = [row.label for part in comparison.sections for row in part.rows]
    assert not [label for label in labels if label.startswith("fuse-rms-norm/")]


def test_failing_cells_are_marked(full: DemoResult) -> None:
    comparison = demo_comparison(full)
    library = comparison.columns.index(LIBRARY)
    assert row(comparison, "largest difference").bad == {library}
    assert row(comparison, "same decoded text").bad == {library}


def test_phases_that_did_not_run_have_no_column(result: DemoResult) -> None:
    comparison = demo_comparison(result)
    assert comparison.columns == (EAGER, COLD, WARM)
    labels = [row.label for part in comparison.sections for row in part.rows]
    assert "ratio to baseline" not in labels
    assert comparison.legend == ""
