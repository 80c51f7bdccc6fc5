"""A whole demo of a small model: real processes, real compiles. One run, looked at from several sides."""

import os
from pathlib import Path

import pytest

pytest.importorskip("transformers")

from passprint.demo.models import DemoError
from passprint.demo.result import BASELINE_COLD, BASELINE_WARM, COLD, EAGER, LIBRARY, WARM, DemoResult
from passprint.demo.run import DemoOptions, run_demo
from passprint.demo.task import DEFAULT_PASS, OPT_IN_PASS

PHASES = (EAGER, COLD, WARM, BASELINE_COLD, BASELINE_WARM, LIBRARY)


class Observer:
    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []

    def started(self, phase: str) -> None:
        self.events.append((phase, "started"))

    def stage(self, phase: str, text: str) -> None:
        self.events.append((phase, text))

    def finished(self, phase: str, failed: bool = False) -> None:
        self.events.append((phase, "failed" if failed else "finished"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[DemoResult, Observer, Path]:
    folder = tmp_path_factory.mktemp("demo")
    observer = Observer()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(folder))
        options = DemoOptions(model="random-llama", layers=2, tokens=4)
        return run_demo(options, observer), observer, folder


@pytest.mark.slow
def test_all_phases_agree_with_eager(finished: tuple[DemoResult, Observer, Path]) -> None:
    result, _, _ = finished
    assert result.errors == {}
    assert tuple(result.phases) == PHASES
    assert result.failures() == []
    for phase in PHASES[1:]:
        assert result.phases[phase].difference is not None
        assert result.phases[phase].same_text is True
    assert len(result.phases[EAGER].token_ids) == 4


@pytest.mark.slow
def test_the_second_process_is_warm_from_passprints_cache_alone(
    finished: tuple[DemoResult, Observer, Path],
) -> None:
    result, _, _ = finished
    cold, warm = result.report(COLD), result.report(WARM)
    assert cold is not None
    assert warm is not None
    assert (cold["status"], warm["status"]) == ("cold", "warm")
    assert result.notes() == []
    assert warm["pieces"] == cold["pieces"] > cold["distinct_pieces"]


@pytest.mark.slow
def test_one_graph_serves_the_prompt_and_every_step(finished: tuple[DemoResult, Observer, Path]) -> None:
    result, _, _ = finished
    assert result.phases[BASELINE_COLD].graphs == 1
    cold = result.report(COLD)
    assert cold is not None
    assert cold["graphs"] == 1


@pytest.mark.slow
def test_every_library_pass_is_counted(finished: tuple[DemoResult, Observer, Path]) -> None:
    from passprint.passes.library import ALL

    result, _, _ = finished
    report, roles = result.report(LIBRARY), result.phases[LIBRARY].pass_roles
    assert report is not None
    assert list(roles) == [kind.name for kind in ALL]
    assert set(roles) <= set(report["matches"])
    assert set(roles.values()) == {DEFAULT_PASS, OPT_IN_PASS}
    assert report["matches"]["fuse-rms-norm"] > 0


@pytest.mark.slow
def test_progress_is_told_and_nothing_is_left_behind(
    finished: tuple[DemoResult, Observer, Path],
) -> None:
    _, observer, folder = finished
    assert [phase for phase, event in observer.events if event == "finished"] == ["model", *PHASES]
    assert ("eager", "decoding 4 of 4") in observer.events
    assert os.listdir(folder) == []


@pytest.mark.slow
def test_an_unknown_pass_fails_its_phases_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    options = DemoOptions(
        model="random-llama", layers=1, tokens=2, passes="no-such-pass", baseline=False, library=False
    )
    observer = Observer()
    result = run_demo(options, observer)
    assert "no-such-pass" in result.errors[COLD].tail
    assert (COLD, "failed") in observer.events
    assert WARM not in result.phases
    assert WARM not in result.errors  # not tried without a cold one
    assert result.to_dict()["ok"] is False
    assert os.listdir(tmp_path) == []


def test_too_few_tokens_are_an_error() -> None:
    with pytest.raises(DemoError, match="--tokens 1 was given"):
        run_demo(DemoOptions(model="random-llama", tokens=1), Observer())
