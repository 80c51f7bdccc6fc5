"""Passes that are broken on purpose, each in one way; the verifier or the numerics must name every one.

``python -m tests.pipeline.broken`` prints how many of each kind were caught, and by which.
"""

from __future__ import annotations

import operator
import random
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.fx import Graph, Node

from passprint import PassError, PassManager
from passprint.instruments import Numerics, Verify
from passprint.passes import graph_pass
from passprint.passes.library import FoldReshapes, NoopElimination
from passprint.pipeline.snapshots import copy_graph
from passprint.testing import capture_graphs

aten, prims = torch.ops.aten, torch.ops.prims


def model(x: Tensor, weight: Tensor, index: Tensor, state: Tensor) -> tuple[Tensor, ...]:
    """A bit of everything: casts, views, a reduction, random numbers, indices, a write to an input."""
    state.add_(x.mean())
    wide = x.to(torch.bfloat16).to(torch.float32)
    norm = weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6))
    rows = norm.transpose(0, 1).reshape(-1, 8)
    scores = torch.softmax((rows @ rows.t()) * 0.125, dim=-1)
    left, right = norm.split(4, dim=-1)
    gated = torch.nn.functional.silu(left) * right
    dropped = torch.nn.functional.dropout(gated, 0.5, True)
    noise = torch.rand_like(gated)
    return scores, torch.cat([gated, dropped], -1), noise, weight[index] - 1.0, norm > 0, state * 2.0


def graph_of(*, dynamic: bool) -> Graph:
    """What Inductor's last hook gets of `model`."""
    torch.manual_seed(0)
    inputs = (torch.randn(4, 3, 8), torch.randn(8), torch.tensor([1, 0, 1]), torch.zeros(()))
    return capture_graphs(model, inputs, dynamic={0: (0,)} if dynamic else None).graphs[0]


@dataclass(frozen=True)
class Broken:
    """A broken pass: its kind, its name, and what it does to a graph."""

    kind: str
    name: str
    run: Callable[[Graph], None]


BROKEN: list[Broken] = []


def broken(kind: str) -> Callable[[Callable[[Graph], None]], Callable[[Graph], None]]:
    def register(run: Callable[[Graph], None]) -> Callable[[Graph], None]:
        BROKEN.append(Broken(kind, run.__name__.replace("_", "-"), run))
        return run

    return register


def find(graph: Graph, target: object, nth: int = 0) -> Node:
    return [node for node in graph.nodes if node.target == target][nth]


def inputs_of(graph: Graph, dtype: torch.dtype, rank: int) -> Node:
    """The input with this dtype and rank."""
    for node in graph.nodes:
        value = node.meta.get("val")
        if (
            node.op == "placeholder"
            and isinstance(value, Tensor)
            and value.dtype == dtype
            and value.dim() == rank
        ):
            return node
    raise LookupError((dtype, rank))


def output_of(graph: Graph) -> Node:
    return next(iter(reversed(graph.nodes)))


def replace(node: Node, target: object, args: tuple[object, ...], *, val: object = "same") -> Node:
    """A node in the place of another, annotated as the other unless told."""
    graph = node.graph
    with graph.inserting_before(node):
        new = graph.call_function(target, args)  # type: ignore[arg-type]
    if val == "same":
        new.meta["val"] = node.meta["val"]
    elif val is not None:
        new.meta["val"] = val
    node.replace_all_uses_with(new)
    graph.erase_node(node)
    return new


def after(node: Node, target: object, args: tuple[object, ...], val: object) -> Node:
    """A node behind another, for all its uses."""
    with node.graph.inserting_after(node):
        new = node.graph.call_function(target, args)  # type: ignore[arg-type]
    new.meta["val"] = val
    node.replace_all_uses_with(new, delete_user_cb=lambda user: user is not new)
    return new


# -- dtype


@broken("dtype")
def wide_becomes_narrow(graph: Graph) -> None:
    node = find(graph, prims.convert_element_type.default, 1)
    node.args = (node.args[0], torch.float16)


