"""Rules on ``meta["val"]``: it is there and is what the operator gives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.fx import Node

from passprint.passes import torch_door as passes_door
from passprint.passes.annotations import CannotCompute, NotAnnotated, mode_of
from passprint.pipeline import effects, foreign
from passprint.pipeline.checked import Checked
from passprint.pipeline.faults import Fault
from passprint.pipeline.graph_text import target_text, value_text
from passprint.pipeline.propagation import Given, Propagation, lie_together, tensors_of
from passprint.pipeline.snapshots import MISSING, Record
from passprint.pipeline.torch_door import same_size


def values(before: Checked, after: Checked) -> Iterator[Fault]:
    """``meta["val"]`` is there and is what the operator gives."""
    for node, problem in after.values.items():
        if problem is None:
            continue
        if before.values.get(node, None) == problem and node in before.records:
            continue  # the graph came like this
        if problem.startswith("missing"):
            advice = 'Set node.meta["val"], or let the manager compute it: fill_meta: ClassVar[bool] = True'
            yield Fault("missing val", node.name, f"'{node.name}' has no meta['val']", advice)
        elif problem.startswith("refuses"):
            yield Fault(
                "arguments",
                node.name,
                f"'{node.name}': {problem}",
                "Give the operator arguments that it takes",
            )
        else:
            advice = 'Write what the operator gives into node.meta["val"], also of the nodes after one that changed'
            yield Fault("stale val", node.name, f"'{node.name}': {problem}", advice)


def check_values(now: Checked, before: Checked | None) -> None:
    mode = mode_of(now.snapshot.graph)
    if mode is None:
        if before is not None and before.values:  # it had annotations, and they are gone
            now.values.update({node: "missing" for node in now.records if node.op == "call_function"})
        return
    with passes_door.propagating(mode), torch.no_grad():
        for node, record in now.records.items():
            if node.op == "placeholder":
                problem = foreign.of_another_kind(record.value, mode)
                now.values[node] = "missing" if record.value is MISSING else problem
            if node.op != "call_function":
                continue
            if before is not None and _known(node, record, now, before):
                now.values[node] = before.values[node]
            else:
                now.values[node] = _problem(node, record, now.propagation, mode)


def _known(node: Node, record: Record, now: Checked, before: Checked) -> bool:
    """Whether neither the node nor the annotations of its arguments are other objects than before."""
    old = before.records.get(node)
    if old is None or node not in before.values or not record.is_same(old):
        return False
    for argument in node.all_input_nodes:
        ours, theirs = now.records.get(argument), before.records.get(argument)
        if ours is None or theirs is None or ours.value is not theirs.value:
            return False
    return True


def _problem(node: Node, record: Record, propagation: Propagation, mode: Any) -> str | None:
    """What is wrong with an annotation, or None."""
    if record.value is MISSING:
        return None if effects.gives_nothing(node) else "missing"
    problem = foreign.of_another_kind(record.value, mode)
    if problem is not None:
        return problem
    is_operator = isinstance(node.target, torch._ops.OpOverload | torch._ops.OpOverloadPacket)
    if not is_operator and not effects.is_plain(node):
        return None  # operators of higher order compute their annotations in ways of their own
    if effects.changes_layout(node):
        return None
    try:
        fresh = propagation.of(node, mode)
    except NotAnnotated:
        return None  # told of the argument
    except CannotCompute as error:
        if error.is_unknown:
            return None
        return f"refuses its arguments ({error})" if isinstance(node.target, torch._ops.OpOverload) else None
    unlike = unlike_in(record.value, fresh.value)
    if unlike:
        return (
            f"meta['val'] says {value_text(record.value)}, but {target_text(node.target)} gives "
            f"{value_text(fresh.value)}: another {unlike}"
        )
    return _memory(node, record.value, fresh)


def _memory(node: Node, written: Any, fresh: Given) -> str | None:
    """Whether the annotation lies in the memory of the same arguments as the value does."""
    if not isinstance(written, torch.Tensor) or not isinstance(fresh.value, torch.Tensor):
        return None
    for (argument, leaf), shares in zip(tensors_of(node), fresh.shares, strict=True):
        if node.target is torch.ops.aten.lift_fresh_copy.default:
            continue  # Dynamo annotates it as the constant itself
        if lie_together(written, leaf) != shares:
            says = "shares no memory" if shares else "shares memory"
            return f"meta['val'] {says} with '{argument.name}', which is not what {target_text(node.target)} does"
    return None


def unlike_in(found: Any, expected: Any) -> str | None:
    """In what two annotations differ: "kind", "dtype", "device", "shape", "strides", "number"; None for nothing."""
    if isinstance(expected, torch.Tensor) != isinstance(found, torch.Tensor):
        return None if found is None and not isinstance(expected, torch.Tensor) else "kind"
    if isinstance(expected, torch.Tensor):
        for name in ("dtype", "device", "layout"):
            if getattr(found, name) != getattr(expected, name):
                return name
        if len(found.shape) != len(expected.shape) or not all(map(same_size, found.shape, expected.shape)):
            return "shape"
        if found.layout is torch.strided and not _same_strides(found, expected):
            return "strides"
        return None
    if isinstance(expected, list | tuple):
        if not isinstance(found, list | tuple) or len(found) != len(expected):
            return "kind"
        return next((unlike for unlike in map(unlike_in, found, expected) if unlike), None)
    if isinstance(expected, int | float | torch.SymInt | torch.SymFloat | torch.SymBool):
        return None if same_size(found, expected) else "number"
    return None


def _same_strides(found: torch.Tensor, expected: torch.Tensor) -> bool:
    """Strides of dimensions with one element, and of tensors with none, say nothing."""
    if any(same_size(size, 0) for size in expected.shape):
        return True
    pairs = zip(expected.shape, found.stride(), expected.stride(), strict=True)
    return all(same_size(size, 1) or same_size(ours, theirs) for size, ours, theirs in pairs)
