"""The named parts of a settled graph."""

from __future__ import annotations

from passprint.identity.digests import digest32
from passprint.identity.node import Node
from passprint.identity.tree import Part
from passprint.identity.walk import name_of, shown


def _leaf_part(name: str, child: bytes, value: object) -> Part:
    text = shown(value)
    if text is None:
        text = name_of(value)
    kind = value if isinstance(value, type) else type(value)
    return Part(name, kind.__name__, digest32(child).hex(), (), text)


def part_of(node: Node, name: str, seen: set[int]) -> Part:
    """The parts of a finished graph; a node met a second time is named without its children."""
    if id(node) in seen:
        return Part(name, node.kind, node.digest, own=node.own_digest)
    seen.add(id(node))
    children = []
    for step, label, child, value in node.shown_edges():
        shown = written(step, label)
        if isinstance(child, bytes):
            children.append(_leaf_part(shown, child, value))
        else:
            children.append(part_of(child, shown, seen))
    return Part(name, node.kind, node.digest, tuple(children), node.text, node.own_digest)


def written(step: str, label: str) -> str:
    """A step of a path as a person writes it."""
    if step == "[":
        return f"[{label}]"
    if step == "(":
        return f"({label})"
    if step == ".":
        return f".{label}"
    return label
