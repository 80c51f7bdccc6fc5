from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from tests.pipeline.instruments.graphs import NegToSub, Nothing, RaisesKeyError, ReluToClamp, chain
from torch.fx import Graph

from passprint import CompileRange, InductorPass, PassError, PassManager, PipelineError, pass_context
from passprint.instruments import (
    Draw,
    Dump,
    Instrument,
    Numerics,
    PassRun,
    PipelineRun,
    Rewrite,
    Statistics,
    Timing,
    Verify,
    instruments_from_text,
)
from passprint.passes import graph_pass
from passprint.pipeline.instruments.session import active


class Log(Instrument):
    """Writes down all that it hears."""

    def __init__(self, mark: str = "") -> None:
        self.heard: list[str] = []
        self.mark = mark
        self.runs: list[PassRun] = []

    def before_pipeline(self, run: PipelineRun) -> None:
        self.heard.append(f"{self.mark}before pipeline {run.depth}")

    def after_pipeline(self, run: PipelineRun) -> None:
        self.heard.append(f"{self.mark}after pipeline {run.depth}")

    def before_pass(self, run: PassRun) -> None:
        self.heard.append(f"{self.mark}before {run.name} {run.position}")

    def after_pass(self, run: PassRun) -> None:
        self.heard.append(f"{self.mark}after {run.name}")
        self.runs.append(run)

    def before_rewrite(self, run: PassRun, rewrite: Rewrite) -> None:
        self.heard.append(f"{self.mark}before rewrite {rewrite.number} of {rewrite.node.name}")

    def after_rewrite(self, run: PassRun, rewrite: Rewrite) -> None:
        self.heard.append(f"{self.mark}after rewrite {rewrite.number} by {rewrite.pattern}")

    def on_skip(self, pass_: Any, reason: str, run: PipelineRun) -> None:
        self.heard.append(f"{self.mark}skipped {pass_.name}: {reason}")

    def on_error(self, run: PassRun, error: Exception) -> None:
        self.heard.append(f"{self.mark}error in {run.name}: {error.__class__.__name__}")


class Small(InductorPass):
    def __call__(self, graph: Graph) -> None:
        raise AssertionError("must be left out")

    def is_applicable_for_range(self, compile_range: CompileRange) -> bool:
        return False


def test_callbacks_in_order_with_nesting() -> None:
    log = Log()
    PassManager([Nothing(), PassManager([NegToSub()])], instruments=[log])(chain(1))
    assert log.heard == [
        "before pipeline 0",
        "before nothing 0",
        "after nothing",
        "before pipeline 1",
        "before neg-to-sub 1",
        "after rewrite 1 by None",
        "after neg-to-sub",
        "after pipeline 1",
        "after pipeline 0",
    ]


def test_what_is_known_after_a_pass() -> None:
    log = Log()
    PassManager([Nothing(), NegToSub(), ReluToClamp()], instruments=[log])(chain(2))
    nothing, neg, relu = log.runs
    assert (nothing.changed, nothing.rewrites, nothing.seconds > 0) == (False, 0, True)
    assert (neg.changed, neg.rewrites, neg.nodes_before, neg.nodes_after) == (True, 1, 5, 5)
    assert (relu.rewrites, relu.patterns) == (2, {"relu": 2})
    assert len({run.graph_id for run in log.runs}) == 1


def test_patterns_are_seen_before_and_after_each_rewrite() -> None:
    log = Log()
    PassManager([ReluToClamp()], instruments=[log])(chain(2))
    assert [line for line in log.heard if "rewrite" in line] == [
        "before rewrite 1 of relu_1",
        "after rewrite 1 by relu",
        "before rewrite 2 of relu",
        "after rewrite 2 by relu",
    ]


def test_several_are_told_in_order_and_after_in_the_opposite_one() -> None:
    one, two = Log("1 "), Log("2 ")
    order: list[str] = []
    one.heard = two.heard = order
    PassManager([Nothing()], instruments=[one, two])(chain())
    assert order[:2] == ["1 before pipeline 0", "2 before pipeline 0"]
    assert order[-2:] == ["2 after pipeline 0", "1 after pipeline 0"]


def test_an_instrument_of_a_nested_manager_hears_only_that_one() -> None:
    inner, outer = Log(), Log()
    PassManager([Nothing(), PassManager([NegToSub()], instruments=[inner])], instruments=[outer])(chain())
    assert [line for line in inner.heard if line.startswith("before ")] == [
        "before pipeline 1",
        "before neg-to-sub 1",
    ]
    assert "before neg-to-sub 1" in outer.heard


def test_the_same_instrument_twice_is_told_once() -> None:
    log = Log()
    PassManager([PassManager([Nothing()], instruments=[log])], instruments=[log])(chain())
    assert log.heard.count("before nothing 0") == 1


def test_skip_and_error() -> None:
    log = Log()
    with pytest.raises(PassError), pass_context(CompileRange(1, 2)):
        PassManager([Small(), RaisesKeyError()], instruments=[log])(chain())
    assert "skipped small: it does not apply to sizes [1, 2]" in log.heard
    assert log.heard[-1] == "error in raises-key-error: PassError"
    assert "after pipeline 0" not in log.heard
    assert active.get() is None


def test_an_instrument_may_stop_the_pipeline_and_all_hear_of_it() -> None:
    class Stops(Instrument):
        def after_pass(self, run: PassRun) -> None:
            raise PassError("no", pass_name=run.name)

    log = Log()
    with pytest.raises(PassError, match="no"):
        PassManager([Nothing()], instruments=[log, Stops()])(chain())
    assert log.heard[-1] == "error in nothing: PassError"


