"""Graphs of control flow: what a pass does within them counts, and is held to the same rules."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from tests.pipeline.instruments.graphs import NegToSub, Nothing, ReluToClamp, aten, traced
from torch import Tensor
from torch.fx import Graph, GraphModule, Node

from passprint import CompileRange, InductorPass, PassError, PassManager, pass_context
from passprint.instruments import Dump, Numerics, Reproduce, Verify, ZeroMatchWarning
from passprint.passes import RewriteCounter, graph_pass
from passprint.passes.branches import branches_of
from passprint.pipeline import FixedPoint
from passprint.pipeline.graph_text import graph_text
from passprint.pipeline.reproducer import Reproducer
from passprint.pipeline.snapshots import copy_graph
from passprint.pipeline.trial import try_pipeline
from passprint.testing import capture_graphs


def model(p: Tensor, x: Tensor) -> Tensor:
    """A condition, and in its second branch another one."""

    def inner(x: Tensor) -> Tensor:
        return torch.cond(x.sum() > 0, lambda x: (-x).exp(), lambda x: x * 3, (x,))

    return torch.cond(p, lambda x: torch.relu(-x) * 2, lambda x: inner(x) + 1, (x,)).sin()


def graph_of(*, dynamic: bool = False) -> Graph:
    return traced(model, torch.tensor(True), torch.randn(2, 3), dynamic=dynamic)


TRUE, INNER = "true_graph_0", "false_graph_0/true_graph_0"


def in_branch(name: str, edit: Callable[[Graph], None]) -> InductorPass:
    """A pass that edits one branch."""

    def run(graph: Graph) -> None:
        edit(branches_of(graph)[name])

    return graph_pass(name="edits-a-branch")(run)


class Everywhere(InductorPass):
    """As ``NegToSub``, also in the branches."""

    def __call__(self, graph: Graph) -> None:
        for one in (graph, *branches_of(graph).values()):
            NegToSub()(one)


def only(graph: Graph, target: object) -> Node:
    (node,) = graph.find_nodes(op="call_function", target=target)  # type: ignore[arg-type]
    return node


def error_of(*passes: InductorPass, graph: Graph | None = None) -> PassError:
    with pytest.raises(PassError) as caught:
        PassManager(passes, instruments=[Verify(repeat=True)])(graph or graph_of())
    return caught.value


# -- what counts


def test_branches_are_found_at_every_depth() -> None:
    names = list(branches_of(graph_of()))
    assert names == [TRUE, "false_graph_0", INNER, "false_graph_0/false_graph_0"]
    assert branches_of(traced(lambda x: x + 1, torch.ones(2))) == {}


def test_rewrites_within_branches_count() -> None:
    graph = graph_of()
    with RewriteCounter(graph) as counter:
        Everywhere()(graph)
    assert (counter.rewrites, counter.changed, counter.is_sound()) == (2, True, True)
    with RewriteCounter(graph) as again:
        Everywhere()(graph)
    assert (again.rewrites, again.changed) == (0, False)


def test_a_manager_counts_them_between_passes_that_do_nothing() -> None:
    graph = graph_of()
    with pass_context(CompileRange.any()) as context:
        PassManager([Nothing(), Everywhere(), NegToSub(), Nothing()])(graph)
    assert context.matches == {"nothing": 0, "everywhere": 2, "neg-to-sub": 0}


def test_another_graph_in_the_place_of_a_branch_is_a_change() -> None:
    graph = graph_of()
    with RewriteCounter(graph) as counter:
        graph.owning_module.true_graph_0 = GraphModule({}, copy_graph(branches_of(graph)[TRUE]))  # type: ignore
    assert (counter.rewrites, counter.changed) == (1, True)


def test_a_branch_that_a_pass_brought_along_is_followed() -> None:
    @graph_pass
    def bring(graph: Graph) -> None:
        owner = graph.owning_module
        owner.new = GraphModule({}, traced(lambda x: (-x * 1,), torch.ones(2, 3)))  # type: ignore
        sin = only(graph, aten.sin.default)
        with graph.inserting_before(sin):
            part = graph.get_attr("new")
            call = graph.call_function(torch.ops.higher_order.invoke_subgraph, (part, "new", sin.args[0]))
            item = graph.call_function(__import__("operator").getitem, (call, 0))
        item.meta["val"], call.meta["val"] = sin.meta["val"], (sin.meta["val"],)
        sin.args = (item,)

    with pass_context(CompileRange.any()) as context:
        PassManager([Nothing(), bring, in_branch("new", NegToSub())])(
            traced(lambda x: x.exp().sin(), torch.ones(2, 3))
        )
    assert context.matches["edits-a-branch"] == 1


class OneNeg(InductorPass):
    """Turns one ``neg`` of a branch into a ``sub``: as many rounds as there are."""

    def __call__(self, graph: Graph) -> None:
        for branch in branches_of(graph).values():
            for node in branch.find_nodes(op="call_function", target=aten.neg.default)[:1]:
                node.target, node.args = aten.rsub.Scalar, (node.args[0], 0.0)
                return


def test_a_fixed_point_goes_on_while_a_branch_changes() -> None:
    graph = graph_of()
    PassManager([FixedPoint([OneNeg()])])(graph)
    assert not any(
        one.find_nodes(op="call_function", target=aten.neg.default) for one in branches_of(graph).values()
    )


def test_a_limit_tries_a_pass_on_branches_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PASSPRINT_LIMIT", "1")
    graph = graph_of()
    before = graph_text(graph)
    PassManager([Everywhere()])(graph)  # two rewrites, and it cannot stop after one
    assert graph_text(graph) == before


def test_a_copy_has_branches_of_its_own() -> None:
    graph = graph_of()
    before, copy = graph_text(graph), copy_graph(graph)
    assert graph_text(copy) == before
    Everywhere()(copy)
    assert graph_text(graph) == before != graph_text(copy)
    assert f"\n# {INNER}\n" in before


def test_the_difference_is_shown() -> None:
    stream = io.StringIO()
    PassManager([Everywhere()], instruments=[Dump(stream=stream)])(graph_of())
    assert "everywhere: 2 rewrites" in stream.getvalue()
    assert stream.getvalue().count("+rsub_scalar = aten.rsub.Scalar(") == 2


# -- what is checked


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_sound_rewrites_in_branches_pass(dynamic: bool) -> None:
    passes = [Nothing(), Everywhere(), NegToSub()]
    PassManager(passes, instruments=[Verify(repeat=True), Numerics()])(graph_of(dynamic=dynamic))


def test_real_graphs_with_branches_pass() -> None:
    manager = PassManager([Everywhere(), Nothing()], instruments=[Verify(repeat=True)])
    for gradients in (False, True):
        inputs = (torch.tensor(True), torch.randn(2, 3, requires_grad=gradients))
        for hook in ("joint_pre", "post_grad_post") if gradients else ("post_grad_post",):
            capture_graphs(model, inputs, hook=hook, pipeline=manager, dynamic={1: (1,)})


def stale(branch: Graph) -> None:
    node = next(node for node in branch.nodes if node.op == "call_function")
    node.meta["val"] = node.meta["val"].to(torch.float16)


@pytest.mark.parametrize("name", [TRUE, INNER])
def test_a_stale_val_in_a_branch_is_named(name: str) -> None:
    error = error_of(Nothing(), in_branch(name, stale))
    assert (error.pass_name, error.node) == ("edits-a-branch", "neg")
    assert error.reason.startswith(f"in the branch '{name}': 'neg': meta['val'] says float16[2, 3]")
    assert f"  +# {name}" not in str(error)  # the title is no difference
    assert "  +neg = aten.neg.default(" in str(error)


def test_another_dtype_that_a_branch_gives() -> None:
    error = error_of(in_branch(TRUE, cast_output))
    assert error.reason == (
        f"in the branch '{TRUE}': output 0 was float32[2, 3] (3, 1) and is float64[2, 3] (3, 1)"
    )


def test_a_new_write_in_a_branch() -> None:
    def write(branch: Graph) -> None:
        node = only(branch, aten.relu.default)
        node.target = aten.relu_.default
        node.meta["val"] = node.args[0].meta["val"]  # type: ignore[union-attr]

    assert "writes to a new tensor" in error_of(in_branch(TRUE, write)).reason


def test_something_left_over_in_a_branch() -> None:
    def leave(branch: Graph) -> None:
        node = only(branch, aten.mul.Tensor)
        node.replace_all_uses_with(node.args[0])  # type: ignore[arg-type]

    assert f"in the branch '{TRUE}': nothing uses 'mul' any more" in error_of(in_branch(TRUE, leave)).reason


def test_a_use_before_its_node_in_a_branch_is_seen_by_every_manager() -> None:
    def swap(branch: Graph) -> None:
        only(branch, aten.mul.Tensor).append(only(branch, aten.neg.default))

    with pytest.raises(PassError, match=f"in the branch '{TRUE}': node 'relu' uses 'neg'") as caught:
        PassManager([in_branch(TRUE, swap)])(graph_of())
    assert (caught.value.pass_name, caught.value.node) == ("edits-a-branch", "relu")


def test_a_user_that_is_not_known_in_a_branch() -> None:
    def forget(branch: Graph) -> None:
        only(branch, aten.relu.default).users.clear()

    assert "does not know its user 'mul'" in error_of(in_branch(TRUE, forget)).reason


def test_what_was_wrong_in_a_branch_before_is_not_the_passs_fault() -> None:
    graph = graph_of()
    stale(branches_of(graph)[TRUE])
    PassManager([Nothing(), in_branch(INNER, NegToSub())], instruments=[Verify()])(graph)


def pruned(p: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return torch.cond(p, lambda x, y: x * 2 + y, lambda x, y: x * 3 + y, (x, y)).sin()


def forget_the_second_operand(branch: Graph) -> None:
    add = only(branch, aten.add.Tensor)
    unused = add.args[1]
    add.replace_all_uses_with(add.args[0])  # type: ignore[arg-type]
    branch.erase_node(add)
    branch.erase_node(unused)  # type: ignore[arg-type]


def give_one_operand(graph: Graph) -> None:
    call = only(graph, torch.ops.higher_order.cond)
    call.args = (*call.args[:3], (call.args[3][0],))  # type: ignore[index]


def cast_output(branch: Graph) -> None:
    node = only(branch, aten.mul.Tensor)
    with branch.inserting_after(node):
        new = branch.call_function(torch.ops.prims.convert_element_type.default, (node, torch.float64))
    new.meta["val"] = node.meta["val"].to(torch.float64)
    node.replace_all_uses_with(new, delete_user_cb=lambda user: user is not new)


def two_operands() -> Graph:
    torch.compiler.reset()  # what was traced before may have made Dynamo hand over sizes as well
    return traced(pruned, torch.tensor(True), torch.randn(3), torch.randn(3))


def test_an_operand_may_go_from_the_call_and_both_branches() -> None:
    @graph_pass
    def prune(graph: Graph) -> None:
        give_one_operand(graph)
        for branch in branches_of(graph).values():
            forget_the_second_operand(branch)

    PassManager([prune], instruments=[Verify()])(two_operands())
    error = error_of(in_branch(TRUE, forget_the_second_operand), graph=two_operands())
    assert error.reason.startswith(f"in the branch '{TRUE}': the inputs were (")


def test_a_branch_with_more_inputs_than_a_call_that_changed_gives() -> None:
    @graph_pass
    def prune(graph: Graph) -> None:
        give_one_operand(graph)
        forget_the_second_operand(branches_of(graph)["false_graph_0"])

    told = f"in the branch '{TRUE}': it has 2 inputs, and 'cond' gives it 1"
    assert error_of(prune, graph=two_operands()).reason == told


def test_a_branch_that_gives_another_thing_than_a_call_that_changed_says() -> None:
    @graph_pass
    def prune(graph: Graph) -> None:
        give_one_operand(graph)
        for branch in branches_of(graph).values():
            forget_the_second_operand(branch)
        cast_output(branches_of(graph)[TRUE])

    told = f"in the branch '{TRUE}': output 0 is float64[3] (1), and 'cond' says float32[3] (1)"
    assert error_of(prune, graph=two_operands()).reason == told


class BareClamp(InductorPass):
    fill_meta: ClassVar[bool] = True

    def __call__(self, graph: Graph) -> None:
        for branch in branches_of(graph).values():
            for node in branch.find_nodes(op="call_function", target=aten.relu.default):
                with branch.inserting_before(node):
                    new = branch.call_function(aten.clamp_min.default, (node.args[0], 0))
                node.replace_all_uses_with(new)
                branch.erase_node(node)


def test_a_missing_val_in_a_branch_is_filled_for_passes_that_ask() -> None:
    graph = graph_of()
    PassManager([BareClamp()], instruments=[Verify()])(graph)
    assert "val" in only(branches_of(graph)[TRUE], aten.clamp_min.default).meta


@graph_pass
def spoils_a_branch(graph: Graph) -> None:
    stale(branches_of(graph)[TRUE])


def test_a_failure_in_a_branch_is_shown_again(tmp_path: Path) -> None:
    reproduce = Reproduce(tmp_path, stream=io.StringIO())
    with pytest.raises(PassError) as caught:
        PassManager([spoils_a_branch], instruments=[Verify(), reproduce])(graph_of())
    with pytest.raises(PassError) as again:
        Reproducer.load(reproduce.written[0]).run()
    assert again.value.reason == caught.value.reason


# -- as Inductor comes to them: each branch first, then the graph around it


def test_a_function_is_tried_with_the_graph_around_its_branches() -> None:
    trials = try_pipeline(PassManager([NegToSub()]), (model, (torch.tensor(True), torch.randn(2, 3))))
    assert [trial.is_branch for trial in trials] == [True] * 4 + [False]
    assert [trial.rewrites for trial in trials] == [1, 1, 0, 0, 0]
    assert "cond(" in trials[-1].before


def test_a_pattern_is_looked_for_in_branches_and_around_them_before_the_alarm() -> None:
    def matches_around(p: Tensor, x: Tensor) -> Tensor:
        return torch.cond(p, lambda x: x * 2, lambda x: x * 3, (x,)).relu()

    def matches_nowhere(p: Tensor, x: Tensor) -> Tensor:
        return torch.cond(p, lambda x: x * 2, lambda x: x.exp(), (x,)).sin()

    class Found(ReluToClamp):
        """A pass that this process has not seen matching."""

    class NotFound(ReluToClamp):
        """And another."""

    inputs = (torch.tensor(True), torch.randn(2, 3))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ZeroMatchWarning)
        capture_graphs(matches_around, inputs, pipeline=PassManager([Found()]))
        assert [one for one in caught if one.category is ZeroMatchWarning] == []
        capture_graphs(matches_nowhere, inputs, pipeline=PassManager([NotFound()]))
    (warning,) = [one for one in caught if one.category is ZeroMatchWarning]
    assert "the pass 'not-found' matched nothing in this graph" in str(warning.message)
