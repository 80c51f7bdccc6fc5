"""Hooks that take a graph, in real compiles: the result changes, and Inductor's cache follows the pipeline's uuid."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from tests.pipeline.hooks import (
    GRAPH_HOOKS,
    A,
    B,
    ByHand,
    Log,
    SwapProducts,
    compiled,
    empty_caches,
    product,
    swap_products,
    train,
)
from tests.versions import since
from torch._inductor import config
from torch._inductor.codegen import common
from torch.fx import Graph, GraphModule

from passprint import PassError
from passprint.passes import CompileRange, GraphModulePass, InductorPass, InferenceAwarePass, pass_context
from passprint.pipeline import PassManager, selected

seen = Log()


class Records(InductorPass):
    def __call__(self, graph: Graph) -> None:
        seen.append([str(node.target) for node in graph.nodes])


class SwapInModule(GraphModulePass):
    version: int = 1

    def __call__(self, gm: GraphModule) -> None:
        assert isinstance(gm, GraphModule)
        swap_products(gm.graph)


class Told(InferenceAwarePass):
    def __call__(self, graph: Graph, is_inference: bool) -> None:
        seen.append(is_inference)


class ReturnsIt(InductorPass):
    def __call__(self, graph: Graph) -> Any:
        return graph


@pytest.fixture(autouse=True)
def caches() -> Iterator[None]:
    seen.clear()
    with empty_caches():
        yield


def at(hook: str, *passes: Any) -> PassManager:
    return PassManager(passes, hook=hook)


@pytest.mark.parametrize("hook", GRAPH_HOOKS)
def test_a_pipeline_runs_at_its_hook_and_is_cached_by_its_uuid(hook: str) -> None:
    result, outcome = compiled(product, at(hook, SwapProducts()), A, B)
    torch.testing.assert_close(result, B @ A)
    assert outcome == "miss"
    result, outcome = compiled(product, at(hook, SwapProducts()), A, B)
    torch.testing.assert_close(result, B @ A)
    assert outcome == "hit"
    assert compiled(product, at(hook, SwapProducts(version=2)), A, B)[1] == "miss"
    assert compiled(product, at(hook, SwapProducts(), SwapProducts()), A, B)[1] == "miss"
    result, outcome = compiled(product, None, A, B)
    torch.testing.assert_close(result, A @ B)
    assert outcome == "miss"


@pytest.mark.parametrize("hook", GRAPH_HOOKS)
def test_a_pipeline_without_identity_runs_and_is_not_cached(hook: str) -> None:
    for _ in range(2):
        result, outcome = compiled(product, at(hook, ByHand(None)), A, B)
        torch.testing.assert_close(result, B @ A)
        # before Autograd torch 2.12 and newer then run the pass first and key what came out
        early = hook == "pre_grad" and torch.__version__ >= (2, 12)
        assert outcome in (("miss", "hit") if early else ("bypass",))
    torch.testing.assert_close(compiled(product, None, A, B)[0], A @ B)


@pytest.mark.parametrize("hook", GRAPH_HOOKS)
def test_a_pipeline_compiles_what_its_passes_mounted_by_hand_do(hook: str) -> None:
    codes = []
    for pass_ in (SwapProducts(), at(hook, SwapProducts())):
        options = {next(iter(at(hook).options())): pass_}
        torch._dynamo.reset()
        with config.patch(force_disable_caches=True):
            _, (code,) = torch._inductor.utils.run_and_get_code(torch.compile(product, options=options), A, B)
        codes.append(without_comments(code))
    assert codes[0] == codes[1]
    assert "mm" in codes[0]


def without_comments(code: str) -> str:
    return "\n".join(line for line in code.splitlines() if not line.lstrip().startswith("#"))


def test_the_graph_of_each_hook_is_the_one_that_torch_has_there() -> None:
    stages = [at(hook, Records()) for hook in GRAPH_HOOKS]
    train(product, PassManager(stages))
    pre_grad, joint_pre, joint_post, *post_grad = seen
    assert any("mm" in target and "aten" not in target for target in pre_grad)
    for joint in (joint_pre, joint_post):
        assert any("tangents" in target for target in joint)
        assert "aten.mm.default" in joint
    # once before and once after torch's own passes, for the forward and for the backward
    assert len(post_grad) == 4
    assert [any("tangents" in target for target in graph) for graph in post_grad] == [
        False,
        False,
        True,
        True,
    ]


def test_in_training_forward_and_backward_are_cached() -> None:
    manager = PassManager([at("joint_pre", SwapProducts()), at("post_grad_post", Records())])
    expected, grad, outcome = train(product, manager)
    torch.testing.assert_close(expected, B @ A)
    assert outcome == "miss"
    assert len(seen) == 2
    again = train(product, manager)
    torch.testing.assert_close(again[:2], (expected, grad))
    assert again[2] == "hit"
    assert len(seen) == 2


def test_a_pass_on_modules_is_given_the_module() -> None:
    result, outcome = compiled(product, PassManager([SwapInModule()]), A, B)
    torch.testing.assert_close(result, B @ A)
    assert outcome == "miss"
    assert compiled(product, PassManager([SwapInModule()]), A, B)[1] == "hit"


@contextmanager
def back_end_with(pass_: GraphModulePass) -> Iterator[None]:
    """A device's back end that was registered with a pass of its own, as plug-ins for hardware do."""
    common.init_backend_registration()
    before = common.get_custom_backend_pass_for_device("cpu")
    common.custom_backend_passes["cpu"] = pass_
    try:
        yield
    finally:
        common.custom_backend_passes["cpu"] = before


