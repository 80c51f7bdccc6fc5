"""A pass of torch's own pattern matcher inside a pipeline, as torch's tests of custom passes mount one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from tests.pipeline.hooks import A, B, aten, compiled, empty_caches, product
from torch._inductor import config, pattern_matcher
from torch._inductor.lowering import lowerings
from torch.fx import Graph

from passprint.instruments import Verify
from passprint.passes import InductorPass
from passprint.pipeline import PassManager


class LowersProductsSwapped(InductorPass):
    """The pattern of a product is lowered by a function, which no operator stands for in the graph."""

    version: int = 1

    def __call__(self, graph: Graph) -> None:
        matcher = pattern_matcher.PatternMatcherPass()
        pattern = pattern_matcher.CallFunction(aten.mm.default, pattern_matcher.Arg(), pattern_matcher.Arg())

        # made here: torch writes an attribute on the function, which would count as a change of it
        @pattern_matcher.register_lowering_pattern(pattern, pass_dict=matcher)
        def lower_swapped(match: Any, left: Any, right: Any) -> Any:
            return lowerings[aten.mm.default](right, left)

        matcher.apply(graph)


@pytest.fixture(autouse=True)
def caches() -> Iterator[None]:
    with empty_caches():
        yield


@pytest.mark.parametrize("freezing", [False, True], ids=["plain", "freezing"])
@pytest.mark.parametrize("hook", ["post_grad_pre", "post_grad_post"])
def test_a_lowering_of_torchs_matcher_runs_and_is_cached(hook: str, freezing: bool) -> None:
    def outcome(version: int) -> str:
        manager = PassManager([LowersProductsSwapped(version)], hook=hook, instruments=[Verify()])
        result, said = compiled(product, manager, A, B)
        torch.testing.assert_close(result, B @ A)
        return said

    with torch.no_grad(), config.patch(freezing=freezing):
        assert [outcome(version) for version in (1, 1, 2)] == ["miss", "hit", "miss"]