@broken("dtype")
def annotation_says_half(graph: Graph) -> None:
    node = find(graph, aten.exp.default)
    node.meta["val"] = node.meta["val"].to(torch.float16)


@broken("dtype")
def output_cast(graph: Graph) -> None:
    node = find(graph, aten.div.Tensor)
    after(node, prims.convert_element_type.default, (node, torch.float64), node.meta["val"].to(torch.float64))


@broken("dtype")
def mask_as_floats(graph: Graph) -> None:
    node = find(graph, aten.gt.Scalar, 1)
    after(node, prims.convert_element_type.default, (node, torch.float32), node.meta["val"].float())


@broken("dtype")
def cast_dropped(graph: Graph) -> None:
    node = find(graph, prims.convert_element_type.default, 1)
    node.replace_all_uses_with(node.args[0])  # type: ignore[arg-type]
    graph.erase_node(node)


# -- shape and strides


@broken("shape")
def reduction_keeps_no_dim(graph: Graph) -> None:
    node = find(graph, aten.mean.dim)
    node.args = (node.args[0], [-1], False)


@broken("shape")
def annotation_of_another_shape(graph: Graph) -> None:
    node = find(graph, aten.neg.default)
    node.meta["val"] = node.meta["val"].flatten(1)


@broken("shape")
def sizes_swapped(graph: Graph) -> None:
    node = find(graph, aten.reshape.default)
    node.args = (node.args[0], list(reversed(node.args[1])))  # type: ignore[arg-type]


@broken("shape")
def output_flattened(graph: Graph) -> None:
    node = find(graph, aten.cat.default)
    after(node, aten.reshape.default, (node, [-1]), node.meta["val"].reshape(-1))


@broken("shape")
def symbol_frozen(graph: Graph) -> None:
    """A size that varies, written down as the number that it had."""
    node = find(graph, aten.cat.default)
    value = node.meta["val"]
    with value.fake_mode:
        node.meta["val"] = torch.empty(4 if isinstance(value.shape[0], torch.SymInt) else 5, 3, 8)


@broken("strides")
def transposed_annotation(graph: Graph) -> None:
    node = find(graph, aten.clone.default)
    node.meta["val"] = node.args[0].meta["val"]  # type: ignore[union-attr]


@broken("strides")
def contiguous_dropped(graph: Graph) -> None:
    node = find(graph, aten.clone.default)
    node.kwargs = {"memory_format": torch.preserve_format}


@broken("strides")
def output_laid_out_anew(graph: Graph) -> None:
    node = find(graph, aten.div.Tensor)
    turned = after(node, aten.permute.default, (node, [1, 0]), node.meta["val"].permute(1, 0))
    with turned.meta["val"].fake_mode:
        copied = turned.meta["val"].contiguous()
    copy = after(turned, aten.clone.default, (turned,), copied)
    copy.kwargs = {"memory_format": torch.contiguous_format}
    after(copy, aten.permute.default, (copy, [1, 0]), copied.permute(1, 0))


@broken("strides")
def expanded_instead_of_copied(graph: Graph) -> None:
    node = find(graph, aten.amax.default)
    value = node.meta["val"]
    node.meta["val"] = value.as_strided(value.shape, (0, 0))
    for user in list(node.users):
        user.meta["val"] = user.meta["val"].t()


# -- annotations


@broken("missing val")
def new_node_without_val(graph: Graph) -> None:
    node = find(graph, aten.rsqrt.default)
    replace(node, aten.reciprocal.default, (node.args[0],), val=None)


@broken("missing val")
def val_deleted(graph: Graph) -> None:
    del find(graph, aten.pow.Tensor_Scalar).meta["val"]


@broken("missing val")
def meta_replaced(graph: Graph) -> None:
    find(graph, aten.index.Tensor).meta = {}


@broken("stale val")
def argument_changed_under_val(graph: Graph) -> None:
    node = find(graph, aten.split.Tensor)
    node.args = (node.args[0], 2, -1)