def test_threads_do_not_hear_one_another() -> None:
    log, other = Log(), PassManager([NegToSub()])

    class RunsAnother(InductorPass):
        def __call__(self, graph: Graph) -> None:
            thread = threading.Thread(target=other, args=(chain(),))
            thread.start()
            thread.join()

    PassManager([RunsAnother()], instruments=[log])(chain())
    assert not any("neg-to-sub" in line for line in log.heard)


def test_those_that_only_watch_are_no_part_of_the_identity() -> None:
    plain = PassManager([NegToSub()])
    watched = PassManager([NegToSub()], instruments=[Log(), Statistics()])
    assert watched.uuid() == plain.uuid()
    watched(chain())
    assert watched.uuid() == plain.uuid()


def test_one_that_changes_the_graph_is() -> None:
    class Edits(Instrument):
        changes_graph: ClassVar[bool] = True

        def __init__(self, level: int) -> None:
            self.level = level

    plain, edited = PassManager([NegToSub()]), PassManager([NegToSub()], instruments=[Edits(1)])
    assert edited.uuid() not in (None, plain.uuid())
    assert edited.uuid() == edited.identity().digest
    assert PassManager([NegToSub()], instruments=[Edits(2)]).uuid() != edited.uuid()
    assert PassManager([NegToSub()], instruments=[Edits(1)]).uuid() == edited.uuid()


def test_from_the_environment(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PASSPRINT_INSTRUMENTS", "statistics,timing")
    manager = PassManager([NegToSub()])
    uuid = PassManager([NegToSub()]).uuid()
    manager(chain())
    assert manager.uuid() == uuid
    monkeypatch.setenv("PASSPRINT_INSTRUMENTS", "")
    manager(chain())  # another text: the ones before are closed, which is when they report
    written = capsys.readouterr().err
    assert "neg-to-sub" in written
    assert "ms" in written


@pytest.mark.parametrize(
    ("text", "shown", "complaint"),
    [
        ("verify,timings", "verify,timings\n       ^^^^^^^", "did you mean 'timing'"),
        ("timing timing", "timing timing\n       ^", "a comma was"),
        ("timing,,verify", "timing,,verify\n       ^", "name of an instrument was expected"),
        ("dump{passs='a'}", "dump{passs='a'}\n     ^^^^^", "'passs'; did you mean 'passes'"),
        ("verify{repeat=}", "verify{repeat=}\n              ^", "cannot be read"),
        ("verify{repeat=yes}", "verify{repeat=yes}\n              ^^^", "literal"),
        ("dump{passes}", "dump{passes}\n     ^^^^^^", "key=value"),
        ("dump{folder=3}", "dump{folder=3}\n^^^^^^^^^^^^^^", "does not take these options: "),
        ("verify{", "verify{\n      ^", "this brace is not closed"),
    ],
)
def test_a_mistake_in_the_text_is_told(text: str, shown: str, complaint: str) -> None:
    with pytest.raises(PipelineError) as caught:
        instruments_from_text(text)
    problem, line, carets = str(caught.value).split("\n")
    assert complaint in problem
    assert [line[2:], carets[2:]] == shown.split("\n")


def test_a_mistake_in_the_environment_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PASSPRINT_INSTRUMENTS", "verfy")
    with pytest.raises(PipelineError, match=r"^PASSPRINT_INSTRUMENTS: .*'verfy'; did you mean 'verify'"):
        PassManager([Nothing()])(chain(1))


def test_options_in_the_text(tmp_path: Any) -> None:
    first, second = instruments_from_text(f"verify{{repeat=True}}, dump{{folder={str(tmp_path)!r}}}")
    assert str(first) == "verify{functional=True,repeat=True}"
    assert second.name == "dump"
    assert [
        one.name for one in instruments_from_text("numerics{tolerances={torch.float32: (0.1, 0.1)}},")
    ] == ["numerics"]


@pytest.mark.parametrize("wrong", [Statistics, "a pass", 3])
def test_what_is_no_instrument_is_refused(wrong: Any) -> None:
    with pytest.raises(PipelineError):
        PassManager([Nothing()], instruments=[wrong])


def watched_within(*instruments: Instrument, passes: Iterable[InductorPass]) -> None:
    """Run passes in a manager with these instruments, inside another one that is watched by others."""
    inner = PassManager(passes, instruments=instruments)
    PassManager([Nothing(), inner, inner], instruments=[Timing()])(chain())


@graph_pass
def relu_as_sigmoid(graph: Graph) -> None:
    for node in graph.find_nodes(op="call_function", target=torch.ops.aten.relu.default):
        node.target = torch.ops.aten.sigmoid.default


def test_instruments_of_a_manager_within_one_that_others_watch(tmp_path: Path) -> None:
    with pytest.raises(PassError, match="'relu-as-sigmoid' changed the results"):
        watched_within(Numerics(), passes=[NegToSub(), relu_as_sigmoid])
    watched_within(Draw(tmp_path), Dump(tmp_path), passes=[NegToSub(), relu_as_sigmoid])
    page = (tmp_path / "pipeline.html").read_text()
    assert page.count(">neg-to-sub<") == 1
    assert page.count("<h2>") == 2
    assert len(list(tmp_path.glob("graph*/00-input.txt"))) == 1


def test_a_sound_pass_of_a_manager_within_another_is_left_alone() -> None:
    watched_within(Verify(), Numerics(), passes=[NegToSub()])
