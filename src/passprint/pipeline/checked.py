"""A graph that was looked at: what the rules of the verifier compare."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from torch.fx import Node
from torch.utils._pytree import tree_leaves

from passprint.pipeline import effects
from passprint.pipeline.propagation import Propagation
from passprint.pipeline.snapshots import MISSING, Nodes, Record


class State(NamedTuple):
    """An annotation as it was. ``mark``: equal as long as nothing wrote to it. ``kind``: all that it says."""

    value: Any
    mark: object
    kind: Any


@dataclass
class Checked:
    """A graph that was looked at: how it was, and per node what its annotation should be (a fault, or None).

    Kept from one pass to the next, so that only what a pass touched is computed anew. ``states``: how each
    annotation was, ``changed_in_place``: those that are the same objects as before and differ, with both.
    ``branches``: the graphs of control flow within it, at whatever depth, by name.
    """

    snapshot: Nodes
    records: dict[Node, Record]
    values: dict[Node, str | None] = field(default_factory=dict)
    propagation: Propagation = field(default_factory=Propagation)
    states: dict[Node, State] = field(default_factory=dict)
    changed_in_place: dict[Node, tuple[Any, Any]] = field(default_factory=dict)
    branches: dict[str, Checked] = field(default_factory=dict)

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

    @property
    def inputs(self) -> list[Node]:
        """The placeholders."""
        return [node for node in self.records if node.op == "placeholder"]

    @property
    def output(self) -> Record | None:
        """The output node, if there is one."""
        found = (record for node, record in reversed(self.records.items()) if node.op == "output")
        return next(found, None)

    def annotation(self, value: Any) -> Any:
        """What a node is annotated with, or None; anything else stands for itself."""
        if not isinstance(value, Node):
            return value
        record = self.records.get(value)
        return None if record is None or record.value is MISSING else record.value
