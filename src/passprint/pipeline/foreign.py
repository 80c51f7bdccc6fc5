"""What has no place in a graph of operators: one rule a function, over the nodes that a pass made or changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch.fx import Node
from torch.nn import Parameter
from torch.utils._pytree import tree_leaves

from passprint.passes import torch_door as passes_door
from passprint.pipeline.effects import is_plain
from passprint.pipeline.faults import Fault
from passprint.pipeline.graph_text import target_text, value_text
from passprint.pipeline.snapshots import Record

Records = Mapping[Node, Record]


def names(before: Records, after: Records) -> Iterator[Fault]:
    """Two nodes of one name; the code that is generated would take one for the other."""
    if len({record.name for record in after.values()}) == len(after):
        return
    counts, old_counts = (Counter(record.name for record in records.values()) for records in (after, before))
    for name, count in counts.items():
        if count > max(1, old_counts[name]):
            advice = "Leave names to FX, which makes each its own: graph.call_function(..., name=...)"
            yield Fault("name", name, f"{count} nodes are called '{name}'", advice)


def strangers(before: Records, after: Records) -> Iterator[Fault]:
    """New calls that Inductor has no lowering for, and tensors in the place of nodes."""
    for node, record in after.items():
        old = before.get(node)
        if old is not None and old.target is record.target and old.args is record.args:
            continue
        if isinstance(record.target, torch._ops.OpOverloadPacket):
            packet, overload = str(record.target), _overload_of(record.target)
            yield Fault(
                "operator",
                node.name,
                f"'{node.name}' calls {packet}, which stands for all its overloads: patterns do not find it, and "
                "Inductor has a lowering for some of its kind only",
                f"Name the one that is meant, as in torch.ops.{packet}.{overload}",
            )
        elif not _is_operator(node, record):
            yield Fault(
                "operator",
                node.name,
                f"'{node.name}' calls {target_text(record.target)}, which is no operator, and Inductor cannot lower it",
                "Call an operator with its overload, as in graph.call_function(torch.ops.aten.neg.default, (x,))",
            )
        tensors = (
            one for one in tree_leaves((record.args, dict(record.kwargs))) if isinstance(one, torch.Tensor)
        )
        for tensor in tensors:
            yield Fault(
                "arguments",
                node.name,
                f"'{node.name}' is given a tensor itself ({value_text(tensor)}) in the place of a node",
                "Make it with aten.full or aten.scalar_tensor, or keep it in graph.owning_module and read it with "
                "graph.get_attr",
            )


def _overload_of(packet: Any) -> str:
    """One that ``packet`` stands for."""
    return next(iter(packet.overloads()), "default")


def _is_operator(node: Node, record: Record) -> bool:
    if node.op in ("call_method", "call_module"):
        return False
    if node.op != "call_function" or not any(
        isinstance(one, torch.Tensor) for one in tree_leaves(record.value)
    ):
        return True  # Python may do anything with sizes
    target = record.target
    return (
        isinstance(target, torch._ops.OpOverload | torch._ops.HigherOrderOperator)
        or hasattr(target, "_inductor_lowering_function")
        or (
            is_plain(node) and target.__module__ != "torch"
        )  # torch.neg is no operator, torch.ops.aten.neg is
    )


def of_another_kind(value: Any, mode: Any) -> str | None:
    """What keeps an annotation from being one: it is a real tensor, or a fake one of another mode."""
    for leaf in tree_leaves(value):
        if type(leaf) in (torch.Tensor, Parameter):
            return "meta['val'] is a real tensor, and must be a fake one of the graph's own mode"
        theirs = passes_door.fake_mode_of(leaf)
        if theirs is not None and theirs is not mode:
            return "meta['val'] is of another fake-tensor mode than the rest of the graph"
    return None


def guards(added: Iterable[object]) -> Iterator[Fault]:
    """Sizes that were to vary and no longer may."""
    told = " and ".join(map(str, added))
    if told:
        yield Fault(
            "guard",
            None,
            f"it asked about a symbolic size, so that from now on {told} must hold, and torch compiles again where it "
            "does not",
            "Ask torch.fx.experimental.symbolic_shapes.statically_known_true(...), which adds no guard",
        )
