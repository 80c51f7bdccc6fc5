"""What must hold of a graph after a pass: one rule a function, each in time linear in the graph.

A rule compares the graph with how it was before the pass, and yields faults. Faults that were there before are not
the pass's. The graphs of control flow within the graph are held to the same rules.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch.fx import Graph, Node
from torch.utils._pytree import tree_flatten, tree_leaves

from passprint.pipeline import annotated, foreign, same_effects
from passprint.pipeline.annotated import unlike_in
from passprint.pipeline.checked import Checked
from passprint.pipeline.faults import Fault
from passprint.pipeline.graph_text import value_text
from passprint.pipeline.propagation import Propagation
from passprint.pipeline.snapshots import Nodes, Record, Snapshot
from passprint.wording import many


def look(graph: Graph, before: Checked | None) -> Checked:
    """Look at ``graph``; ``before`` is what was known of it."""
    snapshot = Snapshot(graph)
    now = _look(snapshot, before, Propagation())
    known = {} if before is None else before.branches
    branches = {
        name: _look(nodes, known.get(name), now.propagation) for name, nodes in snapshot.branches.items()
    }
    if now is before and all(branches[name] is branch for name, branch in known.items()):
        return before
    if now is before:  # a branch is not what it was
        now = replace(before)
    now.branches = branches
    return now


def _look(nodes: Nodes, before: Checked | None, propagation: Propagation) -> Checked:
    states, changed = annotated.states_of(nodes, {} if before is None else before.states)
    if before is not None and not changed and nodes.is_same(before.snapshot):
        return before
    now = Checked(nodes, nodes.by_node(), states=states, changed_in_place=changed)
    now.propagation = propagation if before is None else before.propagation
    annotated.check_values(now, before)
    return now


def faults(
    before: Checked, after: Checked, *, needs_values: bool = True, functional: bool = True
) -> Iterator[Fault]:
    """Everything that a pass broke, most telling first. ``before`` is ``after`` where it replaced nothing."""
    yield from _faults(before, after, needs_values, functional)
    for name, branch in after.branches.items():
        then = before.branches.get(name)
        keeps_interface = then is not None and (before is after or _is_called_as_before(name, before, after))
        found = _faults(
            then or Checked(branch.snapshot, {}),
            branch,
            needs_values,
            functional,
            is_new=then is None,
            keeps_interface=keeps_interface,
        )
        yield from (fault.within(name) for fault in found)
        if not keeps_interface:
            yield from (fault.within(name) for fault in _misfits(name, branch, after))


def _faults(
    before: Checked,
    after: Checked,
    needs_values: bool,
    functional: bool,
    *,
    is_new: bool = False,
    keeps_interface: bool = True,
) -> Iterator[Fault]:
    """The same of one graph alone. ``keeps_interface``: whether its inputs and outputs must be what they were."""
    yield from _uses(after)
    yield from foreign.names(before.records, after.records)
    if before is after:
        return
    if needs_values:
        yield from annotated.in_place(after)
        yield from foreign.strangers(before.records, after.records)
        yield from annotated.values(before, after)
    if keeps_interface:
        yield from _interface(before, after)
    if not is_new:
        yield from same_effects.writes(before, after, functional, sharing=keeps_interface)
    yield from _leaks(before, after)


def _is_called_as_before(name: str, before: Checked, after: Checked) -> bool:
    """Whether what runs a branch gives it arguments of the same kinds; else its inputs may be others as well."""
    parent = name.rpartition("/")[0]
    then, now = (before.branches.get(parent), after.branches[parent]) if parent else (before, after)
    for new in _calls(name, now):
        old = None if then is None else then.records.get(new.node)
        if then is None or old is None:
            return False
        values, structure = tree_flatten((new.args, dict(new.kwargs)))
        old_values, old_structure = tree_flatten((old.args, dict(old.kwargs)))
        if structure != old_structure or any(
            unlike_in(now.annotation(value), then.annotation(old_value))
            for value, old_value in zip(values, old_values, strict=True)
        ):
            return False
    return True


def _calls(name: str, around: Checked) -> Iterator[Record]:
    """The nodes of the graph around a branch that are given it."""
    target = name.rpartition("/")[2]
    for node in around.records:
        if node.op == "get_attr" and str(node.target) == target:
            yield from (around.records[user] for user in node.users if user in around.records)


def _misfits(name: str, branch: Checked, after: Checked) -> Iterator[Fault]:
    """Where a branch and what calls it do not agree; of the calls that give and take values one by one."""
    parent = name.rpartition("/")[0]
    around = after.branches[parent] if parent else after
    for call in _calls(name, around):
        if call.target is torch.ops.higher_order.cond:
            given: Sequence[Any] = call.args[3] if len(call.args) > 3 else ()
        elif call.target is torch.ops.higher_order.invoke_subgraph:
            given = call.args[2:]
        else:
            continue
        advice = (
            f"Change the branch together with the arguments of '{call.name}', and every other branch of it"
        )
        if len(given) != len(branch.inputs):
            reason = f"it has {many(len(branch.inputs), 'input')}, and '{call.name}' gives it {len(given)}"
            yield Fault("signature", call.name, reason, advice)
        values = tree_leaves(branch.output.args) if branch.output is not None else []
        expected = around.annotation(call.node)
        if not isinstance(expected, list | tuple) or len(expected) != len(values):
            continue
        for index, (value, wanted) in enumerate(zip(values, expected, strict=True)):
            found = branch.annotation(value)
            if found is not None and unlike_in(found, wanted) in ("kind", "dtype", "shape"):
                reason = f"output {index} is {value_text(found)}, and '{call.name}' says {value_text(wanted)}"
                yield Fault("signature", call.name, reason, advice)


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
    ours, theirs = after.inputs, before.inputs
    if [node.target for node in ours] != [node.target for node in theirs]:
        reason = f"the inputs were ({_names(theirs)}) and are ({_names(ours)})"
        yield Fault("signature", None, reason, "A pass must neither add, drop nor reorder inputs")
        return
    for node, old in zip(ours, theirs, strict=True):
        found, expected = after.annotation(node), before.annotation(old)
        unlike = unlike_in(found, expected) if found is not expected else None
        if unlike or annotated.requires_grad(found) != annotated.requires_grad(expected):
            reason = f"input '{node.target}' was {value_text(expected)} and is {value_text(found)}"
            yield Fault(
                "signature", node.name, reason, "Inputs are what the caller gives: leave their annotations"
            )
    now, then = after.output, before.output
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
        found, expected = after.annotation(value), before.annotation(old_value)
        unlike = unlike_in(found, expected)
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


def _names(nodes: list[Node]) -> str:
    return ", ".join(str(node.target) for node in nodes)
