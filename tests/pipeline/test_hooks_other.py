"""Hooks that take no graph, in real compiles: the scheduler's, before and after fusion, and the partitioner."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.pipeline.hooks import A, B, Log, SwapProducts, compiled, empty_caches, product, train
from torch._functorch.partitioners import default_partition, min_cut_rematerialization_partition
from torch._inductor.custom_graph_pass import CustomPartitionerFn
from torch.fx import GraphModule

from passprint import PassError
from passprint.instruments import Dump, Instrument, PassRun, PipelineRun, Statistics, Timing, Verify
from passprint.passes import CompileRange, Partitioner, SchedulerPass, pass_context
from passprint.pipeline import PassManager, selected

seen = Log()
SCHEDULER_HOOKS = ["scheduler_pre", "scheduler_post"]


class ReverseNodes(SchedulerPass):
    """The nodes of `two_products` depend on nothing but its arguments, so that any order is valid."""

    version: int = 1

    def __call__(self, nodes: list[Any]) -> list[Any]:
        return nodes[::-1]


class SeeNodes(SchedulerPass):
    def __call__(self, nodes: list[Any]) -> list[Any]:
        seen.append([node.get_name() for node in nodes])
        return nodes


class LosesNodes(SchedulerPass):
    def __call__(self, nodes: list[Any]) -> list[Any]:
        return None  # type: ignore[return-value]


class WithoutIdentity(SeeNodes):
    def uuid(self) -> None:
        return None


class SaveEverything(Partitioner):
    """Saves what the backward needs and computes nothing twice."""

    version: int = 1

    def __call__(
        self, gm: GraphModule, joint_inputs: Sequence[object], **kwargs: Any
    ) -> tuple[GraphModule, GraphModule]:
        seen.append("cut")
        kwargs.pop("compiler", None)
        return default_partition(gm, joint_inputs, **kwargs)


class CutsWithoutIdentity(SaveEverything):
    def uuid(self) -> None:
        return None


class CutsNothing(SaveEverything):
    def __call__(self, gm: GraphModule, joint_inputs: Sequence[object], **kwargs: Any) -> Any:
        return gm


class TheirCut(CustomPartitionerFn):
    def __call__(self, gm: Any, joint_inputs: Any, **kwargs: Any) -> Any:
        return min_cut_rematerialization_partition(gm, joint_inputs, **kwargs)

    def uuid(self) -> Any:
        return "theirs"


@pytest.fixture(autouse=True)
def caches() -> Iterator[None]:
    seen.clear()
    with empty_caches():
        yield


def two_products(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.mm(x, y), torch.mm(y, x)


def outcome_of(*passes: Any, hook: str) -> str:
    result, outcome = compiled(two_products, PassManager(passes, hook=hook), A, B)
    torch.testing.assert_close(result, (A @ B, B @ A))
    return outcome


@pytest.mark.parametrize("hook", SCHEDULER_HOOKS)
def test_a_scheduler_pipeline_is_given_the_nodes_and_is_cached_by_its_uuid(hook: str) -> None:
    with pass_context(CompileRange.any()) as context:
        assert outcome_of(SeeNodes(), ReverseNodes(), SeeNodes(), hook=hook) == "miss"
    assert len(seen[0]) == 2
    assert seen[1] == seen[0][::-1]
    assert context.matches == {"see-nodes": 0, "reverse-nodes": 1}
    assert outcome_of(SeeNodes(), ReverseNodes(), SeeNodes(), hook=hook) == "hit"
    assert len(seen) == 2
    assert outcome_of(SeeNodes(), ReverseNodes(version=2), SeeNodes(), hook=hook) == "miss"
    assert outcome_of(SeeNodes(), hook=hook) == "miss"
    assert compiled(two_products, None, A, B)[1] == "miss"


@pytest.mark.parametrize("hook", SCHEDULER_HOOKS)
def test_a_scheduler_pipeline_without_identity_runs_and_is_not_cached(hook: str) -> None:
    for _ in range(2):
        assert outcome_of(WithoutIdentity(), hook=hook) == "bypass"
    assert len(seen) == 2
    with pytest.raises(pickle.PicklingError, match="no identity"):
        pickle.dumps(next(iter(PassManager([WithoutIdentity()], hook=hook).options().values())))


class SmallOnly(ReverseNodes):
    def is_applicable_for_range(self, compile_range: CompileRange) -> bool:
        return False


class Hears(Instrument):
    beyond_graphs = True

    def __init__(self) -> None:
        self.told: list[str] = []

    def before_pass(self, run: PassRun) -> None:
        self.told.append(f"before {run.name}")

    def on_skip(self, pass_: Any, reason: str, run: PipelineRun) -> None:
        self.told.append(f"skipped {pass_.name} at {run.hook}: {reason}")

    def on_error(self, run: PassRun, error: Exception) -> None:
        self.told.append(f"error in {run.name}")


class HearsGraphsOnly(Hears):
    beyond_graphs = False


@pytest.mark.parametrize("hook", SCHEDULER_HOOKS)
def test_instruments_see_passes_over_the_scheduler(hook: str, tmp_path: Path) -> None:
    timing, statistics, hears, not_here = Timing(), Statistics(), Hears(), HearsGraphsOnly()
    heard = [timing, statistics, Dump(tmp_path), hears, not_here, Verify()]
    manager = PassManager([SmallOnly(), SeeNodes(), ReverseNodes()], hook=hook, instruments=heard)
    compiled(two_products, manager, A, B)
    reverse, see = statistics.passes["reverse-nodes"], statistics.passes["see-nodes"]
    assert (reverse.runs, reverse.changed, reverse.rewrites, reverse.nodes_after) == (1, 1, 1, 2)
    assert (see.runs, see.changed, see.nodes_before) == (1, 0, 2)
    assert [part.name for part in timing.graphs[0].parts.values()] == ["see-nodes", "reverse-nodes"]
    assert hears.told == [
        f"skipped small-only at {hook}: it does not apply to sizes {CompileRange.any()}",
        "before see-nodes",
        "before reverse-nodes",
    ]
    assert not_here.told == []
    diff = next(tmp_path.rglob("02-reverse-nodes.diff")).read_text()
    assert (
        len([line for line in diff.splitlines()[2:] if line.startswith(("+op", "-op", "+buf", "-buf"))]) == 2
    )
    assert "mm" in next(tmp_path.rglob("00-input.txt")).read_text()


def test_instruments_are_told_of_a_scheduler_pass_that_fails_and_of_one_not_selected() -> None:
    hears = Hears()
    manager = PassManager([SeeNodes(), LosesNodes()], hook="scheduler_pre", instruments=[hears])
    with selected("-see-nodes"), pytest.raises(PassError, match="loses-nodes"):
        manager.run_on_nodes([])
    assert hears.told[1:] == ["before loses-nodes", "error in loses-nodes"]
    assert hears.told[0].startswith("skipped see-nodes at scheduler_pre: it is not selected")


def test_a_limit_holds_back_scheduler_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    class Node:
        def get_name(self) -> str:
            return "node"

    nodes = [Node(), Node()]
    manager = PassManager([ReverseNodes(), SeeNodes(), ReverseNodes(version=2)], hook="scheduler_pre")
    assert manager.run_on_nodes(nodes) == nodes
    for limit, expected in (("0", nodes), ("1", nodes[::-1]), ("2", nodes), ("passes=1", nodes[::-1])):
        monkeypatch.setenv("PASSPRINT_LIMIT", limit)
        assert manager.run_on_nodes(list(nodes)) == expected


def test_instruments_see_the_partitioner(tmp_path: Path) -> None:
    statistics = Statistics()
    manager = PassManager([SaveEverything()], hook="partitioner", instruments=[statistics, Dump(tmp_path)])
    train(product, manager)
    cut = statistics.passes["save-everything"]
    assert (cut.runs, cut.rewrites) == (1, 1)
    assert cut.nodes_before > 0
    assert "# backward" in next(tmp_path.rglob("01-save-everything.txt")).read_text()


def test_a_broken_scheduler_pass_is_named() -> None:
    with pytest.raises(Exception, match=r"loses-nodes.*returned a NoneType"):
        outcome_of(LosesNodes(), hook="scheduler_pre")


def cut(manager: PassManager | None) -> str:
    result, grad, outcome = train(product, manager)
    torch.testing.assert_close((result, grad), (A @ B, torch.ones(3, 3) @ B.T))
    return outcome


def test_a_partitioner_cuts_what_trains_and_is_cached_by_its_uuid() -> None:
    manager = PassManager([SaveEverything()], hook="partitioner")
    assert cut(manager) == "miss"
    assert seen == ["cut"]
    assert cut(PassManager([SaveEverything()], hook="partitioner")) == "hit"
    assert seen == ["cut"]
    assert cut(PassManager([SaveEverything(version=2)], hook="partitioner")) == "miss"
    assert cut(PassManager([TheirCut()], hook="partitioner")) == "miss"
    assert cut(PassManager([], hook="partitioner")) == "miss"
    assert cut(None) == "miss"
    compiled(product, manager, A, B)
    assert seen == ["cut"] * 2


def test_a_partitioner_without_identity_runs_and_is_not_cached() -> None:
    manager = PassManager([CutsWithoutIdentity()], hook="partitioner")
    assert [cut(manager) for _ in range(2)] == ["bypass", "bypass"]
    assert seen == ["cut", "cut"]


def test_a_broken_partitioner_is_named() -> None:
    with pytest.raises(Exception, match="cuts-nothing") as caught:
        cut(PassManager([CutsNothing()], hook="partitioner"))
    assert not isinstance(caught.value, PassError) or caught.value.pass_name == "cuts-nothing"


def test_one_pipeline_over_graphs_partitioner_and_scheduler() -> None:
    text = "joint-pre(swap-products),partitioner(save-everything),post-grad-post(),scheduler-pre(see-nodes)"
    manager = PassManager.parse(text)
    assert [stage.passes for stage in manager] == [(SwapProducts(),), (SaveEverything(),), (), (SeeNodes(),)]
    result, _, outcome = train(product, manager)
    torch.testing.assert_close(result, B @ A)
    assert outcome == "miss"
    assert seen[0] == "cut"
    assert len(seen) == 3  # and the scheduler, for forward and backward
    assert train(product, PassManager.parse(text))[2] == "hit"
    with manager.mounted():
        assert train(product)[2] == "hit"
