"""What a graph does beside computing values: writes to memory, random numbers, checks."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import torch
from torch.fx import Node
from torch.utils._pytree import tree_leaves

from passprint.pipeline.graph_text import target_text
from passprint.pipeline.snapshots import MISSING, Nodes, Record


@dataclass(frozen=True)
class Effect:
    """One effect. ``text`` says what is done to what, and is the same whatever nodes do it.

    One that is ``only_if_used`` does not count where nothing uses the node.
    """

    node: Node
    text: str
    subject: str
    is_write: bool
    only_if_used: bool = False


class Effects:
    """All effects of a graph. Each kind is looked for when it is asked for, once, in time linear in the graph."""

    def __init__(self, snapshot: Nodes) -> None:
        self._snapshot = snapshot
        self._roots = _Roots(snapshot)

    @cached_property
    def happening(self) -> list[Effect]:
        """The effects in order, but for those of nodes whose result nothing used then."""
        records = self._snapshot.records
        found = [effect for record in records if (effect := _effect(record, self._roots)) is not None]
        if any(effect.only_if_used for effect in found):
            # Not by the node's own users: those of a node that was erased since are gone.
            used = {node for record in records for node in _nodes(record)}
            found = [effect for effect in found if not effect.only_if_used or effect.node in used]
        return found

    @cached_property
    def draws(self) -> list[str]:
        """Inductor's draws of random numbers with the seed of each, sorted: the seeds matter, their order does not."""
        drawn = [record for record in self._snapshot.records if _schema_name(record.target) in _DRAWS]
        if not drawn:
            return []
        records = {record.node: record for record in self._snapshot.records}
        draws = []
        for record in drawn:
            seeds = [
                records[node]
                for node in _nodes(record)
                if node in records and _schema_name(node.target) == _SEED
            ]
            numbers = ", ".join(str(seed.args[1]) for seed in seeds)
            draws.append(f"{target_text(record.target)} with seed {numbers}")
        return sorted(draws)

    @cached_property
    def reads(self) -> dict[Node, tuple[tuple[str, int], ...]]:
        """For each node that reads memory that the graph writes to: which memory, and after how many writes to it."""
        roots, records = self._roots, self._snapshot.records
        written = {root for record in records for root in roots.written_by(record)}
        count = dict.fromkeys(written, 0)
        reads: dict[Node, tuple[tuple[str, int], ...]] = {}
        for record in records:
            if record.node.op == "call_function":
                touched = sorted({root for value in _nodes(record) for root in roots.of(value)} & written)
                if touched:
                    reads[record.node] = tuple((root, count[root]) for root in touched)
            for root in roots.written_by(record):
                count[root] += 1
        return reads


_DRAWS = frozenset({"prims::inductor_random", "prims::inductor_randint"})
_SEED = "prims::inductor_lookup_seed"


def _schema_name(target: object) -> str:
    return target._schema.name if isinstance(target, torch._ops.OpOverload) else ""


def storage_of(value: Any) -> int | None:
    """What memory an annotation stands for; None where it stands for none."""
    if not isinstance(value, torch.Tensor) or value.layout is not torch.strided:
        return None
    return int(value.untyped_storage()._cdata)


def draws_random_numbers(graph: torch.fx.Graph) -> bool:
    """Whether a graph draws random numbers, which eager mode, Inductor's code and the graph itself draw differently."""
    targets = (node.target for node in graph.nodes if isinstance(node.target, torch._ops.OpOverload))
    return any(torch.Tag.nondeterministic_seeded in one.tags or one._schema.name in _DRAWS for one in targets)


def gives_nothing(node: Node) -> bool:
    """Whether the operator has no result, so that it needs no annotation."""
    return isinstance(node.target, torch._ops.OpOverload) and not node.target._schema.returns


def is_plain(node: Node) -> bool:
    """Whether the node calls Python's own arithmetic or item access."""
    return (
        getattr(node.target, "__module__", None) in ("_operator", "math", "torch")
        or node.target is operator.getitem
    )


def changes_layout(node: Node) -> bool:
    """Whether running the operator on an annotation would change the annotation of its argument."""
    target = node.target
    return isinstance(target, torch._ops.OpOverload) and (
        torch.Tag.inplace_view in target.tags
        or "resize" in target._schema.name
        or "set_" in target._schema.name
    )


class _Roots:
    """Which memory a node's value may lie in: by annotation, in words that are the same for equal graphs."""

    def __init__(self, snapshot: Nodes) -> None:
        self._names: dict[int, str] = {}
        inputs = 0
        for record in snapshot.records:
            if record.node.op not in ("placeholder", "get_attr"):
                continue
            is_input = record.node.op == "placeholder"
            for leaf in _tensors(record.value):
                storage = storage_of(leaf)
                if storage is not None:
                    self._names.setdefault(storage, f"input {inputs}" if is_input else f"{record.target}")
            inputs += is_input
        self._values = {record.node: record.value for record in snapshot.records}

    def of(self, node: Node) -> Iterator[str]:
        for leaf in _tensors(self._values.get(node, MISSING)):
            storage = storage_of(leaf)
            if storage is not None:
                yield self._names.get(storage, f"memory {storage}")

    def words(self, node: Node) -> str:
        """The memory's name if it is an input's, else "a new tensor"."""
        named = [name for name in self.of(node) if not name.startswith("memory ")]
        return named[0] if named else "a new tensor"

    def written_by(self, record: Record) -> Iterator[str]:
        for value in _written(record):
            yield from self.of(value)


def _effect(record: Record, roots: _Roots) -> Effect | None:
    node = record.node
    if node.op != "call_function":
        return None
    written = list(_written(record))
    if written:
        subject = " and ".join(roots.words(value) for value in written)
        return Effect(node, f"{target_text(record.target)} on {subject}", subject, True)
    if isinstance(record.target, torch._ops.OpOverload):
        if torch.Tag.nondeterministic_seeded in record.target.tags:
            return Effect(node, target_text(record.target), "random numbers", False, only_if_used=True)
        if gives_nothing(node):
            return Effect(node, target_text(record.target), "a check", False)
    elif node.is_impure() and getattr(record.target, "__module__", "").startswith("torch._higher_order_ops"):
        return Effect(node, target_text(record.target), "an effect", False)
    return None


def _written(record: Record) -> Iterator[Node]:
    """The arguments to which an operator writes, by its schema."""
    if record.node.op != "call_function" or not isinstance(record.target, torch._ops.OpOverload):
        return
    for index, name in _written_arguments(record.target):
        given = record.args[index] if index < len(record.args) else record.kwargs.get(name)
        yield from (value for value in tree_leaves(given) if isinstance(value, Node))


@lru_cache(maxsize=4096)
def _written_arguments(target: torch._ops.OpOverload) -> tuple[tuple[int, str], ...]:
    """The place and name of each argument that an operator writes to."""
    return tuple(
        (index, argument.name)
        for index, argument in enumerate(target._schema.arguments)
        if argument.alias_info is not None and argument.alias_info.is_write
    )


def _nodes(record: Record) -> Iterator[Node]:
    yield from (value for value in tree_leaves((record.args, dict(record.kwargs))) if isinstance(value, Node))


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, torch.Tensor)]
