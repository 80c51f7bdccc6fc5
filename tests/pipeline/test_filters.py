"""Only and skip, from the environment and in a block; each selection has the identity of what it runs."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from torch.fx import Graph

from passprint import PipelineError
from passprint.passes import InductorPass, graph_pass
from passprint.pipeline import FixedPoint, PassManager, selected
from passprint.pipeline.filters import SelectionWarning
from passprint.pipeline.instruments import Instrument

ran: list[str] = []


class FilterA(InductorPass):
    step: int = 1

    def __call__(self, graph: Graph) -> None:
        ran.append(str(self))


class FilterB(FilterA):
    pass


class FilterC(FilterA):
    pass


@graph_pass
def filter_function(graph: Graph) -> None:
    ran.append("filter-function")


def all_of_it() -> PassManager:
    return PassManager(
        [FilterA(), PassManager([FilterB(), FilterA(2)]), FixedPoint([FilterC()]), filter_function]
    )


EVERYTHING = ["filter-a", "filter-b", "filter-a{step=2}", "filter-c", "filter-function"]


@pytest.fixture(autouse=True)
def nothing_selected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PASSPRINT_PASSES", raising=False)
    ran.clear()


def runs(manager: PassManager) -> list[str]:
    ran.clear()
    manager(Graph())
    return list(ran)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", EVERYTHING),
        (" , ", EVERYTHING),
        ("-filter-b", ["filter-a", "filter-a{step=2}", "filter-c", "filter-function"]),
        ("-filter-a", ["filter-b", "filter-c", "filter-function"]),
        ("-filter-a#2", ["filter-a", "filter-b", "filter-c", "filter-function"]),
        ("-filter-a#3", EVERYTHING),
        ("filter-a#1,filter-c", ["filter-a", "filter-c"]),
        ("filter-a, -filter-a#1", ["filter-a{step=2}"]),
        ("-filter-c,-filter-function", EVERYTHING[:3]),
        ("-filter-a,-filter-b,-filter-c,-filter-function", []),
    ],
)
def test_only_and_skip(text: str, expected: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    manager = all_of_it()
    with selected(text):
        assert runs(manager) == expected
    assert runs(manager) == EVERYTHING
    monkeypatch.setenv("PASSPRINT_PASSES", text)
    assert runs(manager) == expected
    # a block stands in for the environment
    with selected():
        assert runs(manager) == EVERYTHING


def test_a_selection_has_the_identity_of_what_it_runs() -> None:
    manager = all_of_it()
    whole = manager.uuid()
    seen = {whole}
    for text in ("-filter-b", "-filter-a", "-filter-a#2", "-filter-c", "filter-c"):
        with selected(text):
            uuid = manager.uuid()
            assert uuid == manager.identity().digest == manager.uuid()
            assert uuid not in seen
            seen.add(uuid)
    with selected("-filter-a#3,-filter-x-nowhere"), pytest.warns(SelectionWarning):
        assert manager.uuid() == whole
    reduced = PassManager([PassManager([FilterA(2)]), FixedPoint([FilterC()]), filter_function])
    expected = reduced.uuid()
    with selected("-filter-a#1,-filter-b"):
        assert manager.uuid() == expected
    assert manager.uuid() == whole


def test_the_environment_counts_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    manager = all_of_it()
    before = manager.uuid()
    monkeypatch.setenv("PASSPRINT_PASSES", "-filter-b")
    assert manager.uuid() != before
    monkeypatch.setenv("PASSPRINT_PASSES", "")
    assert manager.uuid() == before


def test_each_hook_counts_its_own_passes() -> None:
    text = "pre-grad(filter-a,filter-b),post-grad-post(filter-a,filter-a{step=2})"
    manager = PassManager.parse(text)
    pre, post = manager
    with selected("-filter-a#2"):
        assert [runs(pre), runs(post)] == [["filter-a", "filter-b"], ["filter-a"]]
        selected_uuid = manager.uuid()
    assert selected_uuid == PassManager.parse("pre-grad(filter-a,filter-b),post-grad-post(filter-a)").uuid()
    assert selected_uuid != manager.uuid()


@pytest.mark.parametrize("text", ["filter_a!", "--filter-a", "-filter-a#0", "filter-a#", "a{b=1}"])
def test_what_cannot_be_read_is_pointed_at(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PipelineError) as caught, selected(f"filter-a,{text}"):
        pass
    assert str(caught.value).splitlines()[1:] == [f"  filter-a,{text}", "  " + " " * 9 + "^" * len(text)]
    monkeypatch.setenv("PASSPRINT_PASSES", text)
    with pytest.raises(PipelineError, match=r"^PASSPRINT_PASSES: .*is no such name"):
        all_of_it().uuid()


def test_a_name_that_is_nowhere_is_a_warning_with_the_nearest() -> None:
    with selected("-filter-bb"), pytest.warns(SelectionWarning, match="'filter-bb'.*did you mean 'filter-b'"):
        assert runs(all_of_it()) == EVERYTHING


def test_threads_select_for_themselves() -> None:
    found: list[list[str]] = []
    with selected("filter-c"):
        thread = threading.Thread(target=lambda: found.append(runs(all_of_it())))
        thread.start()
        thread.join()
    assert found == [EVERYTHING]


def test_instruments_are_told_what_is_left_out() -> None:
    class Listens(Instrument):
        def __init__(self) -> None:
            self.skipped: list[tuple[str, str]] = []

        def on_skip(self, pass_: Any, reason: str, run: Any) -> None:
            self.skipped.append((str(pass_), reason))

    listens = Listens()
    manager = PassManager([FilterA(), FilterB()], instruments=[listens])
    with selected("-filter-b"):
        assert runs(manager) == ["filter-a"]
    assert listens.skipped == [("filter-b", "it is not selected")]


_COMPILES = """
import sys, torch, passprint

with torch.no_grad(), passprint.selected(sys.argv[2] or None):
    compiled = passprint.compile(torch.nn.Linear(4, 4), cache=sys.argv[1])
    compiled(torch.randn(2, 4))
print(compiled.report.status, "noop-elimination" in compiled.report.matches)
"""


def test_a_warm_start_of_the_default_pipeline_sees_the_selection(tmp_path: Path) -> None:
    """Each in a process of its own, in which nobody has imported the default pipeline before."""
    seen = []
    for text in ("", "-noop-elimination", ""):
        command = [sys.executable, "-c", _COMPILES, str(tmp_path), text]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
        seen.append(done.stdout.split())
    assert seen == [["cold", "True"], ["cold", "False"], ["warm", "True"]]