@broken("stale val")
def downstream_left_behind(graph: Graph) -> None:
    """The new node is annotated right, what is computed from it is not."""
    node = find(graph, aten.pow.Tensor_Scalar)
    value = node.meta["val"]
    after(node, prims.convert_element_type.default, (node, torch.float64), value.to(torch.float64))


@broken("stale val")
def val_of_the_argument(graph: Graph) -> None:
    node = find(graph, aten.any.dims)
    node.meta["val"] = node.args[0].meta["val"]  # type: ignore[union-attr]


@broken("stale val")
def view_of_other_memory(graph: Graph) -> None:
    node = find(graph, aten.permute.default)
    node.meta["val"] = node.meta["val"].clone()


# -- structure


@broken("order")
def used_before_defined(graph: Graph) -> None:
    find(graph, aten.cat.default).append(find(graph, aten.neg.default))


@broken("order")
def input_moved_behind(graph: Graph) -> None:
    find(graph, aten.mm.default).append(inputs_of(graph, torch.float32, 3))


@broken("dropped user")
def output_without_a_result(graph: Graph) -> None:
    node = output_of(graph)
    node.args = (node.args[0][:-1],)  # type: ignore[index]


@broken("dropped user")
def result_replaced_by_none(graph: Graph) -> None:
    node = output_of(graph)
    node.args = ((None, *node.args[0][1:]),)  # type: ignore[misc,index]


@broken("dropped user")
def users_edited(graph: Graph) -> None:
    node = find(graph, aten.rsqrt.default)
    node.users.clear()


@broken("dropped user")
def foreign_node(graph: Graph) -> None:
    other = copy_graph(graph)
    find(graph, aten.neg.default).args = (find(other, operator.getitem),)


@broken("leak")
def old_node_left(graph: Graph) -> None:
    node = find(graph, aten.neg.default)
    with graph.inserting_after(node):
        new = graph.call_function(aten.neg.default, node.args)
    new.meta["val"] = node.meta["val"]
    node.replace_all_uses_with(new)


@broken("leak")
def new_node_unused(graph: Graph) -> None:
    node = find(graph, aten.exp.default)
    with graph.inserting_after(node):
        graph.call_function(aten.log.default, (node,)).meta["val"] = node.meta["val"]


@broken("signature")
def input_dropped(graph: Graph) -> None:
    node = inputs_of(graph, torch.int64, 1)
    with graph.inserting_before(find(graph, aten.index.Tensor)):
        new = graph.call_function(
            aten.arange.default, (3,), {"dtype": torch.int64, "device": torch.device("cpu")}
        )
    with node.meta["val"].fake_mode:
        new.meta["val"] = torch.arange(3)
    node.replace_all_uses_with(new)
    graph.erase_node(node)


@broken("signature")
def inputs_swapped(graph: Graph) -> None:
    first = next(iter(graph.nodes))
    inputs_of(graph, torch.int64, 1).append(first)


@broken("signature")
def outputs_swapped(graph: Graph) -> None:
    node = output_of(graph)
    first, second, *others = node.args[0]  # type: ignore[misc]
    node.args = ((second, first, *others),)


@broken("arguments")
def operator_refuses(graph: Graph) -> None:
    node = find(graph, aten.mm.default)
    node.args = (node.args[0], node.args[0])


@broken("arguments")
def too_many_arguments(graph: Graph) -> None:
    node = find(graph, aten.rsqrt.default)
    node.args = (*node.args, 1.0)


# -- effects


@broken("effect")
def write_dropped(graph: Graph) -> None:
    graph.erase_node(find(graph, aten.copy_.default))


@broken("effect")
def write_moved_before_a_read(graph: Graph) -> None:
    write, add = find(graph, aten.copy_.default), find(graph, aten.add.Tensor, 2)
    add.append(write)
    with graph.inserting_after(write):
        again = graph.call_function(aten.add.Tensor, add.args)
    again.meta["val"] = add.meta["val"]
    find(graph, aten.mul.Tensor, -1).replace_input_with(add, again)


@broken("effect")
def write_to_another_input(graph: Graph) -> None:
    write = find(graph, aten.copy_.default)
    weight = inputs_of(graph, torch.float32, 1)
    write.args = (weight, *write.args[1:])
    write.meta["val"] = weight.meta["val"]


