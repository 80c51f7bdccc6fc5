"""What the verifier says, and what it leaves alone; tests/pipeline/test_broken_passes.py has passes of every kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import pytest
import torch
from tests.pipeline.instruments.graphs import NegToSub, Nothing, ReluToClamp, aten, chain, traced
from torch import Tensor
from torch.fx import Graph, Node

from passprint import InductorPass, PassError, PassManager
from passprint.instruments import Verify
from passprint.passes import PatternPass, graph_pass
from passprint.passes.library import DropClones, NoopElimination
from passprint.pipeline import propagation
from passprint.pipeline.graph_text import graph_text
from passprint.pipeline.propagation import Propagation
from passprint.testing import capture_graphs


def verified(*passes: InductorPass, graph: Graph) -> Graph:
    PassManager(passes, instruments=[Verify(repeat=True)])(graph)
    return graph


def error_of(*passes: InductorPass, graph: Graph) -> PassError:
    with pytest.raises(PassError) as caught:
        verified(*passes, graph=graph)
    return caught.value


@graph_pass
def stale(graph: Graph) -> None:
    node = graph.find_nodes(op="call_function", target=aten.relu.default)[0]
    node.meta["val"] = node.meta["val"].to(torch.float16)


@graph_pass
def raises(graph: Graph) -> None:
    raise ValueError("on purpose")


def test_a_pass_that_raises_on_the_copy_is_named() -> None:
    assert error_of(Nothing(), raises, graph=chain()).pass_name == "raises"


def test_a_violation_names_pass_node_and_expectation_and_shows_the_diff() -> None:
    error = error_of(Nothing(), NegToSub(), stale, NegToSub(), graph=chain())
    assert (error.pass_name, error.node) == ("stale", "relu")
    assert (
        "meta['val'] says float16[2, 3] (3, 1), but aten.relu.default gives float32[2, 3] (3, 1)"
        in error.reason
    )
    text = str(error)
    assert "  -relu = aten.relu.default(rsub_scalar)  # float32[2, 3] (3, 1)" in text
    assert "  +relu = aten.relu.default(rsub_scalar)  # float16[2, 3] (3, 1)" in text
    assert "Write what the operator gives" in text


def test_what_was_wrong_before_is_not_the_passs_fault() -> None:
    graph = chain()
    stale(graph)
    verified(Nothing(), NegToSub(), graph=graph)


def test_a_node_unused_before_may_stay_unused() -> None:
    graph = chain()
    first = next(iter(graph.nodes))
    with graph.inserting_after(first):
        graph.call_function(aten.exp.default, (first,)).meta["val"] = first.meta["val"]
    verified(NegToSub(), graph=graph)


def test_symbolic_sizes() -> None:
    @graph_pass
    def frozen(graph: Graph) -> None:
        node = graph.find_nodes(op="call_function", target=aten.relu.default)[0]
        with node.meta["val"].fake_mode:
            node.meta["val"] = torch.empty(4, 3)

    def fn(x: Tensor) -> Tensor:
        return torch.relu(torch.cat([x, x])[: x.shape[0]].reshape(x.shape[1], x.shape[0]).t())

    graph = traced(fn, torch.randn(4, 3), dynamic=True)
    verified(NoopElimination(), graph=graph)
    error = error_of(frozen, graph=graph)
    assert error.reason.startswith("'relu': meta['val'] says float32[4, 3] (3, 1), but")
    assert error.reason.endswith("another shape")


class WithoutVal(InductorPass):
    def __call__(self, graph: Graph) -> None:
        for node in graph.find_nodes(op="call_function", target=aten.relu.default):
            with graph.inserting_before(node):
                new = graph.call_function(aten.clamp_min.default, (node.args[0], 0))
            node.replace_all_uses_with(new)
            graph.erase_node(node)


class Filled(WithoutVal):
    fill_meta: ClassVar[bool] = True


def test_a_missing_val_is_filled_for_passes_that_ask() -> None:
    assert "has no meta['val']" in error_of(WithoutVal(), graph=chain()).reason
    graph = verified(Filled(), graph=chain())
    assert all("val" in node.meta for node in graph.nodes if node.op != "output")
    assert "aten.clamp_min.default(clamp_min_default, 0)  # float32[2, 3] (3, 1)" in graph_text(graph)


def test_asking_for_it_is_part_of_the_identity() -> None:
    class Asks(WithoutVal):
        name: ClassVar[str] = "one"
        fill_meta: ClassVar[bool] = True

    class AsksNot(WithoutVal):
        name: ClassVar[str] = "one"
        fill_meta: ClassVar[bool] = False

    assert PassManager([Asks()]).uuid() != PassManager([AsksNot()]).uuid()


def test_a_val_that_cannot_be_filled_is_an_error() -> None:
    class Refused(InductorPass):
        fill_meta: ClassVar[bool] = True

        def __call__(self, graph: Graph) -> None:
            node = graph.find_nodes(op="call_function", target=aten.neg.default)[0]
            with graph.inserting_after(node):
                graph.call_function(aten.mm.default, (node, node))

    with pytest.raises(PassError, match="asks for meta") as caught:
        PassManager([Refused()])(chain())
    assert caught.value.pass_name == "refused"


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_views_of_what_a_pattern_replaced_are_views_of_the_replacement(dynamic: bool) -> None:
    def fn(x: Tensor) -> Tensor:
        y = torch.relu(x)
        return y.t().unsqueeze(0) + y.reshape(1, x.shape[1], x.shape[0])

    graph = traced(fn, torch.randn(4, 3), dynamic=dynamic)
    PassManager([ReluToClamp()])(graph)
    new = graph.find_nodes(op="call_function", target=aten.clamp_min.default)[0]
    storage = new.meta["val"].untyped_storage()._cdata
    for name in (aten.t.default, aten.unsqueeze.default):
        (view,) = graph.find_nodes(op="call_function", target=name)
        assert view.meta["val"].untyped_storage()._cdata == storage
    verified(DropClones(), graph=graph)


def test_passes_on_patterns_pass() -> None:
    assert isinstance(ReluToClamp(), PatternPass)
    verified(ReluToClamp(), NegToSub(), graph=chain())


def test_a_write_to_an_input_may_stay_and_no_other_may_come() -> None:
    def fn(x: Tensor, state: Tensor) -> Tensor:
        y = x + state
        state.copy_(y * 1.0)
        return torch.relu(y)

    graph = traced(fn, torch.randn(3), torch.randn(3))
    verified(NoopElimination(), ReluToClamp(), graph=graph)

    @graph_pass
    def in_place(graph: Graph) -> None:
        (node,) = graph.find_nodes(op="call_function", target=aten.clamp_min.default)
        node.target = aten.clamp_min_.default
        node.meta["val"] = node.args[0].meta["val"]  # type: ignore[union-attr]

    error = error_of(in_place, graph=graph)
    assert "writes to a new tensor" in error.reason
    PassManager([graph_pass(name="allowed")(lambda graph: None)], instruments=[Verify(functional=False)])(
        graph
    )


def test_only_what_changed_is_asked_for_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Verifying is linear in the graph, and each pass after the first in what it changed."""
    asked: list[str] = []
    ask = Propagation.of

    def counting(self: Propagation, node: Node, mode: object) -> object:
        asked.append(node.name)
        return ask(self, node, mode)

    monkeypatch.setattr(Propagation, "of", counting)
    counts = []
    for length in (10, 100):
        asked.clear()
        PassManager([Nothing(), NegToSub(), Nothing()], instruments=[Verify()])(chain(length))
        counts.append(len(asked))
    # every node once, the new one, and the one that uses it
    assert counts == [10 + 1 + 2, 100 + 1 + 2]


