import json
from collections.abc import Callable
from typing import Any

import pytest

from passprint.demo.result import COLD, LIBRARY, WARM, DemoResult, PhaseError
from passprint.demo.task import PhaseResult

Make = Callable[..., Any]


def test_equal_text_and_a_difference_at_the_tolerance_pass(result: DemoResult) -> None:
    assert result.failures() == []
    assert result.to_dict()["ok"] is True


@pytest.mark.parametrize("difference", [1.1e-3, float("nan"), float("inf")])
def test_a_difference_above_the_tolerance_fails(
    result: DemoResult, difference: float, phase: Make, report: Make
) -> None:
    result.phases[COLD] = phase(difference=difference, same_text=True, report=report())
    (failure,) = result.failures()
    assert failure.startswith(f"{COLD}: the logits differ from eager's by {difference:.2e}")


def test_other_text_fails(result: DemoResult, phase: Make, report: Make) -> None:
    result.phases[WARM] = phase(difference=0.0, same_text=False, text="bye", report=report(status="warm"))
    assert result.failures() == [f"{WARM}: the decoded text is not eager's: 'bye'"]


def test_a_phase_without_figures_fails(result: DemoResult) -> None:
    result.errors[LIBRARY] = PhaseError("its process failed", "Traceback")
    assert result.failures() == [f"{LIBRARY}: its process failed"]
    assert result.to_dict()["ok"] is False


def test_a_warm_phase_that_was_not_warm_is_noted(result: DemoResult, phase: Make, report: Make) -> None:
    assert result.notes() == []
    result.phases[WARM] = phase(report=report(status="bypass", why="an opaque pass"))
    assert result.notes() == [f"{WARM}: the compile's status is bypass: an opaque pass"]
    result.phases[COLD] = phase(report=report(status="bypass", why="an opaque pass"))
    assert result.notes() == [f"{COLD}, {WARM}: the compile's status is bypass: an opaque pass"]


def test_json_has_every_figure_and_a_schema_version(result: DemoResult) -> None:
    data = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert data["schema"] == 1
    assert data["model"] == {"name": "tiny", "layers": 2, "parameters": 4_000_000}
    assert data["phases"][COLD]["report"]["seconds"]["identity"] == 0.03
    assert PhaseResult.from_dict(data["phases"][COLD]) == result.phases[COLD]


def test_json_stays_valid_with_figures_that_are_no_number(
    result: DemoResult, phase: Make, report: Make
) -> None:
    result.phases[COLD] = phase(difference=float("nan"), same_text=True, report=report())
    data = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert data["phases"][COLD]["difference"] == "nan"
