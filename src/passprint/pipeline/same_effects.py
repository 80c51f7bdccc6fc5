"""Rules on what a graph does beside computing values: the same writes, draws and checks, and the same shared memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch.utils._pytree import tree_leaves

from passprint.pipeline import effects
from passprint.pipeline.checked import Checked
from passprint.pipeline.faults import Fault


def writes(before: Checked, after: Checked, functional: bool, *, sharing: bool = True) -> Iterator[Fault]:
    """The same effects on the same memory in the same order, and nothing read on the other side of a write.

    ``sharing``: whether inputs and outputs are in the places where they were, and must share memory as they did.
    """
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
    if sharing:
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
    output = state.output
    if output is None:
        return None
    first: dict[int, str] = {}
    pairs: set[tuple[str, str]] = set()
    named: list[tuple[str, Any]] = [
        (f"input {i}", state.records[n].value) for i, n in enumerate(state.inputs)
    ]
    named += [(f"output {i}", state.annotation(v)) for i, v in enumerate(tree_leaves(output.args))]
    for name, value in named:
        storage = effects.storage_of(value)
        if storage is None:
            continue
        if storage in first:
            pairs.add((first[storage], name))
        else:
            first[storage] = name
    return pairs
