"""Checks and drawings of what is given no graph: passes over the scheduler's nodes, and the partitioner."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tests.pipeline.beyond_graphs import (
    CutRaises,
    CutsOutOfOrder,
    CutsWell,
    DropsTheFirstNode,
    LeavesNodes,
    RaisesOnNodes,
    RepeatsTheLastNode,
    TurnsNodesRound,
    failure,
)
from tests.pipeline.hooks import A, B, compiled, empty_caches, product, train

from passprint.instruments import Draw, Instrument, NotFollowedWarning, Numerics, Verify
from passprint.passes import Partitioner, SchedulerPass
from passprint.pipeline import PassManager

SCHEDULER_HOOKS = ["scheduler_pre", "scheduler_post"]


@pytest.fixture(autouse=True)
def caches() -> Iterator[None]:
    with empty_caches():
        yield


def chain(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.mm(torch.mm(x, y), y)


@pytest.mark.parametrize("hook", SCHEDULER_HOOKS)
@pytest.mark.parametrize(
    ("pass_", "reason"),
    [
        (TurnsNodesRound(), "needs 'buf0', which 'op0' makes after it"),
        (DropsTheFirstNode(), "the operation 'op0' was lost"),
        (RepeatsTheLastNode(), "the operation 'op1' is there 2 times"),
        (RaisesOnNodes(), "KeyError: 'buf7'"),
    ],
)
def test_a_pass_that_spoils_the_schedule_is_named(hook: str, pass_: SchedulerPass, reason: str) -> None:
    manager = PassManager([LeavesNodes(), pass_], hook=hook, instruments=[Verify()])
    error = failure(manager, lambda manager: compiled(chain, manager, A, B))
    assert error.pass_name == pass_.name
    assert reason in error.reason


@pytest.mark.parametrize("hook", SCHEDULER_HOOKS)
def test_a_sound_schedule_passes(hook: str) -> None:
    manager = PassManager([LeavesNodes()], hook=hook, instruments=[Verify(repeat=True)])
    torch.testing.assert_close(compiled(chain, manager, A, B)[0], A @ B @ B)


@pytest.mark.parametrize(
    ("pass_", "reason"),
    [(CutsOutOfOrder(), "the backward is not sound"), (CutRaises(), "KeyError: 'primals_7'")],
)
def test_a_partitioner_that_goes_wrong_is_named(pass_: Partitioner, reason: str) -> None:
    error = failure(
        PassManager([pass_], hook="partitioner", instruments=[Verify()]),
        lambda manager: train(product, manager),
    )
    assert error.pass_name == pass_.name
    assert reason in error.reason


def test_a_sound_cut_passes() -> None:
    manager = PassManager([CutsWell()], hook="partitioner", instruments=[Verify(repeat=True)])
    result, grad, _ = train(product, manager)
    torch.testing.assert_close((result, grad), (A @ B, torch.ones(3, 3) @ B.T))


def test_the_drawing_shows_them(tmp_path: Path) -> None:
    drawing = Draw(tmp_path, graphviz=False)
    compiled(chain, PassManager([LeavesNodes()], hook="scheduler_post", instruments=[drawing]), A, B)
    train(product, PassManager([CutsWell()], hook="partitioner", instruments=[drawing]))
    page = (tmp_path / "pipeline.html").read_text()
    assert "leaves-nodes" in page
    assert "2 → 2" in page
    assert "cuts-well" in page
    assert "# backward" in page


@pytest.mark.parametrize("instrument", [Numerics])
def test_an_instrument_that_cannot_follow_says_so(instrument: type[Instrument]) -> None:
    manager = PassManager([LeavesNodes()], hook="scheduler_pre", instruments=[instrument()])
    with pytest.warns(
        NotFollowedWarning, match=f"'{instrument.name}' does not follow the passes at scheduler_pre"
    ):
        manager.run_on_nodes([])
    with warnings.catch_warnings():
        warnings.simplefilter("error", NotFollowedWarning)
        PassManager([LeavesNodes()], hook="scheduler_pre", instruments=[Verify()]).run_on_nodes([])
