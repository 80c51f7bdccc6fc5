"""A pattern that matched nothing says how close it came, and the alarm says it once a compile."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.pipeline.instruments.graphs import ReluToClamp, chain, traced
from torch import Tensor
from torch.fx import Graph

from passprint import CompileRange, PassManager, pass_context
from passprint.instruments import ZeroMatchWarning
from passprint.passes import Pattern, PatternPass
from passprint.passes.near_miss import NearMiss
from passprint.pipeline.alarm import alarm

X = torch.randn(4, 8)


class Gelu(PatternPass):
    """``x * sigmoid(x + 2)`` with the literal 2, where the sizes are multiples of 8."""

    divisor: int = 8

    def patterns(self) -> list[Pattern]:
        return [Pattern("gate", _gate, _gate_replaced, [torch.empty(2, 8)], check=self._fits)]

    def _fits(self, match: Any) -> bool:
        return match.kwargs["x"].meta["val"].shape[-1] % self.divisor == 0


def _gate(x: Tensor) -> Tensor:
    return x * torch.sigmoid(torch.exp(x) + 2)


def _gate_replaced(x: Tensor) -> Tensor:
    return torch.tanh(x)


class Narrow(PatternPass):
    """A cast to bfloat16 and back."""

    def patterns(self) -> list[Pattern]:
        return [Pattern("cast", _cast, _cast_replaced, [torch.empty(2, 8)])]


def _cast(x: Tensor) -> Tensor:
    return torch.exp(x).to(torch.bfloat16).sum(-1)


def _cast_replaced(x: Tensor) -> Tensor:
    return torch.exp(x).sum(-1).to(torch.bfloat16)


class Widened(PatternPass):
    """A sum in another dtype."""

    def patterns(self) -> list[Pattern]:
        return [Pattern("sum", _widened, _widened, [torch.empty(2, 8)])]


def _widened(x: Tensor) -> Tensor:
    return torch.exp(x).sum(-1, dtype=torch.float64)


class TwoResults(PatternPass):
    """Two operators side by side."""

    def patterns(self) -> list[Pattern]:
        return [Pattern("pair", _pair, _pair, [torch.empty(2, 8)])]


def _pair(x: Tensor) -> tuple[Tensor, Tensor]:
    return torch.exp(x), torch.sin(x)


def miss_of(pass_: PatternPass, graph: Graph) -> NearMiss:
    with pass_context(CompileRange.any()) as context:
        pass_(graph)
    (miss,) = context.near_misses.values()
    assert isinstance(miss, NearMiss)
    return miss


@pytest.mark.parametrize(
    ("fn", "reason", "matched", "detail"),
    [
        pytest.param(
            lambda x: x * torch.tanh(torch.exp(x) + 2), "other op", 3, "aten.sigmoid.default", id="middle"
        ),
        pytest.param(
            lambda x: x + torch.sigmoid(torch.exp(x) + 2), "other op", 3, "aten.mul.Tensor", id="last"
        ),
        pytest.param(
            lambda x: x * torch.sigmoid(torch.sin(x) + 2), "other op", 3, "aten.sin.default", id="first"
        ),
        pytest.param(lambda x: x * torch.sigmoid(torch.exp(x) + 3), "other shape", 3, "2", id="constant"),
        pytest.param(
            lambda x: (x * torch.sigmoid(torch.exp(x) + 2), torch.exp(x).sum()), None, 0, "", id="no miss"
        ),
        pytest.param(lambda x: torch.cos(x), "nothing alike", 0, "aten.mul.Tensor", id="nothing"),
        pytest.param(
            lambda x: (torch.cos(x)) * torch.sigmoid(torch.exp(x) + 2),
            "other argument",
            4,
            "twice",
            id="argument",
        ),
    ],
)
def test_where_it_stopped(fn: Callable[..., Any], reason: str | None, matched: int, detail: str) -> None:
    graph = traced(fn, X)
    if reason is None:
        with pass_context(CompileRange.any()) as context:
            Gelu()(graph)
        assert context.near_misses == {}
        assert context.matches["gelu/gate"] == 1
        return
    miss = miss_of(Gelu(), graph)
    assert (miss.reason, miss.matched, miss.total) == (reason, matched, 4)
    assert detail in miss.detail


def test_an_extra_user() -> None:
    def fn(x: Tensor) -> tuple[Tensor, Tensor]:
        inner = torch.exp(x)
        return x * torch.sigmoid(inner + 2), inner

    miss = miss_of(Gelu(), traced(fn, X))
    assert (miss.reason, miss.node, miss.matched) == ("extra user", "exp", 3)
    assert "'output'" in miss.detail


def test_the_authors_check() -> None:
    miss = miss_of(Gelu(divisor=3), traced(_gate, X))
    assert (miss.reason, miss.matched, miss.total) == ("check", 4, 4)


def test_another_dtype() -> None:
    def fn(x: Tensor) -> Tensor:
        return torch.ops.prims.convert_element_type(torch.exp(x), torch.float16).sum(-1)

    miss = miss_of(Narrow(), traced(fn, X))
    assert miss.reason == "other dtype"
    assert "torch.bfloat16 here, the graph torch.float16" in miss.detail


def test_an_argument_that_the_graph_does_not_give() -> None:
    miss = miss_of(Widened(), traced(lambda x: torch.exp(x).sum(-1), X))
    assert (miss.reason, miss.matched) == ("other dtype", 1)
    assert miss.detail == "the pattern has torch.float64 here, the graph nothing"


def test_one_of_two_results_is_not_there() -> None:
    miss = miss_of(TwoResults(), traced(lambda x: torch.exp(x) + torch.tan(x), X))
    assert (miss.reason, miss.matched, miss.total) == ("other op", 1, 2)
    assert "aten.sin.default beside it" in miss.detail


def test_arguments_have_the_names_that_the_author_gave() -> None:
    miss = miss_of(Gelu(), traced(lambda x: torch.cos(x) * torch.sigmoid(torch.exp(x) + 2), X))
    assert "uses x twice" in miss.detail


def test_a_missing_annotation() -> None:
    graph = traced(_gate, X)
    next(iter(graph.nodes)).meta.clear()
    miss = miss_of(Gelu(), graph)
    assert (miss.reason, miss.node) == ("missing meta['val']", "x_1")


def test_the_nearest_of_several_graphs_is_kept() -> None:
    near, far = traced(lambda x: x * torch.tanh(torch.exp(x) + 2), X), traced(lambda x: torch.cos(x), X)
    for graphs in ((near, far), (far, near)):
        with pass_context(CompileRange.any()) as context:
            for graph in graphs:
                Gelu()(graph)
        (miss,) = context.near_misses.values()
        assert isinstance(miss, NearMiss)
        assert miss.matched == 3


def far() -> Graph:
    return traced(lambda x: torch.cos(x), X)


def test_the_alarm_comes_once_for_a_whole_compile() -> None:
    manager = PassManager([Gelu()])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with alarm.compile():
            manager(far())
            manager(traced(lambda x: x * torch.tanh(torch.exp(x) + 2), X))
            assert not caught
    (warning,) = caught
    assert warning.category is ZeroMatchWarning
    text = str(warning.message)
    assert "'gelu' matched nothing in 2 graphs" in text
    assert "3 of 4 operators matched, stopped at 'tanh': other op" in text


def test_no_alarm_where_one_graph_matched_or_a_cache_had_the_matches() -> None:
    manager = PassManager([Gelu()])
    with warnings.catch_warnings():
        warnings.simplefilter("error", ZeroMatchWarning)
        with alarm.compile():
            manager(far())
            manager(traced(_gate, X))
        with alarm.compile() as seen:
            manager(far())
            seen.add_matches({"gelu/gate": 3})


def test_mounting_is_a_whole_compile() -> None:
    manager = PassManager([ReluToClamp()])

    @torch.compile(fullgraph=True)
    def fn(x: Tensor) -> Tensor:
        return torch.cos(x)

    matched_nothing = pytest.warns(ZeroMatchWarning, match=r"'relu-to-clamp' matched nothing in 1 graph")
    with torch._inductor.config.patch(force_disable_caches=True), matched_nothing, manager.mounted():
        fn(X)


def test_a_pass_without_patterns_rings_no_alarm() -> None:
    from tests.pipeline.instruments.graphs import Nothing

    with warnings.catch_warnings():
        warnings.simplefilter("error", ZeroMatchWarning)
        PassManager([Nothing()])(chain())
