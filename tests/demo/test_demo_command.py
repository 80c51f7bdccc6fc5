import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from passprint.cli.demo import demo_command
from passprint.demo.processes import ChildError
from passprint.demo.result import COLD, LIBRARY, DemoResult, PhaseError
from passprint.demo.run import DemoOptions

Make = Callable[..., Any]

app = typer.Typer()
app.command()(demo_command)


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch, result: DemoResult) -> Callable[..., Result]:
    """Runs the command line where the demo itself only hands out the fixture's result."""

    def call(*arguments: str, raising: BaseException | None = None) -> Result:
        def run_demo(options: DemoOptions, observer: object) -> DemoResult:
            call.options = options  # type: ignore[attr-defined]
            if raising is not None:
                raise raising
            return result

        monkeypatch.setattr("passprint.demo.run.run_demo", run_demo)
        return CliRunner().invoke(app, arguments)

    return call


def test_a_good_demo_shows_table_prompt_and_text(invoke: Callable[..., Result]) -> None:
    found = invoke()
    assert found.exit_code == 0
    assert "compile to first logits" in found.stdout
    assert re.search(r"noop-elimination +– +120", found.stdout)
    assert "prompt: Why?\ndecoded: hello\n" in found.stdout


def test_options_reach_the_demo(invoke: Callable[..., Result]) -> None:
    invoke(
        *["--model", "random-llama", "--layers", "80", "--no-baseline", "--no-library", "--tokens", "3"],
        *["--passes", "noop-elimination", "--cache", "some/where", "--html", "pages"],
    )
    assert invoke.options == DemoOptions(  # type: ignore[attr-defined]
        model="random-llama",
        layers=80,
        tokens=3,
        passes="noop-elimination",
        cache=Path("some/where"),
        baseline=False,
        library=False,
        pages=Path("pages"),
    )


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"difference": 0.25},
            "FAILED passprint cold: the logits differ from eager's by 2.50e-01, more than 1e-03",
        ),
        ({"same_text": False}, "FAILED passprint cold: the decoded text is not eager's: 'hello'"),
    ],
)
def test_wrong_results_give_status_1_and_say_so(
    invoke: Callable[..., Result], result: DemoResult, phase: Make, changes: dict[str, Any], line: str
) -> None:
    result.phases[COLD] = phase(**changes)
    found = invoke()
    assert found.exit_code == 1
    assert line in found.stderr.splitlines()
    assert "compile to first logits" in found.stdout


def test_a_failed_phase_gives_status_1_and_its_last_words(
    invoke: Callable[..., Result], result: DemoResult
) -> None:
    result.errors[LIBRARY] = PhaseError("its process failed", "Traceback: [bold]the reason[/bold]")
    found = invoke()
    assert found.exit_code == 1
    assert "Traceback: [bold]the reason[/bold]" in found.stderr
    assert "FAILED every pass: its process failed" in found.stderr


def test_a_failed_eager_run_shows_its_last_words(invoke: Callable[..., Result]) -> None:
    found = invoke(raising=ChildError("the process failed", "the reason"))
    assert found.exit_code == 1
    assert "the reason" in found.stderr


def test_an_interruption_is_status_130(invoke: Callable[..., Result]) -> None:
    found = invoke(raising=KeyboardInterrupt())
    assert found.exit_code == 130
    assert "interrupted" in found.stderr


def test_json_is_written_also_for_failures(
    invoke: Callable[..., Result], result: DemoResult, phase: Make, tmp_path: Path
) -> None:
    result.phases[COLD] = phase(same_text=False)
    file = tmp_path / "figures.json"
    assert invoke("--json", str(file)).exit_code == 1
    data = json.loads(file.read_text())
    assert data["ok"] is False
    assert data == result.to_dict()


def test_a_json_file_that_cannot_be_written_is_found_before_the_work(
    invoke: Callable[..., Result], tmp_path: Path
) -> None:
    found = invoke("--json", str(tmp_path / "missing" / "figures.json"))
    assert found.exit_code == 1
    assert "cannot be written" in str(found.exception)
    assert not hasattr(invoke, "options")
