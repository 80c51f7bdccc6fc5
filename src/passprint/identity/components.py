"""Digests of a graph with cycles: each object of a cycle has one digest, whichever was asked for first.

Strongly connected components come in the order that Tarjan's algorithm gives (children first). A component
of several nodes is coloured by refinement: every node starts with what it is by itself and its children
outside the component, then takes in its children's colours until no more nodes are told apart. Nodes that
no program could tell apart by following references end with equal colours. A node's digest holds its own
colour and the whole component's, so two different components never share one.
"""

from __future__ import annotations

from hashlib import sha256

from passprint.identity.node import Node, node_digest


def assign_digests(root: Node) -> None:
    """Set ``digest`` on every node that the root reaches and that has none yet."""
    for component in _components(root):
        if len(component) == 1 and all(child is not component[0] for _, _, child, _ in component[0].edges):
            node = component[0]
            node.digest = node_digest(node, [_settled(child) for _, _, child, _ in node.edges])
        else:
            _refine(component)


def _settled(child: Node | bytes) -> bytes:
    if isinstance(child, bytes):
        return child
    assert child.digest is not None  # children come before parents
    return child.digest


def _refine(component: list[Node]) -> None:
    inside = {id(node): node for node in component}

    def recolour(colours: dict[int, bytes]) -> dict[int, bytes]:
        return {
            key: node_digest(
                node,
                [
                    colours[id(child)] if id(child) in colours else _settled(child)
                    for _, _, child, _ in node.edges
                ],
            )
            for key, node in inside.items()
        }

    colours = dict.fromkeys(inside, b"\0" * 32)
    told_apart = 0
    rounds = 0
    while True:
        colours = recolour(colours)
        rounds += 1
        count = len(set(colours.values()))
        if count == told_apart:
            break
        told_apart = count
    whole = sha256(b"component %d " % rounds + b"".join(sorted(set(colours.values())))).digest()
    for key, node in inside.items():
        node.digest = sha256(b"member " + colours[key] + whole).digest()


def _components(root: Node) -> list[list[Node]]:
    """Tarjan's strongly connected components, without recursion; nodes with a digest are left out."""
    if root.digest is not None:
        return []
    order: dict[int, int] = {id(root): 0}
    lowest: dict[int, int] = {id(root): 0}
    open_nodes = [root]
    open_ids = {id(root)}
    found: list[list[Node]] = []
    work = [(root, _unsettled_children(root))]
    while work:
        node, children = work[-1]
        key = id(node)
        if children:
            child = children.pop()
            seen = order.get(id(child))
            if seen is None:
                order[id(child)] = lowest[id(child)] = len(order)
                open_nodes.append(child)
                open_ids.add(id(child))
                work.append((child, _unsettled_children(child)))
            elif id(child) in open_ids and seen < lowest[key]:
                lowest[key] = seen
            continue
        work.pop()
        if work:
            parent = id(work[-1][0])
            lowest[parent] = min(lowest[parent], lowest[key])
        if lowest[key] == order[key]:
            component = []
            while True:
                member = open_nodes.pop()
                open_ids.discard(id(member))
                component.append(member)
                if member is node:
                    break
            found.append(component)
    return found


def _unsettled_children(node: Node) -> list[Node]:
    return [child for _, _, child, _ in node.edges if isinstance(child, Node) and child.digest is None]
