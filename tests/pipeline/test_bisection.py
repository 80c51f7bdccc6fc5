"""Finding the pass and the rewrite: the search by itself, and on real pipelines."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.pipeline.instruments.graphs import Nothing, aten, chain
from torch import Tensor
from torch.fx import Graph

from passprint import InductorPass, PassManager, PipelineError
from passprint.instruments import Verify
from passprint.passes import CompileRange, Pattern, PatternPass, get_pass_context, may_rewrite, pass_context
from passprint.pipeline import FixedPoint
from passprint.pipeline.bisection import Bisection, Trial, bisect, bisect_command, largest_number_of_runs
from passprint.pipeline.limits import Limit, environment_limit
from passprint.testing import capture_graphs


class Simulated:
    """A pipeline with so many rewrites in each pass run, of which one does harm."""

    def __init__(self, rewrites: Sequence[int], harm: tuple[int, int], can_stop: bool = True) -> None:
        self.rewrites = rewrites
        self.harm = harm
        self.can_stop = can_stop
        self.runs: list[str] = []

    def __call__(self, text: str) -> Trial:
        self.runs.append(text)
        limit = Limit.parse(text)
        passes: list[dict[str, Any]] = []
        made: list[dict[str, Any]] = []
        good = True
        for run, count in enumerate(self.rewrites):
            if not limit.begin_pass():
                break
            allowed = count if limit.remaining is None else min(count, limit.remaining)
            if not self.can_stop and allowed < count:
                continue
            for number in range(1, allowed + 1):
                node = f"node {run}.{number}"
                made.append({"rewrite": number, "run": len(passes), "pattern": None, "node": node})
                good = good and (run, number) != self.harm
            passes.append({"pass": f"pass-{run}", "graph": 0, "rewrites": allowed})
        return Trial(good, passes, made)


@pytest.mark.parametrize("harm", [(0, 1), (0, 7), (2, 1), (2, 100), (4, 64), (9, 3)])
def test_the_one_rewrite_among_many(harm: tuple[int, int]) -> None:
    simulated = Simulated([7, 1, 100, 2, 64, 0, 5, 5, 1, 3], harm)
    told: list[str] = []
    culprit = Bisection(simulated, told.append).find()
    assert (culprit.pass_name, culprit.position - 1, culprit.rewrite) == (f"pass-{harm[0]}", *harm)
    assert culprit.node == f"node {harm[0]}.{harm[1]}"
    assert culprit.runs == len(simulated.runs) == len(told) == len(set(simulated.runs))
    assert culprit.runs <= largest_number_of_runs(10, simulated.rewrites[harm[0]])
    assert not simulated(culprit.fails_with).good
    assert simulated(culprit.works_with).good


def test_runs_grow_with_the_logarithm() -> None:
    few, many = (Bisection(Simulated([1] * count, (count // 3, 1))).find().runs for count in (16, 1024))
    assert many - few <= 6


def test_a_pass_that_cannot_stop_half_way() -> None:
    culprit = Bisection(Simulated([3, 8, 2], (1, 5), can_stop=False)).find()
    assert (culprit.pass_name, culprit.rewrite) == ("pass-1", None)
    assert culprit.works_with == "passes=1"
    assert "no single rewrite" in str(culprit)


def test_nothing_to_find() -> None:
    with pytest.raises(PipelineError, match="nothing fails"):
        Bisection(Simulated([1], (5, 5))).find()
    with pytest.raises(PipelineError, match="no pass ran"):
        Bisection(lambda text: Trial(False, [], [])).find()
    with pytest.raises(PipelineError, match="without any pass"):
        Bisection(lambda text: Trial(False, [{"pass": "a", "graph": 0, "rewrites": 0}], [])).find()


def test_a_run_that_fails_by_itself_says_how(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("assert 1 == 2, 'the wrong tokens'\n")
    with pytest.raises(PipelineError, match=r"no pass ran.* ended with: AssertionError: the wrong tokens"):
        bisect_command([sys.executable, str(script)])


@pytest.mark.parametrize("text", ["", "x", "-1", "passes=", "rewrites=3", "passes=1,rewrites=", "1,2"])
def test_what_is_no_limit(text: str) -> None:
    with pytest.raises(PipelineError, match="is no limit"):
        Limit.parse(text)


class Tanh(PatternPass):
    """One pattern is right and one is wrong, for one place only."""

    def patterns(self) -> list[Pattern]:
        wrong = Pattern("wrong", _tanh, _off, [torch.empty(2, 3)], check=_is_special)
        return [Pattern("right", _sin, _same_sin, [torch.empty(2, 3)]), wrong]


def _sin(x: Tensor) -> Tensor:
    return torch.sin(x)


def _same_sin(x: Tensor) -> Tensor:
    return torch.sin(x) * 1.0


def _tanh(x: Tensor) -> Tensor:
    return torch.tanh(x)


def _off(x: Tensor) -> Tensor:
    return torch.tanh(x) + 0.01


def _is_special(match: Any) -> bool:
    return bool(match.output_node().args[0].target is aten.exp.default)


def fn(x: Tensor) -> Tensor:
    x = torch.sin(torch.sin(torch.sin(x)))
    return torch.tanh(x) + torch.tanh(torch.exp(x))


def test_in_this_process() -> None:
    x = torch.randn(2, 3)
    manager = PassManager([Nothing(), Tanh()])

    def check() -> None:
        torch.testing.assert_close(capture_graphs(fn, (x,), pipeline=manager).result, fn(x))

    culprit = bisect(check)
    assert (culprit.pass_name, culprit.pattern, culprit.rewrite) == ("tanh", "wrong", 4)
    assert culprit.graph == 0, "of the check, whatever this process compiled before"
    assert culprit.node is not None
    assert "aten.tanh.default(exp)" in culprit.node
    assert manager.uuid() is not None


def test_a_check_that_compiles_once_is_told_so() -> None:
    x, results = torch.randn(2, 3), []

    def check() -> None:
        if not results:
            results.append(capture_graphs(fn, (x,), pipeline=PassManager([Tanh()])).result)
        torch.testing.assert_close(results[0], fn(x))

    with pytest.raises(PipelineError, match="compile anew each time"):
        bisect(check)


@pytest.mark.parametrize("limit", ["passes=3", "passes=3,rewrites=1"])
def test_a_limit_over_the_process_takes_the_identity_away(
    limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = PassManager([Nothing()])
    assert manager.uuid() is not None
    monkeypatch.setenv("PASSPRINT_LIMIT", limit)
    assert manager.uuid() is None
    with pytest.raises(PipelineError, match="nothing is cached"):
        manager.identity()


def test_a_limit_for_each_graph_is_part_of_the_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    spanning = "pre-grad(nothing),post-grad-post((nothing),fixed-point{nothing})"
    for manager in (PassManager([Nothing()]), PassManager.parse(spanning)):
        monkeypatch.delenv("PASSPRINT_LIMIT", raising=False)
        plain = manager.uuid()
        found = {}
        for limit in ("3", "4", " 3 ", "0"):
            monkeypatch.setenv("PASSPRINT_LIMIT", limit)
            found[limit] = manager.uuid()
            assert found[limit] == manager.identity().digest == manager.uuid()
        assert found["3"] == found[" 3 "]
        assert len({plain, *found.values()}) == 4
        monkeypatch.setenv("PASSPRINT_LIMIT", "")
        assert manager.uuid() == plain
        monkeypatch.delenv("PASSPRINT_LIMIT")
        assert manager.uuid() == plain


def test_what_differs_by_a_limit_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    manager = PassManager([Nothing()])
    whole = manager.identity()
    monkeypatch.setenv("PASSPRINT_LIMIT", "3")
    (change,) = manager.identity().diff(whole)
    assert "limit" in str(change.path)


def test_every_graph_has_the_limit_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PASSPRINT_LIMIT", "3")
    manager = PassManager([AsksEach(), FixedPoint([AsksNegations()])])
    for _ in range(2):
        graph = chain(2)
        manager(graph)
        assert len(graph.find_nodes(op="call_function", target=aten.clamp_min.default)) == 2
        assert len(graph.find_nodes(op="call_function", target=aten.abs.default)) == 1


class AsksEach(InductorPass):
    """Every relu becomes a clamp; asks before each."""

    asks_before_rewrites = True

    def __call__(self, graph: Graph) -> None:
        for node in graph.find_nodes(op="call_function", target=aten.relu.default):
            if may_rewrite(node):
                node.target = aten.clamp_min.default
                node.args = (*node.args, 0)


class AsksNegations(InductorPass):
    """Every neg becomes an abs; asks before each."""

    asks_before_rewrites = True

    def __call__(self, graph: Graph) -> None:
        for node in graph.find_nodes(op="call_function", target=aten.neg.default):
            if may_rewrite(node):
                node.target = aten.abs.default


class AsksNot(AsksEach):
    asks_before_rewrites = False

    def __call__(self, graph: Graph) -> None:
        for node in graph.find_nodes(op="call_function", target=aten.relu.default):
            node.target = aten.clamp_min.default
            node.args = (*node.args, 0)


@pytest.mark.parametrize(
    ("pass_", "limit", "made"),
    [
        (AsksEach(), "2", 2),
        (AsksEach(), "passes=1", 5),
        (AsksEach(), "passes=1,rewrites=0", 0),
        (AsksNot(), "4", 0),
        (AsksNot(), "5", 5),
        (AsksNot(), "passes=0", 0),
    ],
)
def test_limits(pass_: InductorPass, limit: str, made: int, monkeypatch: pytest.MonkeyPatch) -> None:
    environment_limit.forget()
    monkeypatch.setenv("PASSPRINT_LIMIT", limit)
    graph = chain(5)
    PassManager([pass_])(graph)
    assert len(graph.find_nodes(op="call_function", target=aten.clamp_min.default)) == made


class AsksOfItsCompile(AsksNot):
    """Looks at what it may know of the compile that it runs in."""

    def __call__(self, graph: Graph) -> None:
        context = get_pass_context()
        if context.compile_range == CompileRange(1, 8) and context.is_inference:
            super().__call__(graph)


def test_a_pass_is_tried_in_the_context_in_which_it_will_run(monkeypatch: pytest.MonkeyPatch) -> None:
    manager = PassManager([AsksOfItsCompile()], instruments=[Verify(repeat=True)])
    for limit, made in (("4", 0), ("5", 5)):
        monkeypatch.setenv("PASSPRINT_LIMIT", limit)
        graph = chain(5)
        with pass_context(CompileRange(1, 8)):
            manager.run(graph, is_inference=True)
        assert len(graph.find_nodes(op="call_function", target=aten.clamp_min.default)) == made


_SCRIPT = """
import json, os, re
limit = re.fullmatch(r"passes=(\\d+)(?:,rewrites=(\\d+))?", os.environ["PASSPRINT_LIMIT"])
trail = re.fullmatch(r"trail\\{file='(.*)'\\}", os.environ["PASSPRINT_INSTRUMENTS"]).group(1)
passes, rewrites = min(int(limit[1]), 2), int(limit[2] or 5) if limit[1] == "2" else 5
with open(trail, "a") as stream:
    for run in range(passes):
        count = rewrites if run == 1 else 1
        for number in range(1, count + 1):
            entry = {"rewrite": number, "run": run, "pass": f"pass-{run}", "pattern": "p", "node": f"node {number}"}
            stream.write(json.dumps(entry) + "\\n")
        stream.write(json.dumps({"pass": f"pass-{run}", "graph": 3, "rewrites": count}) + "\\n")
raise SystemExit(passes == 2 and rewrites >= 4)
"""


def test_the_command(tmp_path: Path) -> None:
    """On a script that does without torch what the instrument and the limit do, which saves starting it ten times."""
    script = tmp_path / "script.py"
    script.write_text(_SCRIPT)
    run = "import sys; from passprint.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", run, "bisect", str(script)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PASSPRINT_INSTRUMENTS": ""},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "run 1: all passes: fails" in done.stdout
    assert "pass-1 (run 2 of 2 pass runs, graph 3)" in done.stdout
    assert "rewrite 4 of 5 by the pattern 'p': node 4" in done.stdout
