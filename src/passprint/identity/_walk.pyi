from typing import Any

from passprint.identity.node import Node
from passprint.identity.walk import Walk

def setup(given: dict[str, Any], /) -> None:
    """Takes what the walk in Python is made of. Raises KeyError for what is missing."""

def child(walk: Walk, obj: Any, /) -> Node | bytes:
    """The bytes of a plain value, or the node of anything else (expanded later)."""

def expand_all(walk: Walk, /) -> None:
    """Expands the nodes that wait for it, and all below them."""

def settle(root: Node, /) -> None:
    """Sets ``mark`` on every node that the root reaches and that has none yet."""

def learn(
    walked: dict[int, tuple[Any, Node]], kept: dict[int, tuple[Any, Node]], limit: int, /
) -> dict[int, tuple[Any, Node]]:
    """Adds to the kept nodes those of a walk that last; gives the dict of them, a new one where they were too many."""

def add_members(
    walk: Walk,
    node: Node,
    names: list[str],
    content: dict[str, Any],
    uncounted: frozenset[str],
    ignored: frozenset[str],
    /,
) -> None:
    """An edge for each name that is in neither set."""
