"""What operators give, by fresh propagation: once for all nodes that do the same to arguments of the same kind.

The layers of a model are alike, and fake tensors take a quarter of a millisecond an operator.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch.fx import Node
from torch.utils._pytree import tree_leaves

from passprint.passes.annotations import compute
from passprint.pipeline.effects import storage_of

#: Operators of these namespaces give what their arguments' kinds say, and ask nothing else.
_NAMESPACES = frozenset({"aten", "prims"})
_PLAIN = frozenset({int, bool, str, type(None), torch.dtype, torch.device, torch.layout, torch.memory_format})
_BY_DATA = (
    torch.Tag.data_dependent_output,
    torch.Tag.dynamic_output_shape,
    torch.Tag.inplace_view,
)


class Given(NamedTuple):
    """What an operator gives, and whether it lies in the memory of each tensor among the node's arguments."""

    value: Any
    shares: tuple[bool, ...]


class _Unlike(Exception):
    """A node with an argument of which no two are known to be alike, such as a symbolic size."""


class Propagation:
    """Remembers what operators gave; for the graphs of one run of a pipeline, whose annotations share a mode."""

    def __init__(self) -> None:
        self._known: dict[Any, Given] = {}

    def of(self, node: Node, mode: Any) -> Given:
        """What ``node`` gives; call it within `torch_door.propagating`. Raises CannotCompute."""
        try:
            kind = _kind(node)
        except _Unlike:
            return _given(node, mode)
        if kind not in self._known:
            self._known[kind] = _given(node, mode)
        return self._known[kind]


def tensors_of(node: Node) -> Iterator[tuple[Node, torch.Tensor]]:
    """The tensors that the arguments of ``node`` are annotated with, and whose they are."""
    for argument in node.all_input_nodes:
        for leaf in tree_leaves(argument.meta.get("val")):
            if isinstance(leaf, torch.Tensor):
                yield argument, leaf


def lie_together(left: torch.Tensor, right: torch.Tensor) -> bool:
    """Whether two annotations stand for values in one memory."""
    return storage_of(left) is not None and storage_of(left) == storage_of(right)


def _given(node: Node, mode: Any) -> Given:
    value = compute(node, mode)
    if not isinstance(value, torch.Tensor):
        return Given(value, ())
    return Given(value, tuple(lie_together(value, leaf) for _, leaf in tensors_of(node)))


def _kind(node: Node) -> tuple[object, ...]:
    """Equal for nodes that give the same; raises _Unlike where that cannot be said."""
    target = node.target
    if (
        not isinstance(target, torch._ops.OpOverload)
        or target.namespace not in _NAMESPACES
        or target._schema.is_mutable
        or any(tag in target.tags for tag in _BY_DATA)
    ):
        raise _Unlike
    places = {argument: number for number, argument in enumerate(node.all_input_nodes)}
    storages: dict[int | None, int] = {}
    return (
        target,
        *(_kind_of_annotation(argument.meta.get("val"), storages) for argument in places),
        _kind_of_argument(node.args, places),
        _kind_of_argument(dict(node.kwargs), places),
    )


def _kind_of_annotation(value: Any, storages: dict[int | None, int]) -> object:
    if not isinstance(value, torch.Tensor):
        if value is None or not isinstance(value, list | tuple):
            raise _Unlike
        return (type(value), *(_kind_of_annotation(item, storages) for item in value))
    if value.layout is not torch.strided:
        raise _Unlike
    numbers = (*value.shape, *value.stride(), value.storage_offset())
    if not all(type(number) is int for number in numbers):
        raise _Unlike
    return (
        numbers,
        value.dtype,
        value.device,
        value.requires_grad,
        value.is_conj(),
        value.is_neg(),
        storages.setdefault(storage_of(value), len(storages)),
    )


def _kind_of_argument(value: Any, places: dict[Node, int]) -> object:
    if isinstance(value, Node):
        return (Node, places[value])
    if isinstance(value, list | tuple):
        return (type(value), *(_kind_of_argument(item, places) for item in value))
    if isinstance(value, dict):
        return (dict, *((key, _kind_of_argument(item, places)) for key, item in value.items()))
    if isinstance(value, float):
        return (float, repr(value))
    if type(value) in _PLAIN:
        return (type(value), value)
    raise _Unlike
