"""Rules on ``meta["val"]``: it is there, it is what the operator gives, and nobody changed it in place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch.fx import Node

from passprint.passes import torch_door as passes_door
from passprint.passes.annotations import CannotCompute, NotAnnotated, mode_of
from passprint.pipeline import effects, foreign
from passprint.pipeline.checked import Checked, State
from passprint.pipeline.faults import Fault
from passprint.pipeline.graph_text import target_text, tensor_text, value_text
from passprint.pipeline.propagation import Given, Propagation, lie_together, tensors_of
from passprint.pipeline.snapshots import MISSING, Nodes, Record
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


class Kind(NamedTuple):
    """All that a tensor's annotation says."""

    dtype: torch.dtype
    device: torch.device
    layout: torch.layout
    requires_grad: bool
    memory: int | None
    shape: tuple[Any, ...]
    strides: tuple[Any, ...]
    offset: Any

    def __str__(self) -> str:
        strides = self.strides if self.layout is torch.strided else self.layout
        grad = ", requiring grad" if self.requires_grad else ""
        return f"{tensor_text(self.dtype, self.shape, strides, self.device)}{grad}"


def states_of(
    nodes: Nodes, known: Mapping[Node, State]
) -> tuple[dict[Node, State], dict[Node, tuple[Any, Any]]]:
    """How annotations are, and those that are the objects they were and say another thing: what they said, and say."""
    states: dict[Node, State] = {}
    changed: dict[Node, tuple[Any, Any]] = {}
    for record in nodes.records:
        value = record.value
        if not isinstance(value, torch.Tensor | list | tuple):
            continue
        mark, old = _mark(value), known.get(record.node)
        if old is None or old.value is not value:
            states[record.node] = State(value, mark, _kind(value))
        elif old.mark == mark:
            states[record.node] = old
        else:
            states[record.node] = state = State(value, mark, _kind(value))
            if not _is_same_kind(old.kind, state.kind):
                changed[record.node] = (old.kind, state.kind)
    return states, changed


def _mark(value: Any) -> object:
    """Equal as long as nobody writes to the annotation, in a quarter of the time that it takes to read all of it."""
    if isinstance(value, torch.Tensor):
        written = object() if value.is_inference() else value._version  # not counted in inference mode
        return (written, value.requires_grad, value.dtype)
    return tuple(map(_mark, value)) if isinstance(value, list | tuple) else None


def _kind(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(map(_kind, value))
    if not isinstance(value, torch.Tensor):
        return None
    is_strided = value.layout is torch.strided
    return Kind(
        value.dtype,
        value.device,
        value.layout,
        value.requires_grad,
        effects.storage_of(value),
        tuple(value.shape),
        tuple(value.stride()) if is_strided else (),
        value.storage_offset() if is_strided else 0,
    )


def _is_same_kind(before: Any, after: Any) -> bool:
    if isinstance(before, Kind) and isinstance(after, Kind):
        if before[:5] != after[:5] or len(before.shape) != len(after.shape):
            return False
        ours, theirs = ((*one.shape, *one.strides, one.offset) for one in (before, after))
        return all(map(same_size, ours, theirs))
    if isinstance(before, tuple) and isinstance(after, tuple):
        return len(before) == len(after) and all(map(_is_same_kind, before, after))
    return before is after


def in_place(after: Checked) -> Iterator[Fault]:
    """Nobody changed an annotation itself: other nodes and other graphs may hold the same object."""
    for node, (then, now) in after.changed_in_place.items():
        reason = f"'{node.name}': meta['val'] itself was changed: it was {_said(then)} and is {_said(now)}"
        memory = "" if _said(then) != _said(now) else ", in another memory"
        advice = "Put a new annotation into node.meta['val'], and leave the old object as it is"
        yield Fault("stale val", node.name, reason + memory, advice)


def _said(kind: Any) -> str:
    return str(kind) if isinstance(kind, Kind) else f"({', '.join(map(_said, kind or ()))})"


def requires_grad(value: Any) -> bool:
    """Whether an annotation says that gradients are asked for."""
    return isinstance(value, torch.Tensor) and value.requires_grad


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
    if requires_grad(record.value) and not any(requires_grad(leaf) for _, leaf in tensors_of(node)):
        return f"meta['val'] requires grad, and nothing that {target_text(node.target)} is given does"
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
