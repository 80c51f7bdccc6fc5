"""Passes made of patterns, on graphs as Inductor has them at post_grad_post."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from passprint import PipelineError
from passprint.passes import CompileRange, Pattern, PatternPass, pass_context
from passprint.testing import capture_graphs, check_pass

aten = torch.ops.aten


def relu_times(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.relu(x) * y


def sigmoid_times(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.sigmoid(x) * y


def twice_negated(x: torch.Tensor) -> torch.Tensor:
    return torch.neg(torch.neg(x))


def itself(x: torch.Tensor) -> torch.Tensor:
    return x.clone()


def inputs(count: int) -> list[torch.Tensor]:
    return [torch.empty(4, 4) for _ in range(count)]


class ReluToSigmoid(PatternPass):
    built: ClassVar[list[int]] = []

    def patterns(self) -> Sequence[Pattern]:
        self.built.append(1)
        return [
            Pattern("relu-times", relu_times, sigmoid_times, inputs(2)),
            Pattern("twice-negated", twice_negated, itself, inputs(1)),
        ]


def traced(fn: Callable[..., Any], *args: torch.Tensor, mode: str = "fake") -> torch.fx.GraphModule:
    return make_fx(fn, tracing_mode=mode)(*args)


def targets(module: torch.fx.GraphModule) -> list[Any]:
    return [node.target for node in module.graph.nodes if node.op == "call_function"]


def model(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return relu_times(twice_negated(x), y) + relu_times(y, x)


@pytest.mark.parametrize("mode", ["fake", "symbolic"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_matches_are_replaced_and_counted_by_pattern(mode: str, dtype: torch.dtype) -> None:
    x, y = torch.randn(2, 8, dtype=dtype), torch.randn(2, 8, dtype=dtype)
    module = traced(model, x, y, mode=mode)
    assert ReluToSigmoid().apply(module.graph) == {"relu-times": 2, "twice-negated": 1}
    module.graph.lint()
    module.recompile()
    assert aten.relu.default not in targets(module)
    assert aten.neg.default not in targets(module)
    torch.testing.assert_close(module(x, y), torch.sigmoid(x) * y + torch.sigmoid(y) * x)
    if mode == "symbolic":
        x, y = torch.randn(3, 5, dtype=dtype), torch.randn(3, 5, dtype=dtype)
        torch.testing.assert_close(module(x, y), torch.sigmoid(x) * y + torch.sigmoid(y) * x)


def test_what_is_not_the_pattern_stays() -> None:
    def other(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        middle = torch.relu(x)
        return middle * y, middle  # the middle is used elsewhere, so it cannot go

    module = traced(other, torch.randn(4, 4), torch.randn(4, 4))
    before = str(module.graph)
    assert ReluToSigmoid().apply(module.graph) == {"relu-times": 0, "twice-negated": 0}
    assert str(module.graph) == before


def test_the_patterns_are_built_once_per_pass() -> None:
    ReluToSigmoid.built.clear()
    first, second = ReluToSigmoid(), ReluToSigmoid()
    assert ReluToSigmoid.built == []
    for _ in range(3):
        module = traced(model, torch.randn(4, 4), torch.randn(4, 4))
        first(module.graph)
    assert ReluToSigmoid.built == [1]
    second(traced(model, torch.randn(4, 4), torch.randn(4, 4)).graph)
    assert ReluToSigmoid.built == [1, 1]


def test_a_built_pass_equals_a_fresh_one_and_can_be_pickled() -> None:
    made = ReluToSigmoid()
    made(traced(model, torch.randn(4, 4), torch.randn(4, 4)).graph)
    assert made == ReluToSigmoid()
    again = pickle.loads(pickle.dumps(made))
    assert again == made
    module = traced(model, torch.randn(4, 4), torch.randn(4, 4))
    assert again.apply(module.graph)["relu-times"] == 2


def test_counts_go_to_the_context() -> None:
    with pass_context(CompileRange(1, 8)) as context:
        ReluToSigmoid()(traced(model, torch.randn(4, 4), torch.randn(4, 4)).graph)
    assert context.matches == {"relu-to-sigmoid/relu-times": 2, "relu-to-sigmoid/twice-negated": 1}


def only_wide(match: Any) -> bool:
    return bool(match.kwargs["x"].meta["val"].shape[-1] >= 8)


class Checked(PatternPass):
    def patterns(self) -> Sequence[Pattern]:
        return [Pattern("wide", relu_times, sigmoid_times, inputs(2), check=only_wide)]


@pytest.mark.parametrize(("width", "matches"), [(8, 1), (4, 0)])
def test_a_check_has_the_last_say(width: int, matches: int) -> None:
    module = traced(relu_times, torch.randn(4, width), torch.randn(4, width))
    assert Checked().apply(module.graph) == {"wide": matches}


def scaled(x: torch.Tensor, scale: float) -> torch.Tensor:
    return torch.relu(x) * scale


def scaled_sigmoid(x: torch.Tensor, scale: float) -> torch.Tensor:
    return torch.sigmoid(x) * scale


class Scaled(PatternPass):
    def patterns(self) -> Sequence[Pattern]:
        return [Pattern("scaled", scaled, scaled_sigmoid, inputs(1), scalars={"scale": 0.113377})]


def test_numbers_can_be_arguments_of_a_pattern() -> None:
    def two(x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x) * 3.0 + torch.relu(x + 1) * 5.0

    x = torch.randn(4, 4)
    module = traced(two, x)
    assert Scaled().apply(module.graph) == {"scaled": 2}
    module.recompile()
    torch.testing.assert_close(module(x), torch.sigmoid(x) * 3.0 + torch.sigmoid(x + 1) * 5.0)


REAL_INPUTS = [torch.ones(4, 4), torch.ones(4, 4)]


class RealInputs(PatternPass):
    def patterns(self) -> Sequence[Pattern]:
        return [Pattern("relu-times", relu_times, sigmoid_times, REAL_INPUTS)]


def test_example_inputs_may_be_real_tensors() -> None:
    module = traced(relu_times, torch.randn(4, 4), torch.randn(4, 4))
    assert RealInputs().apply(module.graph) == {"relu-times": 1}


class OneInputTwice(PatternPass):
    def patterns(self) -> Sequence[Pattern]:
        x = torch.empty(4, 4)
        return [Pattern("relu-times", relu_times, sigmoid_times, [x, x])]


def test_one_tensor_may_be_the_example_of_two_arguments() -> None:
    module = traced(relu_times, torch.randn(4, 4), torch.randn(4, 4))
    assert OneInputTwice().apply(module.graph) == {"relu-times": 1}


class Twins(PatternPass):
    def patterns(self) -> Sequence[Pattern]:
        return [Pattern("same", twice_negated, itself, inputs(1))] * 2


class NotPatterns(PatternPass):
    def patterns(self) -> Sequence[Pattern]:
        return [(twice_negated, itself)]  # type: ignore[list-item]


class Unused(PatternPass):
    def patterns(self) -> Sequence[Pattern]:
        return [Pattern("unused", lambda x, spare: torch.relu(x), lambda x, spare: x, inputs(2))]


class OneResultMore(PatternPass):
    def patterns(self) -> Sequence[Pattern]:
        return [Pattern("relu-times", relu_times, lambda x, y: (x * y, y), inputs(2))]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Twins, "called 'same'"),
        (NotPatterns, "Pattern objects"),
        (Unused, "does not use its argument 'spare'"),
        (OneResultMore, "finds 1 result, and its replacement gives 2"),
    ],
)
def test_mistakes_in_patterns_are_named(kind: type[PatternPass], message: str) -> None:
    with pytest.raises(PipelineError, match=message):
        kind()(traced(relu_times, torch.randn(4, 4), torch.randn(4, 4)).graph)


def test_both_functions_are_part_of_the_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    made = ReluToSigmoid()
    before = made.uuid()
    assert before is not None
    for name in ("sigmoid_times", "relu_times", "itself", "only_wide"):
        with monkeypatch.context() as patch:
            patch.setitem(globals(), name, lambda x, y=None: x)
            # only_wide belongs to another pass
            assert (made.uuid() == before) == (name == "only_wide")
    assert made.uuid() == before


def halves(x: torch.Tensor) -> torch.Tensor:
    return torch.relu(x.reshape(2, -1)).sum(-1)


def halves_at_once(x: torch.Tensor) -> torch.Tensor:
    return torch.clamp(x.reshape(2, -1), min=0).sum(-1)


class Halves(PatternPass):
    def patterns(self) -> Sequence[Pattern]:
        return [Pattern("halves", halves, halves_at_once, inputs(1))]


@pytest.mark.parametrize(
    ("hook", "reshape"), [("joint_pre", aten.view.default), ("post_grad_post", aten.reshape.default)]
)
@pytest.mark.parametrize("dynamic", [None, {0: (1,)}])
def test_a_reshape_in_a_pattern_is_what_the_hook_calls_it(hook: str, reshape: Any, dynamic: Any) -> None:
    """Autograd writes a view, and Inductor a reshape in its place behind the joint graph."""
    found: list[Any] = []

    def pipeline(graph: torch.fx.Graph) -> None:
        assert Halves().apply(graph) == {"halves": 1}
        found.extend(node.target for node in graph.nodes)

    result = capture_graphs(
        halves, (torch.randn(4, 8),), hook=hook, dynamic=dynamic, pipeline=pipeline
    ).result
    assert reshape in found
    assert aten.relu.default not in found
    assert result.shape == (2,)


def sine_of_rows(x: torch.Tensor) -> torch.Tensor:
    return torch.sin(x).reshape(-1)


def rows_of_the_argument(x: torch.Tensor) -> torch.Tensor:
    return torch.sin(x.reshape(-1).unsqueeze(0)).squeeze(0)


class ViewsItsArgument(PatternPass):
    def patterns(self) -> Sequence[Pattern]:
        return [Pattern("rows", sine_of_rows, rows_of_the_argument, inputs(1))]


@pytest.mark.parametrize("hook", ["joint_pre", "joint_post", "post_grad_pre", "post_grad_post"])
def test_a_view_of_an_argument_is_annotated_as_one(hook: str) -> None:
    def fn(x: torch.Tensor) -> torch.Tensor:
        return torch.sin(torch.relu(x)).reshape(-1).view(2, 8).t() * 2

    check_pass(ViewsItsArgument(), fn, (torch.randn(4, 4),), rewrites=1, hook=hook)
