"""Broken passes: writes, random numbers, shared memory."""

from __future__ import annotations

import torch
from tests.pipeline.broken.suite import aten, broken, find, inputs_of, output_of, prims, replace
from torch.fx import Graph


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