def test_nodes_that_are_alike_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    computed: list[str] = []
    compute = propagation.compute

    def counting(node, *rest):  # type: ignore[no-untyped-def]
        computed.append(node.name)
        return compute(node, *rest)

    monkeypatch.setattr(propagation, "compute", counting)
    PassManager([Nothing()], instruments=[Verify()])(chain(100))
    assert len(computed) < 10


@graph_pass
def half_in_place_of_random(graph: Graph) -> None:
    for node in graph.find_nodes(op="call_function", target=aten.rand_like.default):
        if node.users:
            with graph.inserting_before(node):
                new = graph.call_function(aten.full_like.default, (node.args[0], 0.5))
            new.meta["val"] = node.meta["val"]
            node.replace_all_uses_with(new)
        graph.erase_node(node)


def test_random_numbers_that_were_used_and_are_erased() -> None:
    graph = traced(lambda x: x + torch.rand_like(x), torch.ones(3))
    error = error_of(half_in_place_of_random, graph=graph)
    assert error.pass_name == "half-in-place-of-random"
    assert "rand_like" in error.reason


def test_random_numbers_that_nothing_used_may_go() -> None:
    def fn(x: Tensor) -> Tensor:
        torch.rand_like(x)
        return x + 1

    graph = traced(fn, torch.ones(3))
    assert graph.find_nodes(op="call_function", target=aten.rand_like.default)
    verified(half_in_place_of_random, graph=graph)


@graph_pass
def asks_for_a_size(graph: Graph) -> None:
    for node in graph.find_nodes(op="call_function", target=aten.relu.default):
        if node.meta["val"].shape[0] == 4:
            return


