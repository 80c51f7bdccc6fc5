"""``passprint.compile`` with a pipeline over several hooks: it runs at each of them, and the store follows all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.pipeline.hooks import A, B, Log, SwapProducts, product
from torch._inductor import config
from torch._inductor.utils import fresh_cache

import passprint
from passprint.passes import SchedulerPass
from passprint.pipeline import PassManager, selected

seen = Log()


class SeeNodesOfPieces(SchedulerPass):
    def __call__(self, nodes: list[Any]) -> list[Any]:
        seen.append(len(nodes))
        return nodes


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    seen.clear()
    with config.patch({"cpp.simdlen": 1, "compile_threads": 1}):
        yield
    torch._dynamo.reset()


def run(passes: Any, cache: Path) -> tuple[torch.Tensor, passprint.CompileReport]:
    torch._dynamo.reset()
    with fresh_cache(), torch.no_grad():
        compiled = passprint.compile(product, passes=passes, cache=cache)
        return compiled(A, B), compiled.report


@pytest.mark.parametrize("hook", ["pre-grad", "joint-pre", "joint-post", "post-grad-pre", "post-grad-post"])
def test_every_hook_that_takes_a_graph_runs(hook: str, tmp_path: Path) -> None:
    result, report = run(f"{hook}(swap-products)", tmp_path)
    torch.testing.assert_close(result, B @ A)
    assert report.status == "cold"
    assert report.matches["swap-products"] == 1
    result, report = run(f"{hook}(swap-products)", tmp_path)
    torch.testing.assert_close(result, B @ A)
    assert report.status == "warm"
    assert report.matches["swap-products"] == 1


def test_a_pipeline_over_hooks_runs_at_each_and_is_found_again(tmp_path: Path) -> None:
    text = "pre-grad(swap-products),post-grad-post(swap-products),scheduler-post(see-nodes-of-pieces)"
    result, report = run(text, tmp_path)
    torch.testing.assert_close(result, A @ B)
    assert report.status == "cold"
    assert report.matches["swap-products"] == 2
    assert seen == [1]
    result, report = run(PassManager.parse(text), tmp_path)
    torch.testing.assert_close(result, A @ B)
    assert report.status == "warm"
    assert seen == [1]
    result, report = run(text.replace("pre-grad", "joint-pre"), tmp_path)
    assert report.status == "cold"
    assert report.why is not None
    assert "passes" in report.why


def test_a_selection_has_pieces_of_its_own(tmp_path: Path) -> None:
    manager = PassManager([SwapProducts()])
    assert run(manager, tmp_path)[1].status == "cold"
    with selected("-swap-products"):
        result, report = run(manager, tmp_path)
        torch.testing.assert_close(result, A @ B)
        assert report.status == "cold"
        assert run(manager, tmp_path)[1].status == "warm"
    result, report = run(manager, tmp_path)
    torch.testing.assert_close(result, B @ A)
    assert report.status == "warm"


def test_what_a_block_has_mounted_is_part_of_the_key(tmp_path: Path) -> None:
    with PassManager([SwapProducts()], hook="joint_pre").mounted():
        result, report = run([SwapProducts(version=2)], tmp_path)
        torch.testing.assert_close(result, A @ B)
        assert report.status == "cold"
    assert run([SwapProducts(version=2)], tmp_path)[1].status == "cold"
    with PassManager([SwapProducts()], hook="joint_pre").mounted():
        assert run([SwapProducts(version=2)], tmp_path)[1].status == "warm"
