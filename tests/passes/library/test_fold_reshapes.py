from __future__ import annotations

import pytest
import torch
from graph_harness import check_against_golden, optimised, targets
from llama import BATCH, LENGTH, decoder_layer, vary_length
from torch import Tensor
from torch.fx import Graph, GraphModule

from passprint.passes.library import FoldReshapes

aten = torch.ops.aten


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_heads_of_a_projection(dynamic):
    attention = decoder_layer()[0].layer.self_attn

    def heads(hidden: Tensor) -> Tensor:  # as LlamaAttention writes it
        states = attention.q_proj(hidden)
        return states.view(*hidden.shape[:-1], -1, attention.head_dim).transpose(1, 2).cos()

    hidden = torch.randn(BATCH, LENGTH, 32)
    expected = heads(hidden)
    if dynamic:
        vary_length(hidden)
    compiled, recorder = optimised(heads, FoldReshapes())
    with torch.no_grad():
        torch.testing.assert_close(compiled(hidden), expected)
    assert recorder.matches == {"FoldReshapes": 1}
    assert recorder.guards_added == 0
    check_against_golden(f"fold_reshapes.heads.{'dynamic' if dynamic else 'static'}", recorder)


def test_a_chain_that_leads_back_disappears():
    def fn(x: Tensor) -> Tensor:
        return x.cos().reshape(2, 3, 4).unsqueeze(0).reshape(24).reshape(6, 4).sin()

    x = torch.randn(6, 4)
    compiled, recorder = optimised(fn, FoldReshapes())
    assert torch.equal(compiled(x), fn(x))
    assert targets(recorder) == [aten.cos.default, aten.sin.default]


def test_a_copy_that_reorders_stays():
    def fn(x: Tensor) -> Tensor:
        return x.cos().t().reshape(24).reshape(4, 6).sin()

    x = torch.randn(6, 4)
    compiled, recorder = optimised(fn, FoldReshapes())
    assert torch.equal(compiled(x), fn(x))
    assert recorder.matches == {"FoldReshapes": 0}  # the second one would have other strides


def test_both_uses_of_the_first_reshape_are_folded():
    def fn(x: Tensor) -> Tensor:
        y = x.cos().reshape(24)
        return y.reshape(4, 6).sin().sum() + y.reshape(3, 8).sin().sum()

    x = torch.randn(6, 4)
    compiled, recorder = optimised(fn, FoldReshapes())
    torch.testing.assert_close(compiled(x), fn(x))
    assert recorder.matches == {"FoldReshapes": 1}
    assert targets(recorder).count(aten.reshape.default) == 2


def test_an_output_does_not_become_an_input():
    graph, value = Graph(), torch.randn(6, 4)
    x = graph.placeholder("x")
    flat = graph.call_function(aten.reshape.default, (x, [24]))
    back = graph.call_function(aten.reshape.default, (flat, [6, 4]))
    graph.output((back,))
    for node, fake in ((x, value), (flat, value.view(24)), (back, value.view(6, 4))):
        node.meta["val"] = fake
    FoldReshapes()(graph)
    assert targets(graph) == [aten.reshape.default]
    assert GraphModule({}, graph)(value)[0] is not value


def test_a_copy_made_before_a_write_is_not_read_after_it():
    graph, value = Graph(), torch.randn(6, 4)
    x = graph.placeholder("x")
    flat = graph.call_function(aten.reshape.default, (x, [24]))
    write = graph.call_function(aten.neg_.default, (x,))
    again = graph.call_function(aten.reshape.default, (flat, [4, 6]))
    graph.output((again,))
    turned = value.t()
    for node, fake in (
        (x, turned),
        (flat, turned.reshape(24)),
        (write, turned),
        (again, turned.reshape(4, 6)),
    ):
        node.meta["val"] = fake
    expected = GraphModule({}, graph)(value.clone().t())[0]
    FoldReshapes()(graph)
    assert torch.equal(GraphModule({}, graph)(value.clone().t())[0], expected)