@broken("effect")
def write_twice(graph: Graph) -> None:
    write = find(graph, aten.copy_.default)
    with graph.inserting_after(write):
        again = graph.call_function(write.target, write.args)  # type: ignore[arg-type]
    again.meta["val"] = write.meta["val"]


@broken("effect")
def random_numbers_shared(graph: Graph) -> None:
    """Two draws become one: each looks right by itself."""
    first = find(graph, prims.inductor_random.default)
    second = find(graph, prims.inductor_random.default, 1)
    second.replace_all_uses_with(first)
    graph.erase_node(second)
    for node in reversed(list(graph.nodes)):
        if not node.users and node.target is prims.inductor_lookup_seed.default:
            graph.erase_node(node)


@broken("effect")
def seed_used_twice(graph: Graph) -> None:
    """Two draws that are independent become the same numbers once code is generated."""
    first, second = (find(graph, prims.inductor_lookup_seed.default, nth) for nth in (0, 1))
    first.args = second.args


@broken("mutated input")
def in_place_on_an_input(graph: Graph) -> None:
    node = find(graph, aten.mean.default)
    with graph.inserting_before(node):
        new = graph.call_function(aten.mul_.Tensor, (node.args[0], 2.0))
    new.meta["val"] = node.args[0].meta["val"]  # type: ignore[union-attr]


@broken("mutated input")
def in_place_on_an_intermediate(graph: Graph) -> None:
    node = find(graph, aten.neg.default)
    replace(node, aten.neg_.default, node.args, val=node.args[0].meta["val"])  # type: ignore[union-attr]


@broken("mutated input")
def out_variant(graph: Graph) -> None:
    node = find(graph, aten.index.Tensor)
    with graph.inserting_after(node):
        new = graph.call_function(aten.fill_.Scalar, (node, 0.0))
    new.meta["val"] = node.meta["val"]
    node.replace_all_uses_with(new, delete_user_cb=lambda user: user is not new)


@broken("aliasing")
def output_is_an_input(graph: Graph) -> None:
    node = find(graph, aten.mul.Tensor, -1)
    node.replace_all_uses_with(inputs_of(graph, torch.float32, 0))
    graph.erase_node(node)


@broken("aliasing")
def two_outputs_in_one_memory(graph: Graph) -> None:
    first, second = find(graph, aten.cat.default), output_of(graph)
    values = list(second.args[0])  # type: ignore[arg-type]
    mask = values[4]
    with graph.inserting_before(second):
        view = graph.call_function(aten.slice.Tensor, (mask, 0, 0, 9223372036854775807))
    view.meta["val"] = mask.meta["val"]
    second.args = ((*values[:4], view, view),)
    assert first.graph is graph


# -- numbers


@broken("constant")
def epsilon_forgotten(graph: Graph) -> None:
    node = find(graph, aten.add.Tensor)
    node.args = (node.args[0], 1e-1)


@broken("constant")
def scale_wrong(graph: Graph) -> None:
    for node in graph.nodes:
        if node.target is aten.mul.Tensor and node.args[1] == 0.125:
            node.args = (node.args[0], 0.25)


@broken("constant")
def wrong_dimension(graph: Graph) -> None:
    node = find(graph, aten.amax.default)
    sums = find(graph, aten.sum.dim_IntList)
    sums.args = (find(graph, aten.where.self), *sums.args[1:])
    assert node.graph is graph


@broken("constant")
def wrong_index(graph: Graph) -> None:
    node = find(graph, operator.getitem)
    node.args = (node.args[0], 1)


@broken("meaning")
def operands_swapped(graph: Graph) -> None:
    node = find(graph, aten.sub.Tensor)
    node.args = (node.args[1], node.args[0])


@broken("meaning")
def another_function(graph: Graph) -> None:
    node = find(graph, aten.rsqrt.default)
    replace(node, aten.sqrt.default, node.args)


