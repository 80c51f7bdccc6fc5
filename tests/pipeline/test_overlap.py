"""Two patterns that match the same nodes are reported, by the names of both."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch.fx import Graph
from torch.fx.experimental.proxy_tensor import make_fx

from passprint.instruments import Overlaps, OverlapWarning
from passprint.passes import InductorPass, Pattern, PatternPass
from passprint.pipeline import FixedPoint, PassManager
from passprint.pipeline.overlap import find_overlaps


def neg_relu(x: torch.Tensor) -> torch.Tensor:
    return torch.relu(torch.neg(x))


def relu_sin(x: torch.Tensor) -> torch.Tensor:
    return torch.sin(torch.relu(x))


def cos(x: torch.Tensor) -> torch.Tensor:
    return torch.cos(x)


def cos_cos(x: torch.Tensor) -> torch.Tensor:
    return torch.cos(torch.cos(x))


def pattern(name: str, search: object) -> Pattern:
    return Pattern(name, search, cos, [torch.empty(4)])  # type: ignore[arg-type]


class OverlapFirst(PatternPass):
    def patterns(self) -> list[Pattern]:
        return [pattern("neg-relu", neg_relu)]


class OverlapSecond(PatternPass):
    def patterns(self) -> list[Pattern]:
        return [pattern("relu-sin", relu_sin)]


class OverlapBoth(PatternPass):
    def patterns(self) -> list[Pattern]:
        return [pattern("neg-relu", neg_relu), pattern("relu-sin", relu_sin)]


class OverlapApart(PatternPass):
    def patterns(self) -> list[Pattern]:
        return [pattern("cos-cos", cos_cos)]


class OverlapTakesRelu(InductorPass):
    def __call__(self, graph: Graph) -> None:
        for node in graph.find_nodes(op="call_function", target=torch.ops.aten.relu.default):
            node.target = torch.ops.aten.tanh.default


def traced(places: int) -> Graph:
    def model(x: torch.Tensor) -> torch.Tensor:
        for _ in range(places):
            x = torch.sin(torch.relu(torch.neg(torch.cos(torch.cos(x)))))
        return torch.sin(torch.relu(x))

    return make_fx(model, tracing_mode="fake")(torch.randn(4)).graph


def found(*passes: InductorPass | PassManager, places: int = 2) -> list[tuple[str, str, int]]:
    graph = traced(places)
    before = str(graph)
    overlaps = find_overlaps(PassManager(passes), graph)
    assert str(graph) == before
    return [(one.first, one.second, one.places) for one in overlaps]


def test_the_one_that_comes_first_is_named_first() -> None:
    first, second = "overlap-first/neg-relu", "overlap-second/relu-sin"
    assert found(OverlapFirst(), OverlapSecond()) == [(first, second, 2)]
    assert found(OverlapSecond(), OverlapFirst()) == [(second, first, 2)]
    assert found(PassManager([OverlapFirst()]), FixedPoint([OverlapSecond()])) == [(first, second, 2)]


def test_patterns_of_one_pass_overlap_as_well() -> None:
    assert found(OverlapBoth()) == [("overlap-both/neg-relu", "overlap-both/relu-sin", 2)]


@pytest.mark.parametrize(
    "passes",
    [
        [OverlapFirst()],
        [OverlapSecond(), OverlapApart()],
        [OverlapFirst(), OverlapFirst()],
        [OverlapTakesRelu(), OverlapFirst(), OverlapSecond()],
    ],
)
def test_what_does_not_overlap(passes: list[InductorPass]) -> None:
    assert found(*passes) == []


def test_what_has_been_taken_before_is_not_there_to_overlap() -> None:
    assert found(OverlapFirst(), OverlapTakesRelu(), OverlapSecond()) == [
        ("overlap-first/neg-relu", "overlap-second/relu-sin", 2)
    ]


def test_an_instrument_warns_of_each_pair_once_and_names_the_nodes() -> None:
    watching = Overlaps()
    manager = PassManager([OverlapFirst(), OverlapSecond()], instruments=[watching])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        manager(traced(1))
        manager(traced(2))
    (message,) = [str(one.message) for one in caught if one.category is OverlapWarning]
    assert "'overlap-first/neg-relu' and 'overlap-second/relu-sin'" in message
    assert "in 1 place, first at relu" in message
    assert [overlap.places for _, overlap in watching.found] == [1, 2]
    assert manager.uuid() == PassManager([OverlapFirst(), OverlapSecond()]).uuid()


class CompiledFirst(OverlapFirst):
    pass


class CompiledSecond(OverlapSecond):
    pass


class CompiledApart(OverlapApart):
    pass


def warned(*managers: PassManager) -> list[str]:
    """What is warned of without any instrument."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for manager in managers:
            manager(traced(2))
    return [str(one.message) for one in caught if one.category is OverlapWarning]


def test_a_compile_warns_without_being_asked_and_once() -> None:
    manager = PassManager([PassManager([CompiledFirst()]), CompiledApart(), FixedPoint([CompiledSecond()])])
    (message,) = warned(manager, manager)
    assert (
        "'compiled-first/neg-relu' and 'compiled-second/relu-sin' match the same nodes, first at relu"
        in message
    )
    (message,) = warned(PassManager([CompiledSecond(), CompiledFirst()]))
    assert message.startswith("the patterns 'compiled-second/relu-sin' and 'compiled-first/neg-relu'")


def test_a_compile_is_silent_about_what_does_not_overlap_and_about_one_pass() -> None:
    class SilentBoth(OverlapBoth):
        pass

    class SilentFirst(OverlapFirst):
        pass

    assert warned(PassManager([CompiledApart(), SilentBoth()])) == []
    assert warned(PassManager([SilentFirst(), SilentFirst(), CompiledApart()])) == []
