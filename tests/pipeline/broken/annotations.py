"""Broken passes: dtypes, shapes, strides, and annotations."""

from __future__ import annotations

import torch
from tests.pipeline.broken.suite import after, aten, broken, find, inputs_of, prims, replace
from torch.fx import Graph


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


@broken("stale val")
def val_resized_in_place(graph: Graph) -> None:
    inputs_of(graph, torch.float32, 1).meta["val"].resize_(4)


@broken("stale val")
def val_strided_in_place(graph: Graph) -> None:
    """What reads it gives the same."""
    inputs_of(graph, torch.float32, 1).meta["val"].as_strided_((8,), (0,))


@broken("stale val")
def val_set_to_another_dtype(graph: Graph) -> None:
    value = find(graph, aten.exp.default).meta["val"]
    with value.fake_mode:
        value.data = torch.empty(value.shape, dtype=torch.float64)


@broken("stale val")
def val_moved_to_another_memory(graph: Graph) -> None:
    value = find(graph, aten.exp.default).meta["val"]
    with value.fake_mode:
        value.set_(torch.empty_like(value))


@broken("stale val")
def val_asks_for_gradients(graph: Graph) -> None:
    find(graph, aten.exp.default).meta["val"].requires_grad_()


@broken("stale val")
def new_val_asks_for_gradients(graph: Graph) -> None:
    node = find(graph, aten.neg.default)
    value = node.meta["val"].clone().requires_grad_()
    replace(node, aten.rsub.Scalar, (node.args[0], 0.0), val=value)


@broken("signature")
def input_asks_for_gradients(graph: Graph) -> None:
    node = inputs_of(graph, torch.float32, 1)
    node.meta["val"] = node.meta["val"].clone().requires_grad_()
