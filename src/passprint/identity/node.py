"""The graph that a walk builds: one node for each object reached, with its digest."""

from __future__ import annotations

from hashlib import sha256

from passprint.identity.canonical import encode_text, frame
from passprint.identity.origin import SEED

Child = "Node | bytes"


class Node:
    """One object reached: what it is by itself (``head``) and what it refers to (``edges``).

    An edge is ``(step, label, child, value)``: ``step`` says how a person writes the way to the child
    (``"→"`` for a name that code looks up, ``"."`` for a member, ``"["`` for an item, ``""`` for a way that
    is not written); ``child`` is a node, or the bytes of a plain value; ``value`` is kept for explaining.
    """

    __slots__ = ("digest", "edges", "head", "kind", "name", "opaque", "text", "unordered", "value")

    def __init__(self, kind: str, name: str, value: object = None) -> None:
        self.kind = kind
        self.name = name
        self.value = value
        self.text: str | None = None
        self.head = b""
        self.edges: list[tuple[str, str, Node | bytes, object]] = []
        self.unordered = False
        self.opaque: str | None = None
        self.digest: bytes | None = None

    def add(self, step: str, label: str, child: Node | bytes, value: object = None) -> None:
        """Append an edge."""
        self.edges.append((step, label, child, value))


def own_bytes(node: Node) -> bytes:
    """What a node is without its children."""
    return SEED + frame(b"K", encode_text(node.kind)) + frame(b"H", node.head)


def node_digest(node: Node, child_digests: list[bytes]) -> bytes:
    """The digest of a node whose children's are known, in the order of its edges."""
    parts = [own_bytes(node)]
    if node.unordered:
        parts.extend(sorted(child_digests))
    else:
        for (_, label, _, _), digest in zip(node.edges, child_digests, strict=True):
            name = label.encode("utf-8", "surrogatepass")
            parts.append(b"%d:%b%d:%b" % (len(name), name, len(digest), digest))
    return sha256(b"".join(parts)).digest()
