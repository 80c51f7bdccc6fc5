"""The graph that a walk builds: one node for each object reached, with its digest."""

from __future__ import annotations

from passprint.identity.canonical import frame
from passprint.identity.digests import digest32, pack
from passprint.identity.origin import SEED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from passprint.identity.slots import Row

NO_ROWS: list[Row] = []
"""Of a node that nothing was read for; never appended to."""

UNBOUND = frame(b"U", b"unbound")
EMPTY_CELL = frame(b"U", b"empty cell")


class Node:
    """One object reached: what it is by itself (``head``) and what it refers to (``edges``).

    An edge is ``(step, label, child, value)``: ``step`` says how a person writes the way to the child
    (``"→"`` for a name that code looks up, ``"."`` for a member, ``"["`` for an item, ``"("`` for an
    argument, ``""`` for a way that is not written); ``child`` is a node, or the bytes of a plain value;
    ``value`` is kept for explaining. ``name`` is what a person would call a walk's root.

    ``mark`` is how the node stands in the bytes of the nodes that refer to it; None until it is settled.
    Bytes of plain values are framed and never begin with its ``@``.

    ``rows`` is what was read to expand it, ``is_volatile`` says that only walking again can tell whether it is the
    same, ``is_about_root`` that a row is about the walk's root; ``component`` is the part of the graph that it was
    settled with; ``is_kept`` says that later walks may take it over.
    """

    __slots__ = (
        "component",
        "edges",
        "head",
        "index",
        "is_about_root",
        "is_kept",
        "is_volatile",
        "kind",
        "lowest",
        "mark",
        "name",
        "opaque",
        "rows",
        "text",
        "unordered",
    )

    def __init__(self, kind: str, name: str) -> None:
        self.kind = kind
        self.name = name
        self.head = b""
        self.edges: list[tuple[str, str, Node | bytes, object]] = []
        self.unordered = False
        self.opaque: str | None = None
        self.text: str | None = None
        self.mark: bytes | None = None
        self.rows: list[Row] = NO_ROWS
        self.component: Component | None = None
        self.is_kept = self.is_about_root = self.is_volatile = False
        # Used while components are looked for; -1: not yet met.
        self.index = -1
        self.lowest = -1

    def add(self, step: str, label: str, child: Node | bytes, value: object = None) -> None:
        """Append an edge."""
        self.edges.append((step, label, child, value))

    @property
    def digest(self) -> str:
        """The settled digest as lowercase hex."""
        assert self.mark is not None
        return self.mark[1:].hex()

    def below(self) -> list[Node]:
        """The nodes that it refers to."""
        return [edge[2] for edge in self.edges if type(edge[2]) is Node]

    def shown_edges(self) -> list[tuple[str, str, Node | bytes, object]]:
        """The edges in an order that is the same in every process: sets and enumerations hash as the process does."""
        return sorted(self.edges, key=_place) if self.unordered else self.edges

    def own_bytes(self) -> bytes:
        """What the node is without its children."""
        return SEED + pack(
            (self.kind, self.head, None if self.unordered else [edge[1] for edge in self.edges])
        )

    @property
    def own_digest(self) -> str:
        """A digest of what the node is by itself: the same where only something below it differs."""
        return digest32(self.kind.encode() + b" " + self.head).hex()[:16]


def _place(edge: tuple[str, str, Node | bytes, object]) -> tuple[str, str, bytes]:
    _, label, child, _ = edge
    return (label, child.kind, child.mark or b"") if isinstance(child, Node) else (label, "", child)


class Component:
    """Nodes that reach each other (often just one), settled together: what was read to expand them.

    ``children`` are the components that they reach. ``is_volatile`` is True where this or one below reads something
    that only walking again can tell, ``is_opaque`` where one cannot be identified. ``is_lasting`` says that later
    walks may take it over.
    """

    __slots__ = ("children", "is_lasting", "is_opaque", "is_volatile", "rows")

    def __init__(self, rows: list[Row], children: list[Component], members: Iterable[Node] = ()) -> None:
        self.rows = rows
        self.children = children
        is_volatile = is_opaque = False
        is_lasting = True
        for child in children:
            is_volatile |= child.is_volatile
            is_opaque |= child.is_opaque
            is_lasting &= child.is_lasting
        for node in members:
            is_volatile |= node.is_volatile
            # What is about one walk's root does not last.
            is_lasting &= not node.is_about_root
            if node.opaque is not None:
                is_opaque = True
                is_lasting &= node.kind == "opaque"  # another one would be kept open by keeping it
        self.is_volatile: bool = is_volatile
        self.is_opaque: bool = is_opaque
        self.is_lasting: bool = is_lasting and not is_volatile

    def closure(self) -> list[Component]:
        """This component and all below, each once."""
        seen = {id(self)}
        found = [self]
        for component in found:
            for child in component.children:
                if id(child) not in seen:
                    seen.add(id(child))
                    found.append(child)
        return found


def rows_below(components: list[Component]) -> list[Any]:
    """The rows of these components and of all below them, each once."""
    return [row for component in Component([], components).closure() for row in component.rows]
