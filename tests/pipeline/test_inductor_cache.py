"""Real compiles: the pipeline changes the result, and Inductor's cache follows the pipeline's uuid."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch._dynamo.utils import counters
from torch._inductor import config
from torch._inductor.utils import fresh_cache
from torch.fx import Graph

from passprint import PassError
from passprint.passes import CompileRange, InductorPass, pass_context
from passprint.pipeline import PassManager

aten = torch.ops.aten


class SinTo(InductorPass):
    """Replaces sin: easy to see in the result."""

    cosine: bool = True

    def __call__(self, graph: Graph) -> None:
        for node in graph.find_nodes(op="call_function", target=aten.sin.default):
            node.target = aten.cos.default if self.cosine else aten.tanh.default


class ReturnsIt(InductorPass):
    def __call__(self, graph: Graph) -> Any:
        return graph


def theirs(graph: Graph) -> None:
    for node in graph.find_nodes(op="call_function", target=aten.exp.default):
        node.target = aten.sin.default


def sin(x: torch.Tensor) -> torch.Tensor:
    return torch.sin(x)


def exp(x: torch.Tensor) -> torch.Tensor:
    return torch.exp(x)


X = torch.linspace(-1, 1, 8)


@pytest.fixture(autouse=True)
def empty_cache() -> Iterator[None]:
    # the fast kernels of torch.compile are not what is tested: no vector instructions, nothing to probe
    with fresh_cache(), config.patch({"cpp.simdlen": 1, "compile_threads": 1}):
        yield
    torch._dynamo.reset()


def run(fn: Any, manager: PassManager | None = None) -> tuple[torch.Tensor, str]:
    """The result of a fresh compile, and whether Inductor's cache had it."""
    torch._dynamo.reset()
    counters.clear()
    result = torch.compile(fn, options=None if manager is None else manager.options())(X)
    found = counters["inductor"]
    outcome = [name for name in ("hit", "miss", "bypass") if found[f"fxgraph_cache_{name}"]]
    assert len(outcome) == 1
    return result, outcome[0]


def test_options_follow_the_uuid() -> None:
    to_cos, to_tanh = PassManager([SinTo()]), PassManager([SinTo(cosine=False)])
    result, outcome = run(sin, to_cos)
    torch.testing.assert_close(result, torch.cos(X))
    assert outcome == "miss"
    assert run(sin, PassManager([SinTo()]))[1] == "hit"
    result, outcome = run(sin, to_tanh)
    torch.testing.assert_close(result, torch.tanh(X))
    assert outcome == "miss"
    with pass_context(CompileRange(1, 8)) as context:
        assert run(sin, to_cos)[1] == "miss"
    assert context.matches == {"sin-to": 1}


def test_a_mounted_pipeline_runs_after_the_pass_that_was_there() -> None:
    with config.patch(post_grad_custom_post_pass=theirs):
        with PassManager([SinTo()]).mounted():
            result, outcome = run(exp)
        # theirs has no uuid, and torch does not cache with such a pass
        assert outcome == "bypass"
        torch.testing.assert_close(result, torch.cos(X))
        torch.testing.assert_close(run(exp)[0], torch.sin(X))


def test_a_mounted_pipeline_is_cached() -> None:
    with PassManager([SinTo()]).mounted():
        assert [run(sin)[1] for _ in range(2)] == ["miss", "hit"]
    result, outcome = run(sin)
    assert outcome == "miss"
    torch.testing.assert_close(result, torch.sin(X))


def test_a_broken_pass_is_named_through_torch() -> None:
    with pytest.raises(Exception, match="returns-it") as caught:
        run(sin, PassManager([ReturnsIt()]))
    causes = [caught.value, getattr(caught.value, "inner_exception", None), caught.value.__cause__]
    assert any(isinstance(cause, PassError) for cause in causes)
    assert run(sin, PassManager([SinTo()]))[1] == "miss"


@pytest.mark.parametrize("hook", ["joint_pre", "joint_post", "post_grad_pre"])
def test_the_other_hooks_run(hook: str) -> None:
    result, outcome = run(sin, PassManager([SinTo()], hook=hook))
    torch.testing.assert_close(result, torch.cos(X))
    assert outcome == "miss"
