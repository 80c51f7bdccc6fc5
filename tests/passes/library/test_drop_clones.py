from __future__ import annotations

import pytest
import torch
from graph_harness import check_against_golden, optimised, targets
from llama import LENGTH, vary_length
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.fx import Graph, GraphModule
from transformers.models.llama.modeling_llama import repeat_kv

from passprint.passes.library import DropClones

aten = torch.ops.aten


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_repeated_heads(dynamic):
    def fn(key: Tensor) -> Tensor:
        return repeat_kv(key.transpose(1, 2), 2).cos()

    key = torch.randn(2, LENGTH, 2, 8)
    expected = fn(key)
    if dynamic:
        vary_length(key)
    compiled, recorder = optimised(fn, DropClones())
    torch.testing.assert_close(compiled(key), expected)
    assert recorder.matches == {"DropClones": 1}
    assert recorder.guards_added == 0
    check_against_golden(f"drop_clones.repeat_kv.{'dynamic' if dynamic else 'static'}", recorder)


def test_joined_heads():
    def fn(x: Tensor) -> Tensor:  # as eager_attention_forward and LlamaAttention write it
        return x.cos().transpose(1, 2).contiguous().reshape(2, LENGTH, -1).sin()

    x = torch.randn(2, 4, LENGTH, 8)
    compiled, recorder = optimised(fn, DropClones())
    assert torch.equal(compiled(x), fn(x))
    assert recorder.matches == {"DropClones": 1}
    check_against_golden("drop_clones.joined_heads", recorder)


def test_a_copy_into_another_order_stays():
    def fn(x: Tensor) -> Tensor:
        return x.cos().t().contiguous().view(torch.int32)

    x = torch.randn(3, 4)
    compiled, recorder = optimised(fn, DropClones())
    assert torch.equal(compiled(x), fn(x))
    assert recorder.matches == {"DropClones": 0}


def test_a_copy_for_the_caller_stays():
    def fn(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y = x.cos()
        return y, y.clone(), x.clone()

    x = torch.randn(3, 4)
    compiled, recorder = optimised(fn, DropClones())
    results = compiled(x)
    assert len({t.data_ptr() for t in (*results, x)}) == 4
    assert recorder.matches == {"DropClones": 0}


@pytest.mark.parametrize("cut", [torch.split, torch.tensor_split, torch.chunk, torch.unbind])
def test_a_copy_whose_parts_are_for_the_caller_stays(cut):
    def fn(x: Tensor) -> tuple[Tensor, ...]:
        return tuple(cut(x.clone(), *([] if cut is torch.unbind else [2])))

    x = torch.randn(4, 4)
    compiled, recorder = optimised(fn, DropClones())
    for result in compiled(x):
        assert result.untyped_storage().data_ptr() != x.untyped_storage().data_ptr()
    assert recorder.matches == {"DropClones": 0}


def test_a_copy_that_gives_outputs_their_strides_stays():
    def fn(x: Tensor) -> tuple[Tensor, Tensor]:
        y = x.cos()
        return torch.cat([y, y], -1).chunk(2, -1)

    x = torch.randn(2, 3, 8)
    compiled, recorder = optimised(fn, DropClones())
    assert [result.stride() for result in compiled(x)] == [(48, 16, 1)] * 2
    assert recorder.matches == {"DropClones": 0}


def test_an_input_that_is_written_to_later():
    def fn(cache: Tensor, x: Tensor) -> Tensor:
        before = cache.expand(2, 4).clone().reshape(8)
        cache.add_(x)
        return before

    cache, x = torch.randn(1, 4), torch.randn(1, 4)
    expected_cache = cache.clone()
    expected = fn(expected_cache, x)
    compiled, _ = optimised(fn, DropClones())
    assert torch.equal(compiled(cache, x), expected)
    assert torch.equal(cache, expected_cache)


def written_graph(target: str, reader_last: bool) -> tuple[GraphModule, Tensor]:
    """``y = clone(x); write to x or y; z = x + y``, as a pass might meet it before functionalisation."""
    graph, value = Graph(), torch.randn(3)
    with FakeTensorMode() as mode:
        fake = mode.from_tensor(value)
        x = graph.placeholder("x")
        x.meta["val"] = fake
        copy = graph.call_function(aten.clone.default, (x,))
        copy.meta["val"] = fake.clone()
        early = graph.call_function(aten.cos.default, (copy,))
        early.meta["val"] = fake.cos()
        graph.call_function(aten.add_.Tensor, ({"x": x, "y": copy}[target], 1.0)).meta["val"] = fake
        late = graph.call_function(aten.add.Tensor, (x, copy if reader_last else early))
        late.meta["val"] = fake + fake
        graph.output((late,))
    return GraphModule({}, graph), value


@pytest.mark.parametrize(
    ("target", "reader_last", "dropped"),
    [("x", True, False), ("y", True, False), ("y", False, False), ("x", False, True)],
)
def test_writes_to_the_copy_or_its_source(target, reader_last, dropped):
    module, value = written_graph(target, reader_last)
    expected = module(value.clone())
    DropClones()(module.graph)
    module.graph.lint()
    module.recompile()
    assert torch.equal(module(value.clone())[0], expected[0])
    assert (aten.clone.default not in targets(module.graph)) is dropped
