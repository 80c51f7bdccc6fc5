"""The annotation ``meta["val"]`` of nodes: computing it anew, filling it in, and keeping it true.

``meta["val"]`` is a fake tensor (or a symbolic number): shape, dtype, strides, device, and which values share memory,
without data. Inductor generates code by it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.fx import Graph, Node
from torch.fx.node import map_arg

from passprint.passes import torch_door

#: What torch raises where a size depends on data: the operator may be right, and nobody can tell.
_UNKNOWN = frozenset(
    {
        "DataDependentOutputException",
        "DynamicOutputShapeException",
        "GuardOnDataDependentSymNode",
        "NotImplementedError",
        "UnsupportedFakeTensorException",
    }
)


class CannotCompute(Exception):
    """An annotation cannot be computed. ``is_unknown``: the operator may be right all the same."""

    def __init__(self, message: str, *, is_unknown: bool = False) -> None:
        super().__init__(message)
        self.is_unknown = is_unknown


class NotAnnotated(CannotCompute):
    """Something that an annotation depends on has none."""


def mode_of(graph: Graph) -> Any | None:
    """The fake-tensor mode of a graph's annotations; None where nothing is annotated."""
    for node in graph.nodes:
        for leaf in torch.utils._pytree.tree_leaves(node.meta.get("val")):
            mode = torch_door.fake_mode_of(leaf)
            if mode is not None:
                return mode
    return None


def annotation_of(node: Node, mode: Any) -> Any:
    """What ``node`` says it is worth; for an attribute without annotation, the attribute as a fake tensor.

    Raises CannotCompute where there is nothing.
    """
    if "val" in node.meta:
        return node.meta["val"]
    if node.op == "get_attr" and isinstance(node.graph.owning_module, torch.nn.Module):
        value: Any = node.graph.owning_module
        for name in str(node.target).split("."):
            value = getattr(value, name)
        return torch_door.as_fake(mode, value)
    raise NotAnnotated(f"{node.name} has no meta['val']")


def compute(node: Node, mode: Any, value_of: Callable[[Node], Any] | None = None) -> Any:
    """What ``node`` is worth by fresh propagation; call it within `torch_door.propagating`.

    ``value_of`` gives the worth of its arguments; their annotations unless given. Raises CannotCompute.
    """
    if node.op != "call_function" or not callable(node.target):
        return annotation_of(node, mode)
    look = value_of or (lambda argument: annotation_of(argument, mode))
    args, kwargs = map_arg((node.args, dict(node.kwargs)), look)
    try:
        return node.target(*args, **kwargs)
    except Exception as error:
        first = next(iter(str(error).strip().splitlines()), "")
        kind = type(error).__name__
        raise CannotCompute(f"{kind}: {first}", is_unknown=kind in _UNKNOWN) from error


def fill_missing(graph: Graph) -> list[Node]:
    """Give every node without ``meta["val"]`` one by propagation, in order; the nodes that were filled.

    Raises CannotCompute for one that cannot be.
    """
    bare = [node for node in graph.nodes if "val" not in node.meta and node.op == "call_function"]
    if not bare:
        return []
    mode = mode_of(graph)
    if mode is None:
        raise CannotCompute("no node of the graph has a meta['val'] to begin with")
    with torch_door.propagating(mode):
        for node in bare:
            node.meta["val"] = compute(node, mode)
    return bare


@contextmanager
def moved_views(graph: Graph) -> Iterator[None]:
    """After the block, new views, and views of what was replaced in it, are annotated as views of what they read.

    A replacement is traced apart from the graph, so what it views of its arguments is annotated to lie elsewhere.
    Inductor asks the annotations which values share memory.
    """
    replaced: dict[Node, tuple[torch.Tensor, str]] = {}
    made: list[Node] = []

    def note(old: Node, new: str, user: Node) -> None:
        value = old.meta.get("val")
        if isinstance(value, torch.Tensor):
            replaced[old] = (value, new)

    with torch_door.hearing_of_replacements(graph, note, made.append):
        yield
    views = {node for node in made if _may_view(node) and not torch_door.is_erased(node)}
    if not replaced and not views:
        return
    by_name = {node.name: node for node in graph.nodes}
    storages = {
        value.untyped_storage()._cdata
        for value, new in replaced.values()
        if (heir := by_name.get(new)) is not None and not _is_view_of(heir.meta.get("val"), value)
    }
    mode = mode_of(graph)
    if (storages or views) and mode is not None:
        _recompute_views(graph, storages, views, mode)


def _may_view(node: Node) -> bool:
    """Whether an operator gives, or may give, the memory of an argument."""
    target = node.target
    if not isinstance(target, torch._ops.OpOverload):
        return False
    if target is torch.ops.aten.reshape.default:  # its schema does not say so
        return True
    return any(one.alias_info is not None and not one.alias_info.is_write for one in target._schema.returns)


def _recompute_views(graph: Graph, storages: set[int], views: set[Node], mode: Any) -> None:
    """Compute anew ``views``, and what is annotated to lie in ``storages``, where no argument lies in that memory."""
    with torch_door.propagating(mode):
        for node in graph.nodes:
            value = node.meta.get("val")
            if node.op != "call_function" or not isinstance(value, torch.Tensor):
                continue
            if value.untyped_storage()._cdata not in storages and node not in views:
                continue
            arguments = [argument.meta.get("val") for argument in node.all_input_nodes]
            if any(_is_view_of(argument, value) for argument in arguments):
                continue
            try:
                found = compute(node, mode)
            except CannotCompute:
                continue  # the annotation stays as it was; the verifier says what is wrong with it
            if any(_is_view_of(found, argument) for argument in arguments):
                storages.add(value.untyped_storage()._cdata)  # what lay there is a view of this one
                node.meta["val"] = found


def _is_view_of(value: object, other: object) -> bool:
    """Whether two annotations stand for values in one memory."""
    return (
        isinstance(value, torch.Tensor)
        and isinstance(other, torch.Tensor)
        and value.untyped_storage()._cdata == other.untyped_storage()._cdata
    )
