"""Hooks that take no graph, in real compiles: the scheduler's, before and after fusion, and the partitioner."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from tests.pipeline.hooks import A, B, Log, SwapProducts, compiled, empty_caches, product, train
from torch._functorch.partitioners import default_partition, min_cut_rematerialization_partition
from torch._inductor.custom_graph_pass import CustomPartitionerFn
from torch.fx import GraphModule

from passprint import PassError
from passprint.passes import CompileRange, Partitioner, SchedulerPass, pass_context
from passprint.pipeline import PassManager

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
