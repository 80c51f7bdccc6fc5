from __future__ import annotations

import pytest
import torch
from graph_harness import check_against_golden, optimised, targets
from llama import BATCH, LENGTH, decoder_layer, vary_length
from tests.versions import since
from torch import Tensor
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from passprint.passes.library import DedupeExpressions

aten = torch.ops.aten


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_projections_of_one_input(dynamic):
    attention = decoder_layer()[0].layer.self_attn

    def project(hidden: Tensor) -> tuple[Tensor, ...]:
        return attention.q_proj(hidden).cos(), attention.k_proj(hidden).cos(), attention.v_proj(hidden).cos()

    hidden = torch.randn(BATCH, LENGTH, 32)
    expected = project(hidden)
    if dynamic:
        vary_length(hidden)
    compiled, recorder = optimised(project, DedupeExpressions())
    with torch.no_grad():
        torch.testing.assert_close(compiled(hidden), expected)
    assert recorder.matches == {
        "DedupeExpressions": 2
    }  # [batch, length, 32] → [batch * length, 32], three times
    assert recorder.guards_added == 0
    check_against_golden(f"dedupe_expressions.projections.{'dynamic' if dynamic else 'static'}", recorder)


@since((2, 13), "this graph, on which the golden one rests,")
def test_rotation_of_two_layers():
    def two_layers(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        return apply_rotary_pos_emb(*apply_rotary_pos_emb(q, k, cos, sin), cos, sin)

    arguments = (torch.randn(1, 4, LENGTH, 8), torch.randn(1, 2, LENGTH, 8), *torch.randn(2, 1, LENGTH, 8))
    compiled, recorder = optimised(two_layers, DedupeExpressions())
    for actual, expected in zip(compiled(*arguments), two_layers(*arguments), strict=True):
        torch.testing.assert_close(actual, expected)
    assert recorder.matches == {"DedupeExpressions": 2}  # cos.unsqueeze(1) and sin.unsqueeze(1)
    check_against_golden("dedupe_expressions.rotation", recorder)


def test_equal_formulas_of_symbolic_sizes():
    def fn(x: Tensor) -> Tensor:
        return torch.arange(x.shape[0] + 1).cos().sum() + torch.arange(1 + x.shape[0]).cos().sum()

    x = torch.randn(5)
    expected = fn(x)
    vary_length(x, dim=0)
    compiled, recorder = optimised(fn, DedupeExpressions())
    torch.testing.assert_close(compiled(x), expected)
    assert targets(recorder).count(aten.cos.default) == 1
    assert recorder.guards_added == 0


@pytest.mark.parametrize(
    "fn",
    [
        pytest.param(lambda x: torch.rand_like(x) - torch.rand_like(x), id="random"),
        pytest.param(lambda x: (x + 1).to(torch.int64) + (x + 1.5).to(torch.int64), id="other-numbers"),
        pytest.param(lambda x: (x * 0.0).signbit().int() - (x * -0.0).signbit().int(), id="signs-of-zero"),
        pytest.param(lambda x: (x + True).cos() + (x + 1.0).cos(), id="types-of-numbers"),
        pytest.param(lambda x: torch.nn.functional.dropout(x) - torch.nn.functional.dropout(x), id="dropout"),
    ],
)
def test_what_is_not_equal_stays(fn):
    compiled, recorder = optimised(fn, DedupeExpressions())
    compiled(torch.ones(4, 4))
    assert recorder.matches == {"DedupeExpressions": 0}


def test_random_numbers_differ():
    compiled, _ = optimised(lambda x: torch.rand_like(x) - torch.rand_like(x), DedupeExpressions())
    assert compiled(torch.ones(4, 4)).abs().max() > 0


def test_two_outputs_stay_two_tensors():
    def fn(x: Tensor) -> tuple[Tensor, Tensor]:
        return x.cos(), x.cos()

    compiled, recorder = optimised(fn, DedupeExpressions())
    first, second = compiled(torch.randn(3))
    assert first.data_ptr() != second.data_ptr()
    assert recorder.matches == {"DedupeExpressions": 0}


def test_what_is_read_after_a_write_is_another_value():
    graph = torch.fx.Graph()
    x = graph.placeholder("x")
    x.meta["val"] = torch.zeros(3)
    nodes = [graph.call_function(aten.cos.default, (x,)), graph.call_function(aten.add_.Tensor, (x, 1.0))]
    nodes += [graph.call_function(aten.cos.default, (x,)), graph.call_function(aten.cos.default, (x,))]
    total = graph.call_function(aten.stack.default, ([nodes[0], nodes[2], nodes[3]],))
    for node in (*nodes, total):
        node.meta["val"] = torch.zeros(3)
    graph.output((total,))
    module = torch.fx.GraphModule({}, graph)
    expected = module(torch.zeros(3))
    DedupeExpressions()(graph)
    module.recompile()
    assert torch.equal(module(torch.zeros(3))[0], expected[0])
    assert targets(graph).count(aten.cos.default) == 2
