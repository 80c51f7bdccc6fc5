from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from tests.pipeline.instruments.graphs import NegToSub, Nothing, ReluToClamp, aten, chain, traced
from torch import Tensor
from torch.fx import Graph

from passprint import InductorPass, PassError, PassManager
from passprint.instruments import Numerics, NumericsWarning
from passprint.passes import graph_pass
from passprint.pipeline.execution import largest_difference, run_graph, sample_inputs


@graph_pass
def off(graph: Graph) -> None:
    """Adds a little to the first relu."""
    node = graph.find_nodes(op="call_function", target=aten.relu.default)[0]
    with graph.inserting_after(node):
        new = graph.call_function(aten.add.Tensor, (node, 0.001))
    new.meta["val"] = node.meta["val"]
    node.replace_all_uses_with(new, delete_user_cb=lambda user: user is not new)


def test_the_first_pass_that_changes_results_is_named() -> None:
    with pytest.raises(PassError) as caught:
        PassManager([NegToSub(), off, ReluToClamp()], instruments=[Numerics()])(chain())
    error = caught.value
    assert error.pass_name == "off"
    assert "output 0[" in error.reason
    assert "0.001 apart" in error.reason


def test_a_tolerance_can_be_given() -> None:
    loose = Numerics(tolerances={torch.float32: (0.0, 0.01)})
    PassManager([off], instruments=[loose])(chain())


def test_real_inputs() -> None:
    given = torch.full((2, 3), 5.0)
    with pytest.raises(PassError) as caught:
        PassManager([off], instruments=[Numerics([-given])])(chain())
    assert "was 5.0 and is 5.00" in caught.value.reason
    assert torch.equal(given, torch.full((2, 3), 5.0))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_made_inputs(dtype: torch.dtype, dynamic: bool) -> None:
    def fn(x: Tensor, mask: Tensor, index: Tensor) -> Tensor:
        return torch.neg(torch.where(mask, x, 0.0))[index] + torch.nn.functional.dropout(x, 0.5, True)[index]

    x = torch.randn(4, 3).to(dtype).t().contiguous().t()
    graph = traced(fn, x, torch.ones(4, 3, dtype=torch.bool), torch.tensor([0, 3]), dynamic=dynamic)
    tensors = [value for value in sample_inputs(graph) if isinstance(value, Tensor)]
    assert [(t.dtype, t.shape, t.stride()) for t in tensors] == [
        (dtype, (4, 3), (1, 4)),
        (torch.bool, (4, 3), (3, 1)),
        (torch.int64, (2,), (1,)),
    ]
    PassManager([NegToSub()], instruments=[Numerics()])(graph)


def test_what_is_written_to_counts() -> None:
    def fn(x: Tensor) -> Tensor:
        y = torch.relu(x)
        x.copy_(y)
        return y * 0.0

    @graph_pass
    def writes_another(graph: Graph) -> None:
        (node,) = graph.find_nodes(op="call_function", target=aten.copy_.default)
        node.args = (node.args[0], node.args[0])

    graph = traced(fn, torch.randn(64))
    inputs = sample_inputs(graph)
    before = inputs[0].clone()
    run_graph(graph, inputs)
    assert torch.equal(inputs[0], before)
    with pytest.raises(PassError, match="input 0, which is written to"):
        PassManager([writes_another], instruments=[Numerics()])(graph)


def test_a_graph_that_cannot_be_run_is_warned_of() -> None:
    graph = chain()
    next(iter(graph.nodes)).meta.clear()
    numerics = Numerics()
    with pytest.warns(NumericsWarning, match="has no meta"):
        PassManager([NegToSub(), off], instruments=[numerics])(graph)
    assert len(numerics.skipped) == 1


def test_a_graph_that_a_pass_made_impossible_to_run() -> None:
    @graph_pass
    def impossible(graph: Graph) -> None:
        node = graph.find_nodes(op="call_function", target=aten.relu.default)[0]
        node.target = aten.mm.default
        node.args = (node.args[0], node.args[0])

    with pytest.raises(PassError, match="cannot be run any more") as caught:
        PassManager([Nothing(), impossible], instruments=[Numerics()])(chain())
    assert caught.value.pass_name == "impossible"


def test_numbers_that_are_alike() -> None:
    nan = torch.tensor([float("nan"), float("inf"), 0.0])
    assert largest_difference([nan], [nan.clone()], 1) is None
    found = largest_difference([nan], [torch.tensor([0.0, float("inf"), 0.0])], 1)
    assert found is not None
    assert found.index == (0,)
    whole = largest_difference([torch.tensor([1, 2])], [torch.tensor([1, 3])], 1)
    assert whole is not None
    assert (whole.index, whole.before, whole.after, whole.allowed) == ((1,), 2, 3, 0.0)


def test_whole_numbers_and_complex_ones_are_compared_as_they_are() -> None:
    large = torch.tensor([2**60])
    assert largest_difference([large], [large + 1], 1) is not None
    assert largest_difference([large], [large.clone()], 1) is None
    one = torch.tensor([1 + 1j], dtype=torch.complex128)
    assert largest_difference([one], [one + 1e-6], 1) is not None
    assert largest_difference([one], [one + 1e-6], 1, {torch.float64: (1e-5, 1e-5)}) is None
    assert largest_difference([one], [one + 1e-6], 1, {torch.complex128: (1e-5, 1e-5)}) is None


@graph_pass
def scales_constants(graph: Graph) -> None:
    for node in graph.find_nodes(op="get_attr"):
        found = getattr(graph.owning_module, str(node.target))
        if isinstance(found, Tensor):
            found.mul_(2)


@graph_pass
def edits_branches(graph: Graph) -> None:
    for node in graph.find_nodes(op="get_attr"):
        branch = getattr(graph.owning_module, str(node.target))
        if isinstance(branch, torch.fx.GraphModule):
            for inner in branch.graph.find_nodes(op="call_function", target=aten.mul.Tensor):
                inner.args = (inner.args[0], 5)


def with_constant(x: Tensor) -> Tensor:
    return x + torch.tensor([1.0, 2.0, 3.0])


def with_branches(x: Tensor) -> Tensor:
    return torch.cond(x.sum() > 0, lambda x: x * 3, lambda x: x * 4, (x,))


@pytest.mark.parametrize(
    ("broken", "fn"), [(scales_constants, with_constant), (edits_branches, with_branches)]
)
def test_what_a_pass_does_to_the_module_counts(broken: InductorPass, fn: Callable[[Tensor], Tensor]) -> None:
    graph = traced(fn, torch.ones(3))
    PassManager([Nothing()], instruments=[Numerics()])(graph)
    with pytest.raises(PassError, match=f"'{broken.name}' changed the results"):
        PassManager([Nothing(), broken], instruments=[Numerics()])(graph)
