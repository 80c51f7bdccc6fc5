"""Digests of a graph with cycles: each object of a cycle has one digest, whichever was asked for first.

Strongly connected components come in the order that Tarjan's algorithm gives (children first). A component
of several nodes is coloured by refinement: every node starts with what it is by itself, then takes in its
children's colours until no more nodes, or all, are told apart. Nodes that no program could tell apart by following
references end with equal colours. The whole component's digest is of all colours with those that they refer to; a
node's digest holds its own colour and the whole component's, so two different components never share one.
"""

from __future__ import annotations

from collections.abc import Iterator

from passprint.identity.canonical import frame
from passprint.identity.digests import digest32
from passprint.identity.node import Component, Node


def settle_digests(root: Node) -> None:
    """Set ``mark`` on every node that the root reaches and that has none yet."""
    if root.mark is not None:
        return
    root.index = root.lowest = counter = 0
    open_nodes = [root]
    work: list[tuple[Node, Iterator[Node]]] = [(root, iter(root.below()))]
    while work:
        node, children = work[-1]
        for child in children:
            if child.mark is not None:
                continue
            if child.index < 0:
                counter += 1
                child.index = child.lowest = counter
                open_nodes.append(child)
                work.append((child, iter(child.below())))
                break
            if child.index < node.lowest:
                node.lowest = child.index
        else:
            work.pop()
            if node.lowest == node.index:
                _settle_component(open_nodes, node)
            else:
                parent = work[-1][0]
                if node.lowest < parent.lowest:
                    parent.lowest = node.lowest


def _settle_component(open_nodes: list[Node], first: Node) -> None:
    member = open_nodes.pop()
    if member is not first:
        component = [member]
        while member is not first:
            member = open_nodes.pop()
            component.append(member)
        refine(component)
        return
    below: dict[Component, None] = {}
    marks: list[bytes] = []
    for _, _, child, _ in first.edges:
        if type(child) is not Node:
            marks.append(child)  # type: ignore[arg-type]
        elif child.mark is None:  # itself
            refine([first])
            return
        else:
            marks.append(child.mark)
            if child.component is not None:
                below[child.component] = None
    if first.unordered:
        marks.sort()
    first.mark = b"@" + digest32(first.own_bytes() + b"".join(marks))
    first.component = Component(first.rows, list(below), (first,))


def refine(component: list[Node]) -> None:
    """Settle nodes that reach each other."""
    position = {id(node): index for index, node in enumerate(component)}
    below: dict[Component, None] = {}
    rows = []
    links: list[list[bytes | int]] = []
    for node in component:
        rows += node.rows
        row: list[bytes | int] = []
        for _, _, child, _ in node.edges:
            if type(child) is not Node:
                row.append(child)  # type: ignore[arg-type]
            elif child.mark is None:
                row.append(position[id(child)])
            else:
                row.append(child.mark)
                if child.component is not None:
                    below[child.component] = None
        links.append(row)
    own = colours = [b"@" + digest32(node.own_bytes()) for node in component]
    different = set(colours)
    told_apart = rounds = 0
    while len(different) not in (told_apart, len(component)):
        told_apart = len(different)
        bodies = _with_links(component, own, links, colours)
        colours = [b"@" + digest32(body) for body in bodies]
        different = set(colours)
        rounds += 1
    bodies = _with_links(component, colours, links, colours)
    whole = digest32(b"component %d " % rounds + b"".join(sorted({frame(b"m", body) for body in bodies})))
    settled = Component(rows, list(below), component)
    for node, colour in zip(component, colours, strict=True):
        node.mark = b"@" + digest32(b"member " + colour + whole)
        node.component = settled


def _with_links(
    component: list[Node], firsts: list[bytes], links: list[list[bytes | int]], colours: list[bytes]
) -> list[bytes]:
    """What each node starts with, and the marks or colours of what it refers to."""
    bodies = []
    for node, first, row in zip(component, firsts, links, strict=True):
        marks = [link if isinstance(link, bytes) else colours[link] for link in row]
        if node.unordered:
            marks.sort()
        bodies.append(first + b"".join(marks))
    return bodies
