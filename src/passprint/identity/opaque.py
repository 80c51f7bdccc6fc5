"""Where an identity is incomplete, as a path that a person can follow."""

from __future__ import annotations

from collections import deque

from passprint.identity.node import Node

_LIMIT = 100


def opaque_paths(root: Node) -> tuple[str, ...]:
    """The shortest path to each thing that could not be identified (the first hundred).

    A path reads ``MyPass.run → helper → CONFIG.handle: TextIOWrapper``.
    """
    paths: list[str] = []
    seen = {id(root)}
    queue = deque([(root, root.name)])
    while queue and len(paths) < _LIMIT:
        node, path = queue.popleft()
        if node.opaque is not None:
            paths.append(f"{path}: {node.opaque}")
        for step, label, child, _ in node.shown_edges():
            if isinstance(child, Node) and id(child) not in seen:
                seen.add(id(child))
                queue.append((child, path + _step(step, label)))
    return tuple(paths)


def _step(step: str, label: str) -> str:
    if step == "→":
        return f" → {label}"
    if step == "[":
        return f"[{label}]"
    if step == "(":
        return f"({label})"
    return f".{label}" if step == "." else ""
