"""What must hold of a graph after a pass: one rule a function, each in time linear in the graph.

A rule compares the graph with how it was before the pass, and yields faults. Faults that were there before are not
the pass's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch.fx import Graph, Node
from torch.utils._pytree import tree_flatten, tree_leaves

from passprint.passes import torch_door as passes_door
from passprint.passes.annotations import CannotCompute, NotAnnotated, mode_of
from passprint.pipeline import effects, foreign
from passprint.pipeline.faults import Fault
from passprint.pipeline.graph_text import target_text, value_text
from passprint.pipeline.propagation import Given, Propagation, lie_together, tensors_of
from passprint.pipeline.snapshots import MISSING, Record, Snapshot
from passprint.pipeline.torch_door import same_size


@dataclass
class Checked:
    """A graph that was looked at: how it was, and per node what its annotation should be (a fault, or None).

    Kept from one pass to the next, so that only what a pass touched is computed anew.
    """

    snapshot: Snapshot
    records: dict[Node, Record]
    values: dict[Node, str | None] = field(default_factory=dict)
    propagation: Propagation = field(default_factory=Propagation)

    @cached_property
    def used(self) -> set[Node]:
        """The nodes that others used."""
        return {
            value
            for record in self.records.values()
            for value in tree_leaves((record.args, dict(record.kwargs)))
            if isinstance(value, Node)
        }

    @cached_property
    def effects(self) -> effects.Effects:
        """What it does beside computing values."""
        return effects.Effects(self.snapshot)


def look(graph: Graph, before: Checked | None) -> Checked:
    """Look at ``graph``; ``before`` is what was known of it."""
    snapshot = Snapshot(graph)
    if before is not None and snapshot.is_same(before.snapshot):
        return before
    now = Checked(snapshot, snapshot.by_node())
    if before is not None:
        now.propagation = before.propagation
    _check_values(now, before)
    return now


def faults(
    before: Checked, after: Checked, *, needs_values: bool = True, functional: bool = True
) -> Iterator[Fault]:
    """Everything that a pass broke, most telling first. ``before`` is ``after`` where it replaced nothing."""
    yield from _uses(after)
    yield from foreign.names(before.records, after.records)
    if before is after:
        return
    if needs_values:
        yield from foreign.strangers(before.records, after.records)
        yield from _annotations(before, after)
    yield from _interface(before, after)
    yield from _writes(before, after, functional)
    yield from _leaks(before, after)


# -- structure


def _uses(after: Checked) -> Iterator[Fault]:
    """Topological order, and users on both sides of every edge."""
    advice = "Insert new nodes before their first use, and erase a node only after all its uses were replaced"
    seen: set[Node] = set()
    edges = 0
    for node in after.records:
        for used in node.all_input_nodes:
            edges += 1
            if used not in seen:
                if used not in after.records:
                    reason = f"'{node.name}' uses '{used.name}', which is not in the graph"
                    yield Fault("dangling", node.name, reason, advice)
                else:
                    reason = f"'{node.name}' uses '{used.name}', which comes after it"
                    yield Fault("order", node.name, reason, advice)
            if node not in used.users:
                edges -= 1
                reason = f"'{used.name}' does not know its user '{node.name}'"
                yield Fault(
                    "dangling", node.name, reason, "Change arguments through FX, never a node's users"
                )
        seen.add(node)
    if edges == sum(len(node.users) for node in after.records):
        return  # each user is one that was seen to use the node
    for node in after.records:
        for user in node.users:
            if user not in after.records or node not in user.all_input_nodes:
                reason = (
                    f"'{node.name}' has the user '{user.name}', which does not use it or is not in the graph"
                )
                yield Fault("dangling", node.name, reason, "Erase nodes through graph.erase_node")


def _interface(before: Checked, after: Checked) -> Iterator[Fault]:
    """The same inputs and outputs: number, structure, dtype, shape, strides, device."""
    ours, theirs = _inputs(after), _inputs(before)
    if [node.target for node in ours] != [node.target for node in theirs]:
        reason = f"the inputs were ({_names(theirs)}) and are ({_names(ours)})"
        yield Fault("signature", None, reason, "A pass must neither add, drop nor reorder inputs")
        return
    for node, old in zip(ours, theirs, strict=True):
        found, expected = _annotation(after, node), _annotation(before, old)
        unlike = _unlike(found, expected) if found is not expected else None
        if unlike:
            reason = f"input '{node.target}' was {value_text(expected)} and is {value_text(found)}"
            yield Fault(
                "signature", node.name, reason, "Inputs are what the caller gives: leave their annotations"
            )
    now, then = _output(after), _output(before)
    if now is None or then is None:
        if then is not None:
            yield Fault("signature", None, "the output node is gone", "Keep the graph's output")
        return
    values, structure = tree_flatten(now.args)
    old_values, old_structure = tree_flatten(then.args)
    if structure != old_structure:
        reason = f"the outputs were {old_structure} and are {structure}"
        yield Fault(
            "signature", now.node.name, reason, "A pass must keep the number and structure of outputs"
        )
        return
    for index, (value, old_value) in enumerate(zip(values, old_values, strict=True)):
        found, expected = _annotation(after, value), _annotation(before, old_value)
        unlike = _unlike(found, expected)
        if unlike:
            reason = f"output {index} was {value_text(expected)} and is {value_text(found)}"
            where = value.name if isinstance(value, Node) else now.node.name
            yield Fault("signature", where, reason, f"A pass must keep the {unlike} of every output")


def _leaks(before: Checked, after: Checked) -> Iterator[Fault]:
    """Nodes that nothing uses, and that were used or not there before."""
    for node, record in after.records.items():
        if node.users or node.op != "call_function" or node.is_impure():
            continue
        if node in before.records and node not in before.used:
            continue
        if isinstance(record.value, int | float | torch.SymInt | torch.SymFloat | torch.SymBool):
            continue
        reason = (
            f"nothing uses '{node.name}' any more"
            if node in before.records
            else f"nothing uses the new '{node.name}'"
        )
        yield Fault("leak", node.name, reason, "Erase what the rewrite left over: graph.erase_node(node)")


# -- annotations


def _annotations(before: Checked, after: Checked) -> Iterator[Fault]:
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


def _check_values(now: Checked, before: Checked | None) -> None:
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
    unlike = _unlike(record.value, fresh.value)
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


def _unlike(found: Any, expected: Any) -> str | None:
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
        return next((unlike for unlike in map(_unlike, found, expected) if unlike), None)
    if isinstance(expected, int | float | torch.SymInt | torch.SymFloat | torch.SymBool):
        return None if same_size(found, expected) else "number"
    return None


def _same_strides(found: torch.Tensor, expected: torch.Tensor) -> bool:
    """Strides of dimensions with one element, and of tensors with none, say nothing."""
    if any(same_size(size, 0) for size in expected.shape):
        return True
    pairs = zip(expected.shape, found.stride(), expected.stride(), strict=True)
    return all(same_size(size, 1) or same_size(ours, theirs) for size, ours, theirs in pairs)


# -- effects


def _writes(before: Checked, after: Checked, functional: bool) -> Iterator[Fault]:
    """The same effects on the same memory in the same order, and nothing read on the other side of a write."""
    then, now = before.effects.happening, after.effects.happening
    if functional:
        known = {effect.node for effect in then}
        for effect in now:
            if effect.is_write and effect.node not in known and effect.text not in {old.text for old in then}:
                reason = f"the new '{effect.node.name}' writes to {effect.subject}"
                advice = "Keep the graph functional: use the operator that gives a new tensor"
                yield Fault("functional", effect.node.name, reason, advice)
                return
    if [effect.text for effect in now] != [effect.text for effect in then]:
        told = [" then ".join(effect.text for effect in effects_) or "none" for effects_ in (then, now)]
        where = next((effect.node.name for effect in now if effect not in then), None)
        reason = f"the effects were: {told[0]}; and are: {told[1]}"
        yield Fault("effect", where, reason, "Keep writes, random numbers and checks, and their order")
        return
    old_draws, draws = before.effects.draws, after.effects.draws
    if draws != old_draws:
        reason = f"the draws of random numbers were ({'; '.join(old_draws)}) and are ({'; '.join(draws)})"
        yield Fault("effect", None, reason, "Keep every draw, and give each the seed that it had")
    yield from _reads(before, after, then)
    yield from _sharing(before, after)


def _reads(before: Checked, after: Checked, writes: list[effects.Effect]) -> Iterator[Fault]:
    """What read memory before it was written to still does."""
    if not any(effect.is_write for effect in writes):
        return
    then, now = before.effects.reads, after.effects.reads
    for reader, version in now.items():
        same_memory = [root for root, _ in then.get(reader, ())] == [root for root, _ in version]
        if same_memory and after.records[reader].is_same(before.records[reader]) and then[reader] != version:
            reason = f"'{reader.name}' reads memory on the other side of a write than before"
            yield Fault(
                "effect", reader.name, reason, "Move no read across a write to the memory that it reads"
            )


def _sharing(before: Checked, after: Checked) -> Iterator[Fault]:
    """The same outputs share memory with inputs and with one another."""
    then, now = _shared(before), _shared(after)
    if then is None or now is None or then == now:
        return
    gone, new = then - now, now - then
    if new:
        left, right = min(new)
        yield Fault(
            "aliasing",
            None,
            f"{left} and {right} now share memory",
            "Copy what the caller must get by itself",
        )
    else:
        left, right = min(gone)
        yield Fault(
            "aliasing", None, f"{left} and {right} no longer share memory", "Keep views of inputs as views"
        )


def _shared(state: Checked) -> set[tuple[str, str]] | None:
    """The pairs of inputs and outputs with a common memory, as annotated."""
    output = _output(state)
    if output is None:
        return None
    first: dict[int, str] = {}
    pairs: set[tuple[str, str]] = set()
    named: list[tuple[str, Any]] = [
        (f"input {i}", state.records[n].value) for i, n in enumerate(_inputs(state))
    ]
    named += [(f"output {i}", _annotation(state, v)) for i, v in enumerate(tree_leaves(output.args))]
    for name, value in named:
        storage = effects.storage_of(value)
        if storage is None:
            continue
        if storage in first:
            pairs.add((first[storage], name))
        else:
            first[storage] = name
    return pairs


# -- helpers


def _inputs(state: Checked) -> list[Node]:
    return [node for node in state.records if node.op == "placeholder"]


def _output(state: Checked) -> Record | None:
    return next((record for node, record in reversed(state.records.items()) if node.op == "output"), None)


def _annotation(state: Checked, value: Any) -> Any:
    if not isinstance(value, Node):
        return value
    record = state.records.get(value)
    return None if record is None or record.value is MISSING else record.value


def _names(nodes: list[Node]) -> str:
    return ", ".join(str(node.target) for node in nodes)
