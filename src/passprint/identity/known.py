"""Settled nodes that later walks take over: passes share helpers, and a helper is read once.

Kept are the nodes of classes and functions that a module names, and of all that they reach. Such objects stay
as long as their module does, so keeping them costs nothing that was not there. A node is taken over only after
everything that was read for it, and for all below it, was compared and found the same.
"""

from __future__ import annotations

import sys
from types import FunctionType

from passprint.identity.guards import rows_hold
from passprint.identity.memo import CHANGED
from passprint.identity.node import Node

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from passprint.identity.node import Component
    from passprint.identity.walk import Walk


def is_named_by_module(obj: Any) -> bool:
    """Whether a class or function is an attribute of the module that it says it is from."""
    if not issubclass(
        type(obj), (FunctionType, type)
    ):  # not isinstance: an object may answer for another class
        return False
    module = sys.modules.get(obj.__module__ or "")
    return module is not None and module.__dict__.get(obj.__qualname__) is obj


class Known:
    """Nodes by the object that they stand for. At most ``limit``; then all are forgotten.

    ``tensor_values``: whether walks count what tensors hold; without, only of what kind they are.
    """

    def __init__(self, limit: int = 8192, *, tensor_values: bool = True) -> None:
        self._limit = limit
        self.tensor_values = tensor_values
        self.nodes: dict[int, tuple[Any, Node]] = {}

    def learn(self, walk: Walk) -> None:
        """Keep what a finished walk settled, where it lasts."""
        self.nodes = walk.lasting(self.nodes, self._limit)

    def __len__(self) -> int:
        return len(self.nodes)


def lasting(
    walked: Iterable[tuple[Any, Node]], kept: dict[int, tuple[Any, Node]], limit: int
) -> dict[int, tuple[Any, Node]]:
    """The kept nodes, by their objects' ids, with those of a walk that last; only new ones where they are too many."""
    objects = {}
    todo = []
    for obj, node in walked:
        if not node.is_kept:
            objects[id(node)] = obj
            component = node.component
            if component is not None and component.is_lasting and is_named_by_module(obj):
                todo.append(node)
    if len(kept) + len(objects) > limit:
        kept = {}
    if len(objects) > limit:
        return kept
    while todo:
        node = todo.pop()
        if node.is_kept:
            continue
        node.is_kept = True
        key = id(node)
        if key in objects:
            obj = objects[key]
            kept[id(obj)] = (obj, node)
        todo += [child for child in node.below() if not child.is_kept]
    return kept


class Trust:
    """Which components one walk found to be what they were."""

    __slots__ = ("_changed", "_same")

    def __init__(self) -> None:
        self._same: set[Component] = set()
        self._changed: set[Component] = set()

    def holds(self, component: Component) -> bool:
        """Whether everything read for a component, and for all below it, is what it was."""
        if component in self._same:
            return True
        if component in self._changed:
            return False
        same = self._same
        found = {component: None}
        todo = [component]
        while todo:
            one = todo.pop()
            try:
                held = rows_hold(one.rows)
            except CHANGED:
                held = False
            if not held:
                self._changed.add(one)
                self._changed.add(component)
                return False
            for child in one.children:
                if child not in found and child not in same:
                    found[child] = None
                    todo.append(child)
        same.update(found)
        return True