def test_a_back_end_has_a_pass_of_its_own() -> None:
    with back_end_with(SwapInModule()):
        outcomes = []
        for _ in range(2):
            result, outcome = compiled(product, None, A, B)
            torch.testing.assert_close(result, B @ A)
            outcomes.append(outcome)
        assert outcomes == ["miss", "hit"]
        # and one more, which swaps again
        result, outcome = compiled(product, PassManager([SwapProducts()]), A, B)
        torch.testing.assert_close(result, A @ B)
        assert outcome == "miss"
    with back_end_with(SwapInModule(version=2)):
        assert compiled(product, None, A, B)[1] == "miss"
    torch.testing.assert_close(compiled(product, None, A, B)[0], A @ B)


@since((2, 12), "saying whether a graph is for inference")
def test_a_pass_that_asks_is_told_whether_torch_compiles_for_inference() -> None:
    manager = PassManager(
        [PassManager([Told()], hook="post_grad_pre"), PassManager([Told()], hook="post_grad_post")]
    )
    compiled(product, manager, A, B)
    assert seen == [True, True]
    train(product, manager)
    assert seen[2:] == [False] * 4
    assert compiled(product, manager, A, B)[1] == "hit"


def test_sizes_and_selections_have_entries_of_their_own() -> None:
    manager = PassManager([SwapProducts()])
    assert compiled(product, manager, A, B)[1] == "miss"
    with pass_context(CompileRange(1, 8)) as context:
        assert compiled(product, manager, A, B)[1] == "miss"
    assert context.matches == {"swap-products": 1}
    with selected("-swap-products"):
        result, outcome = compiled(product, manager, A, B)
        torch.testing.assert_close(result, A @ B)
        assert outcome == "miss"
        assert compiled(product, manager, A, B)[1] == "hit"
    assert compiled(product, manager, A, B)[1] == "hit"
    torch.testing.assert_close(compiled(product, manager, A, B)[0], B @ A)


def test_limits_have_entries_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    manager = PassManager([SwapProducts()])
    seen = []
    for limit in ("", "0", "1", "0", "", "passes=0"):
        monkeypatch.setenv("PASSPRINT_LIMIT", limit)
        result, outcome = compiled(product, manager, A, B)
        torch.testing.assert_close(result, A @ B if limit in ("0", "passes=0") else B @ A)
        seen.append(outcome)
    assert seen == ["miss", "miss", "miss", "hit", "hit", "bypass"]


def test_a_mounted_pipeline_runs_after_the_pass_that_was_there() -> None:
    manager = PassManager([SwapProducts()])
    with config.patch(post_grad_custom_post_pass=swap_products):
        with manager.mounted():
            result, outcome = compiled(product, None, A, B)
        # theirs has no uuid, and torch does not cache with such a pass; two swaps are none
        assert outcome == "bypass"
        torch.testing.assert_close(result, A @ B)
        torch.testing.assert_close(compiled(product, None, A, B)[0], B @ A)
    with manager.mounted():
        assert [compiled(product, None, A, B)[1] for _ in range(2)] == ["miss", "hit"]
    assert compiled(product, None, A, B)[1] == "miss"


def test_a_compiled_function_inside_another_sees_its_own_pipeline_only() -> None:
    def run(outer: PassManager | None, inner: PassManager | None) -> tuple[torch.Tensor, torch.Tensor]:
        torch._dynamo.reset()
        within = torch.compile(product, options=inner.options() if inner else None)
        unseen = torch.compiler.disable(lambda x, y: within(x, y))

        def calls_another(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            first = torch.mm(x, y)
            return first, unseen(x, y)

        found: tuple[torch.Tensor, torch.Tensor] = torch.compile(
            calls_another, options=outer.options() if outer else None
        )(A, B)
        return found

    swap = PassManager([SwapProducts()])
    torch.testing.assert_close(run(swap, None), (B @ A, A @ B))
    torch.testing.assert_close(run(None, swap), (A @ B, B @ A))
    with swap.mounted():
        # the thread's, for all that is compiled in it, but where a call brings its own
        torch.testing.assert_close(run(None, None), (B @ A, B @ A))
        torch.testing.assert_close(run(None, PassManager([Records()])), (B @ A, A @ B))


def test_a_broken_pass_is_named_through_torch() -> None:
    with pytest.raises(Exception, match="returns-it") as caught:
        compiled(product, PassManager([ReturnsIt()]), A, B)
    causes = [caught.value, getattr(caught.value, "inner_exception", None), caught.value.__cause__]
    assert any(isinstance(cause, PassError) for cause in causes)
    assert compiled(product, PassManager([SwapProducts()]), A, B)[1] == "miss"
