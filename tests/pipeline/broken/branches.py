"""Broken passes: what they do within the graphs of control flow."""

from __future__ import annotations

import torch
from tests.pipeline.broken.suite import after, aten, broken, find, output_of, prims, replace
from torch.fx import Graph

from passprint.passes.branches import branches_of


def branch_with(graph: Graph, target: object) -> Graph:
    """The branch that calls an operator."""
    return next(
        one for one in branches_of(graph).values() if any(node.target == target for node in one.nodes)
    )


@broken("branch")
def branch_gives_another_dtype(graph: Graph) -> None:
    node = find(branch_with(graph, aten.relu.default), aten.mul.Tensor)
    after(node, prims.convert_element_type.default, (node, torch.float64), node.meta["val"].to(torch.float64))


@broken("branch")
def stale_val_in_a_branch(graph: Graph) -> None:
    node = find(branch_with(graph, aten.relu.default), aten.neg.default)
    node.meta["val"] = node.meta["val"].to(torch.float16)


@broken("branch")
def bare_node_in_a_branch(graph: Graph) -> None:
    node = find(branch_with(graph, aten.relu.default), aten.relu.default)
    replace(node, aten.clamp_min.default, (node.args[0], 0), val=None)


@broken("branch")
def used_before_made_in_a_branch(graph: Graph) -> None:
    branch = branch_with(graph, aten.relu.default)
    find(branch, aten.mul.Tensor).append(find(branch, aten.neg.default))


@broken("branch")
def user_forgotten_in_a_branch(graph: Graph) -> None:
    find(branch_with(graph, aten.relu.default), aten.relu.default).users.clear()


@broken("branch")
def left_over_in_a_branch(graph: Graph) -> None:
    node = find(branch_with(graph, aten.relu.default), aten.mul.Tensor)
    node.replace_all_uses_with(node.args[0])  # type: ignore[arg-type]


@broken("branch")
def write_in_a_branch(graph: Graph) -> None:
    node = find(branch_with(graph, aten.relu.default), aten.relu.default)
    replace(node, aten.relu_.default, node.args, val=node.args[0].meta["val"])  # type: ignore[union-attr]


@broken("branch")
def random_numbers_gone_from_a_branch(graph: Graph) -> None:
    branch = branch_with(graph, prims.inductor_random.default)
    node = find(branch, prims.inductor_random.default)
    replace(node, aten.full_like.default, (branch.find_nodes(op="placeholder")[0], 0.5))
    for target in (prims.inductor_lookup_seed.default, prims.inductor_seeds.default):
        branch.erase_node(find(branch, target))


@broken("branch")
def branch_gives_its_result_twice(graph: Graph) -> None:
    branch = branch_with(graph, aten.relu.default)
    output_of(branch).args = ((find(branch, aten.mul.Tensor),) * 2,)


@broken("branch")
def other_number_in_a_branch(graph: Graph) -> None:
    node = find(branch_with(graph, aten.relu.default), aten.mul.Tensor)
    node.args = (node.args[0], 3)


@broken("branch")
def other_operator_in_both_branches(graph: Graph) -> None:
    """The branches change places."""
    node = find(graph, torch.ops.higher_order.cond)
    node.args = (node.args[0], node.args[2], node.args[1], *node.args[3:])
