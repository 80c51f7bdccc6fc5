"""Digests of a graph with cycles: each object of a cycle has one digest, whichever was asked for first.

Strongly connected components come in the order that Tarjan's algorithm gives (children first). A component
of several nodes is coloured by refinement: every node starts with what it is by itself and its children
outside the component, then takes in its children's colours until no more nodes are told apart. Nodes that
no program could tell apart by following references end with equal colours. A node's digest holds its own
colour and the whole component's, so two different components never share one.
"""

from __future__ import annotations

from hashlib import sha256

from passprint.identity.node import Component, Node

_START = b"@" + b"\0" * 32


def settle_digests(root: Node) -> None:
    """Set ``mark`` on every node that the root reaches and that has none yet."""
    if root.mark is not None:
        return
    counter = 0
    open_nodes: list[Node] = []
    work: list[tuple[Node, list[Node]]] = []
    entering: Node | None = root
    while entering is not None or work:
        if entering is not None:
            entering.index = entering.lowest = counter
            counter += 1
            open_nodes.append(entering)
            children = [
                child for _, _, child, _ in entering.edges if type(child) is Node and child.mark is None
            ]
            work.append((entering, children))
            entering = None
        node, children = work[-1]
        while children:
            child = children.pop()
            if child.mark is not None:
                continue
            if child.index < 0:
                entering = child
                break
            node.lowest = min(node.lowest, child.index)
        if entering is not None:
            continue
        work.pop()
        if work:
            parent = work[-1][0]
            parent.lowest = min(parent.lowest, node.lowest)
        if node.lowest == node.index:
            _settle_component(open_nodes, node)


def _settle_component(open_nodes: list[Node], first: Node) -> None:
    member = open_nodes.pop()
    if member is first:
        children = []
        for _, _, child, _ in first.edges:
            if type(child) is Node:
                if child.mark is None:  # itself
                    _refine([first])
                    return
                children.append(child.mark)
            else:
                children.append(child)  # type: ignore[arg-type]
        first.mark = first.settle(first.own_bytes(), children)
        _close([first])
        return
    component = [member]
    while member is not first:
        member = open_nodes.pop()
        component.append(member)
    _refine(component)


def _refine(component: list[Node]) -> None:
    own = [node.own_bytes() for node in component]
    children = [[child for _, _, child, _ in node.edges] for node in component]
    colours = [_START] * len(component)
    told_apart = 0
    rounds = 0
    inside = {id(node): position for position, node in enumerate(component)}
    links = [
        [
            inside[id(child)] if type(child) is Node and child.mark is None else _outside(child)
            for child in row
        ]
        for row in children
    ]
    while True:
        colours = [
            node.settle(mine, [colours[link] if type(link) is int else link for link in row])  # type: ignore[misc]
            for node, mine, row in zip(component, own, links, strict=True)
        ]
        rounds += 1
        different = set(colours)
        if len(different) == told_apart:
            break
        told_apart = len(different)
    whole = sha256(b"component %d " % rounds + b"".join(sorted(different))).digest()
    for node, colour in zip(component, colours, strict=True):
        node.mark = b"@" + sha256(b"member " + colour + whole).digest()
    _close(component)


def _close(members: list[Node]) -> None:
    """Put what was read to expand these nodes together."""
    below: dict[int, Component] = {}
    rows = members[0].rows if len(members) == 1 else [row for node in members for row in node.rows]
    for node in members:
        for _, _, child, _ in node.edges:
            if type(child) is Node and child.component is not None:
                below[id(child.component)] = child.component
    component = Component(rows, list(below.values()), members)
    for node in members:
        node.component = component


def _outside(child: Node | bytes) -> bytes:
    if isinstance(child, bytes):
        return child
    assert child.mark is not None
    return child.mark