@broken("meaning")
def comparison_not_strict(graph: Graph) -> None:
    node = find(graph, aten.gt.Scalar)
    replace(node, aten.le.Scalar, node.args)


@broken("meaning")
def inputs_confused(graph: Graph) -> None:
    """Of the right shape and dtype, and another value."""
    node = find(graph, aten.mul.Tensor, 0)
    node.args = (inputs_of(graph, torch.float32, 3), node.args[1])
    find(graph, aten.pow.Tensor_Scalar).args = (inputs_of(graph, torch.float32, 3), 3)
    graph.eliminate_dead_code()


@broken("meaning")
def rounding_skipped(graph: Graph) -> None:
    """The detour through bfloat16 rounds, and is no detour."""
    node = find(graph, prims.convert_element_type.default, 1)
    narrow = node.args[0]
    node.replace_all_uses_with(narrow.args[0])  # type: ignore[union-attr,arg-type]
    graph.erase_node(node)
    graph.erase_node(narrow)  # type: ignore[arg-type]


@broken("meaning")
def dropout_kept_on(graph: Graph) -> None:
    node = find(graph, aten.mul.Tensor, -2)
    node.replace_all_uses_with(find(graph, aten.mul.Tensor, -4))
    graph.eliminate_dead_code()


@broken("determinism")
def random_order(graph: Graph) -> None:
    """Which of two equal rewrites is made is drawn anew each time."""
    _draws.append(len(_draws))
    node = find(graph, aten.neg.default)
    target = (aten.neg.default, aten.negative.default)[len(_draws) % 2]
    replace(node, target, node.args)


@broken("determinism")
def random_constant(graph: Graph) -> None:
    node = find(graph, aten.sub.Tensor, -1)
    node.args = (node.args[0], 1.0 + random.random() * 1e-9)


_draws: list[int] = []


@broken("raises")
def raises(graph: Graph) -> None:
    raise KeyError("weights")


@broken("raises")
def returns_a_graph(graph: Graph) -> None:
    return copy_graph(graph)  # type: ignore[return-value]


@dataclass(frozen=True)
class Caught:
    """What happened to a broken pass: ``by`` is "manager", "verify", "numerics" or None; ``blamed`` the pass named."""

    by: str | None
    blamed: str | None
    error: str = ""


def try_pass(case: Broken, graph: Graph) -> Caught:
    """Run a broken pass between two sound ones, on a copy of the graph."""
    passes = [NoopElimination(), graph_pass(name=case.name)(case.run), FoldReshapes()]
    error: PassError | None = None
    for by, instruments in (("manager", ()), ("verify", (Verify(repeat=True),)), ("numerics", (Numerics(),))):
        try:
            PassManager(passes, instruments=instruments)(copy_graph(graph))
        except PassError as caught:
            error = caught
            return Caught(by, error.pass_name, str(error))
    return Caught(None, None)


def main() -> None:
    """Print how many of each kind were caught, by what."""
    found: dict[str, list[tuple[Broken, Caught]]] = {}
    for dynamic in (False, True):
        graph = graph_of(dynamic=dynamic)
        for case in BROKEN:
            found.setdefault(case.kind, []).append((case, try_pass(case, graph)))
    print(f"{'kind':<15} {'passes':>7} {'manager':>8} {'verify':>7} {'numerics':>9} {'missed':>7}")
    for kind, results in found.items():
        count = {
            by: sum(caught.by == by for _, caught in results) for by in ("manager", "verify", "numerics")
        }
        right = [case.name == caught.blamed for case, caught in results]
        told = f"{count['manager']:>8} {count['verify']:>7} {count['numerics']:>9} {right.count(False):>7}"
        print(f"{kind:<15} {len(results) // 2:>7} {told}")
        for case, caught in results:
            if caught.blamed != case.name:
                print(f"    not caught: {case.name} ({caught.blamed})")
    total = [case.name == caught.blamed for results in found.values() for case, caught in results]
    print(
        f"{len(BROKEN)} passes, each on static and dynamic sizes: {sum(total)} of {len(total)} caught, by name"
    )


if __name__ == "__main__":
    main()