@pytest.mark.parametrize("repeat", [False, True])
def test_a_symbolic_size_that_is_asked_about_is_fixed(repeat: bool) -> None:
    def pipeline(*, dynamic: bool) -> None:
        manager = PassManager([asks_for_a_size], instruments=[Verify(repeat=repeat)])
        sizes = {0: (0,)} if dynamic else None
        capture_graphs(lambda x: torch.relu(x), (torch.randn(4, 3),), dynamic=sizes, pipeline=manager)

    pipeline(dynamic=False)
    with pytest.raises(
        Exception, match=r"'asks-for-a-size' broke the graph \(guard\).* Eq\(s\d+, 4\) must hold"
    ):
        pipeline(dynamic=True)


# -- annotations that are changed themselves


def edits_val(edit: Callable[[Tensor], object], target: object = aten.relu.default) -> InductorPass:
    def run(graph: Graph) -> None:
        edit(graph.find_nodes(op="call_function", target=target)[0].meta["val"])  # type: ignore[arg-type]

    return graph_pass(name="edits-val")(run)


def other_dtype(value: Tensor) -> None:
    with value.fake_mode:  # type: ignore[attr-defined]
        value.data = torch.empty(2, 3, dtype=torch.float16)


def other_memory(value: Tensor) -> None:
    with value.fake_mode:  # type: ignore[attr-defined]
        value.set_(torch.empty(2, 3))


@pytest.mark.parametrize(
    ("edit", "now"),
    [
        (lambda value: value.resize_(2), "float32[2] (1)"),
        (lambda value: value.as_strided_((2, 3), (0, 1)), "float32[2, 3] (0, 1)"),
        (lambda value: value.unsqueeze_(0), "float32[1, 2, 3] (6, 3, 1)"),
        (lambda value: value.requires_grad_(), "float32[2, 3] (3, 1), requiring grad"),
        (other_dtype, "float16[2, 3] (3, 1)"),
        (other_memory, "float32[2, 3] (3, 1), in another memory"),
    ],
    ids=["resize", "as-strided", "unsqueeze", "requires-grad", "dtype", "memory"],
)
def test_an_annotation_that_is_changed_itself(edit: Callable[[Tensor], object], now: str) -> None:
    with pytest.raises(PassError) as caught:
        PassManager([Nothing(), edits_val(edit)], instruments=[Verify()])(chain())
    error = caught.value
    assert (error.pass_name, error.node) == ("edits-val", "relu")
    was = "'relu': meta['val'] itself was changed: it was float32[2, 3] (3, 1) and is "
    assert error.reason == was + now
    assert "Put a new annotation into node.meta['val']" in str(error)


def test_one_of_several_results_that_is_changed_itself() -> None:
    graph = traced(lambda x: x.split(1)[0] + 1, torch.randn(2, 3))
    target = aten.split.Tensor
    error = error_of(edits_val(lambda value: value[1].resize_(2), target), graph=graph)
    assert "it was (float32[1, 3] (3, 1), float32[1, 3] (3, 1)) and is (" in error.reason


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_an_annotation_that_is_written_to_and_says_the_same(dynamic: bool) -> None:
    graph = traced(lambda x: torch.relu(torch.neg(x)), torch.randn(2, 3), dynamic=dynamic)
    same = edits_val(lambda value: value.fill_(1.0))
    verified(same, NegToSub(), same, graph=graph)


def test_annotations_made_in_inference_mode() -> None:
    with torch.inference_mode():
        graph = chain()
        verified(Nothing(), NegToSub(), graph=graph)
        resized = edits_val(lambda value: value.resize_(2))
        assert "itself was changed" in error_of(resized, graph=graph).reason


def test_a_new_annotation_that_asks_for_gradients() -> None:
    @graph_pass
    def asks(graph: Graph) -> None:
        node = graph.find_nodes(op="call_function", target=aten.relu.default)[0]
        node.meta["val"] = node.meta["val"].clone().requires_grad_()

    expected = "'relu': meta['val'] requires grad, and nothing that aten.relu.default is given does"
    assert error_of(asks, graph=chain()).reason == expected


def test_annotations_of_a_graph_that_asks_for_gradients_pass() -> None:
    verified(NegToSub(), graph=traced(lambda x: torch.relu(-x), torch.randn(2, 3, requires_grad=True)))


# -- overload packets


@graph_pass
def calls_a_packet(graph: Graph) -> None:
    for node in graph.nodes:
        if isinstance(node.target, torch._ops.OpOverload):
            node.target = node.target.overloadpacket


def test_an_overload_packet_is_no_operator() -> None:
    error = error_of(calls_a_packet, graph=chain(1))
    assert error.reason.startswith("'neg' calls aten.neg, which stands for all its overloads")
    assert "Name the one that is meant, as in torch.ops.aten.neg.default" in str(error)


def test_before_autograd_torch_may_call_what_it_likes() -> None:
    graph = traced(lambda x: torch.relu(-x), torch.randn(2, 3))
    PassManager([calls_a_packet], hook="pre_grad", instruments=[Verify()])(graph)
