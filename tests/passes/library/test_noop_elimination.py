from __future__ import annotations

import pytest
import torch
from graph_harness import check_against_golden, optimised, targets
from llama import LENGTH, config, vary_length
from torch import Tensor
from torch._inductor.fx_passes import joint_graph
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from passprint.passes.library import NoopElimination

aten = torch.ops.aten


@pytest.fixture(autouse=True)
def torch_keeps_them(monkeypatch):
    """Torch drops some itself since 2.14, ahead of every hook after the joint graph, and takes -0.0 + 0.0 for one."""
    monkeypatch.setattr(joint_graph, "remove_no_ops", lambda *given: None)


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_rotary_embedding(dynamic):
    rotary = LlamaRotaryEmbedding(config())
    x, positions = torch.randn(1, LENGTH, 32), torch.arange(LENGTH)[None]
    expected = rotary(x, positions)
    if dynamic:
        vary_length(x, positions)
    compiled, recorder = optimised(rotary, NoopElimination())
    with torch.no_grad():
        actual = compiled(x, positions)
    torch.testing.assert_close(actual, expected)
    assert recorder.matches == {"NoopElimination": 2}  # cos() * attention_scaling, sin() * attention_scaling
    assert recorder.guards_added == 0
    check_against_golden(f"noop_elimination.rotary.{'dynamic' if dynamic else 'static'}", recorder)


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_attention_scores(dynamic):
    def scores(query: Tensor, key: Tensor) -> Tensor:  # as eager_attention_forward writes it
        return torch.matmul(query, key.transpose(2, 3)) * 0.25

    query, key = torch.randn(2, 4, LENGTH, 8), torch.randn(2, 4, LENGTH, 8)
    expected = scores(query, key)
    if dynamic:
        vary_length(query, key, dim=2)
    compiled, recorder = optimised(scores, NoopElimination())
    torch.testing.assert_close(compiled(query, key), expected)
    assert recorder.matches == {
        "NoopElimination": 2
    }  # the batched product expands both to the shape they have
    assert recorder.guards_added == 0
    check_against_golden(f"noop_elimination.scores.{'dynamic' if dynamic else 'static'}", recorder)


def test_a_reshape_and_a_slice_of_everything_with_symbolic_sizes():
    def fn(x: Tensor) -> Tensor:
        y = x.cos()
        return aten.slice(y.reshape(y.shape[0], y.shape[1]), 0).sin()

    x = torch.randn(5, 4)
    expected = fn(x)
    vary_length(x, dim=0)
    compiled, recorder = optimised(fn, NoopElimination())
    torch.testing.assert_close(compiled(x), expected)
    assert targets(recorder) == [aten.cos.default, aten.sin.default]
    assert recorder.guards_added == 0


def test_what_changes_the_layout_or_the_numbers_stays():
    def fn(x: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        return (
            x.t().reshape(-1, 3) * 2,
            x.expand(2, 4, 3) * 2,
            x[:, :2] * 2,
            x.to(torch.float64) * 2,
            x + 0.0,  # -0.0 + 0.0 is 0.0
            x / 2,
            2 - x,
            0 - x,
            mask & False,
        )

    arguments = (torch.full((4, 3), -0.0), torch.tensor([True, False]))
    compiled, recorder = optimised(fn, NoopElimination())
    for actual, expected in zip(compiled(*arguments), fn(*arguments), strict=True):
        assert torch.equal(actual, expected)
        assert torch.equal(actual.signbit(), expected.signbit())
    assert recorder.matches == {"NoopElimination": 0}


def test_neutral_operands_of_every_kind():
    def fn(x: Tensor, i: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        everything = torch.ones((), dtype=torch.bool)  # transformers begins its causal mask with this
        floats = ((x.cos() / 1).sin(), (x.cos() - 0).sin(), (1.0 * x.cos()).sin(), (x.cos() ** 1.0).sin())
        return (*floats, (i.neg() + 0).neg(), (~mask & True).any(), (everything & ~mask).any())

    arguments = (torch.randn(3), torch.arange(3), torch.tensor([True, False, True]))
    compiled, recorder = optimised(fn, NoopElimination())
    for actual, expected in zip(compiled(*arguments), fn(*arguments), strict=True):
        assert torch.equal(actual, expected)
    assert recorder.matches == {"NoopElimination": 7}
    compiled, recorder = optimised(fn, NoopElimination(arithmetic=False))
    compiled(*arguments)
    assert recorder.matches == {"NoopElimination": 0}


def test_an_output_does_not_become_an_input():
    def fn(x: Tensor) -> Tensor:
        return x * 1.0

    x = torch.randn(3)
    compiled, recorder = optimised(fn, NoopElimination())
    result = compiled(x)
    assert result.data_ptr() != x.data_ptr()
    assert recorder.matches == {"NoopElimination": 0}


def test_two_outputs_do_not_become_one():
    def fn(x: Tensor) -> tuple[Tensor, Tensor]:
        y = x.cos()
        return y, y * 1.0

    first, second = optimised(fn, NoopElimination())[0](torch.randn(3))
    assert first.data_ptr() != second.data_ptr()
