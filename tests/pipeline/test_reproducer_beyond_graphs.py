"""Failures of what is given no graph, shown again: passes over the scheduler's nodes, and partitioners."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.pipeline.beyond_graphs import (
    CutRaises,
    CutsOutOfOrder,
    CutsWell,
    DropsTheFirstNode,
    LeavesNodes,
    RaisesOnNodes,
    TurnsNodesRound,
    failure,
)
from tests.pipeline.hooks import A, B, compiled, empty_caches, product, train

from passprint.errors import PassError
from passprint.instruments import Instrument, Reproduce, Verify
from passprint.passes import Partitioner, SchedulerPass
from passprint.pipeline import PassManager
from passprint.pipeline.reproducer import Reproducer
from passprint.pipeline.rerun import CannotRunAgain, run_again


@pytest.fixture(autouse=True)
def caches() -> Iterator[None]:
    with empty_caches():
        yield


def longer(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    z = torch.mm(torch.mm(x, y), y)
    return torch.softmax(torch.mm(z.sin() + 1, y), -1)


def _of_scheduler(pass_: SchedulerPass, hook: str, *instruments: Instrument) -> tuple[PassError, Path]:
    reproduce = next(one for one in instruments if isinstance(one, Reproduce))
    manager = PassManager([LeavesNodes(), pass_], hook=hook, instruments=instruments)
    error = failure(manager, lambda manager: compiled(longer, manager, A, B))
    (folder,) = reproduce.written
    return error, folder


@pytest.mark.parametrize(
    ("pass_", "hook"),
    [
        (RaisesOnNodes(), "scheduler_pre"),
        (TurnsNodesRound(), "scheduler_pre"),
        (DropsTheFirstNode(), "scheduler_post"),
    ],
)
def test_a_scheduler_pass(pass_: SchedulerPass, hook: str, tmp_path: Path) -> None:
    error, folder = _of_scheduler(pass_, hook, Verify(), Reproduce(tmp_path, stream=None))
    assert error.pass_name == pass_.name
    again = Reproducer.load(folder)
    with pytest.raises(PassError) as caught:
        again.run()
    assert caught.value.pass_name == pass_.name
    assert again.is_failing(again.graph)
    fine = PassManager([LeavesNodes()], hook=hook, instruments=[Verify()])
    run_again(fine, again.graph, {})


@pytest.mark.parametrize("pass_", [CutRaises(), CutsOutOfOrder()])
def test_a_partitioner(pass_: Partitioner, tmp_path: Path) -> None:
    reproduce = Reproduce(tmp_path)
    manager = PassManager([pass_], hook="partitioner", instruments=[Verify(), reproduce])
    error = failure(manager, lambda manager: train(product, manager))
    (folder,) = reproduce.written
    again = Reproducer.load(folder)
    assert again.failure.options["num_fwd_outputs"] == 1
    with pytest.raises(PassError) as caught:
        again.run()
    assert (caught.value.pass_name, caught.value.reason) == (error.pass_name, error.reason)
    run_again(PassManager([CutsWell()], hook="partitioner"), again.graph, again.failure.options)


def test_the_command_makes_the_graph_smaller(tmp_path: Path) -> None:
    _, folder = _of_scheduler(RaisesOnNodes(), "scheduler_pre", Reproduce(tmp_path))
    run = "import sys; from passprint.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", run, "reproduce", str(folder), "--reduce"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "the pass 'raises-on-nodes' raised KeyError: 'buf7'" in done.stdout
    assert "The same failure." in done.stdout
    before, after = Reproducer.load(folder), Reproducer.load(folder / "reduced")
    assert len(after.graph.nodes) < len(before.graph.nodes)


def test_a_graph_that_cannot_be_compiled_says_so(tmp_path: Path) -> None:
    _, folder = _of_scheduler(RaisesOnNodes(), "scheduler_pre", Reproduce(tmp_path))
    again = Reproducer.load(folder)
    graph: Any = again.graph
    for node in graph.find_nodes(op="placeholder"):
        node.meta.clear()
    with pytest.raises(CannotRunAgain, match="cannot be compiled again: input 'arg"):
        run_again(PassManager([LeavesNodes()], hook="scheduler_pre"), graph, {})
    assert not again.is_failing(graph)
