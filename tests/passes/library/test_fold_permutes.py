from __future__ import annotations

import torch
from graph_harness import check_against_golden, optimised, targets
from llama import BATCH, LENGTH, decoder_layer
from torch import Tensor

from passprint.passes.library import FoldPermutes

aten = torch.ops.aten


def test_backward_of_a_projection():
    projection = decoder_layer()[0].layer.mlp.down_proj
    inputs = torch.randn(BATCH, LENGTH, 48, requires_grad=True)
    (expected,) = torch.autograd.grad(projection(inputs).cos().sum(), inputs)
    compiled, recorder = optimised(lambda x: projection(x).cos().sum(), FoldPermutes())
    (actual,) = torch.autograd.grad(compiled(inputs), inputs)
    torch.testing.assert_close(actual, expected)
    # The weight is transposed for the product and transposed back for the gradient: both go.
    assert recorder.matches == {"FoldPermutes": 2}
    check_against_golden("fold_permutes.backward", recorder)


def test_every_layer_of_a_decoder_has_such_pairs():
    run, arguments = decoder_layer()
    hidden = arguments[0].requires_grad_()
    (expected,) = torch.autograd.grad(run(*arguments).sum(), hidden)
    compiled, recorder = optimised(run, FoldPermutes())
    (actual,) = torch.autograd.grad(compiled(*arguments).sum(), hidden)
    torch.testing.assert_close(actual, expected)
    assert recorder.matches == {"FoldPermutes": 14}  # two for each of the seven projections


def test_two_permutations_become_one():
    def fn(x: Tensor) -> Tensor:
        return x.cos().permute(1, 2, 0).transpose(-1, -3).sin()

    x = torch.randn(2, 3, 4)
    compiled, recorder = optimised(fn, FoldPermutes())
    assert torch.equal(compiled(x), fn(x))
    assert targets(recorder) == [aten.cos.default, aten.permute.default, aten.sin.default]


def test_a_permutation_that_changes_nothing_disappears():
    def fn(x: Tensor) -> Tensor:
        return torch.ops.aten.permute(x.cos(), [0, 1, -1]).sin()

    compiled, recorder = optimised(fn, FoldPermutes())
    x = torch.randn(2, 2, 2)
    assert torch.equal(compiled(x), fn(x))
    assert targets(recorder) == [aten.cos.default, aten.sin.default]


def test_one_permutation_stays_even_of_equal_sizes():
    def fn(x: Tensor) -> Tensor:
        return x.cos().permute(1, 0, 2).sin()

    compiled, recorder = optimised(fn, FoldPermutes())
    x = torch.randn(2, 2, 2)
    assert torch.equal(compiled(x), fn(x))
    assert recorder.matches == {"FoldPermutes": 0}
