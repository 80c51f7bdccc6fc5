"""From an object to a settled graph, and from a settled graph to a fingerprint.

This module imports all that knows kinds of objects. It is imported with the first walk, so that importing
``passprint.identity`` stays cheap.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence

from passprint.identity.fast import Walker, settle
from passprint.identity.guards import build_check
from passprint.identity.known import Known
from passprint.identity.node import Node, rows_below
from passprint.identity.opaque import opaque_paths
from passprint.identity.origin import Origins
from passprint.identity.parts import part_of
from passprint.identity.slots import at_position
from passprint.identity.tree import Fingerprint
from passprint.identity.walk import name_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from passprint.identity.guards import Check
    from passprint.identity.node import Component
    from passprint.identity.walk import Walk

__all__ = ["Known", "check_together", "find_opaque", "make_fingerprint", "name_of", "walk_object"]


class _Uncollected:
    """A block in which garbage is not collected.

    A walk makes thousands of objects and drops few: looking through them for garbage again and again is for nothing.
    """

    __slots__ = ("_collects",)

    def __enter__(self) -> None:
        self._collects = gc.isenabled()
        if self._collects:
            gc.disable()

    def __exit__(self, *_: object) -> None:
        if self._collects:
            gc.enable()


def walk_object(obj: Any, origins: Origins, known: Known) -> tuple[Walk, Node]:
    """Walk an object and settle the digests of all that it reaches."""
    with _Uncollected():
        walk = Walker(origins, known, obj)
        root = walk.run(obj)
        settle(root)
        known.learn(walk)
    return walk, root


def find_opaque(obj: Any, origins: Origins, known: Known) -> tuple[str, ...]:
    """The paths to what cannot be identified; nothing is hashed or kept for that."""
    with _Uncollected():
        return opaque_paths(Walker(origins, known, obj).run(obj))


def check_together(components: Sequence[Component]) -> Check:
    """One check for several roots, given their components in order; each row is checked once."""
    rows = [
        row for position, component in enumerate(components) for row in at_position(component.rows, position)
    ]
    rows += rows_below([child for component in components for child in component.children])
    distinct = {(row[0], id(row[1]), *map(id, row[2:])): row for row in rows}
    # One dict's names stand together: the check looks at the dict once.
    return build_check(sorted(distinct.values(), key=lambda row: (row[0], id(row[1]))))


def make_fingerprint(root: Node) -> Fingerprint:
    """The fingerprint of a finished graph."""
    with _Uncollected():
        return Fingerprint(root.digest, part_of(root, root.name, set()), opaque_paths(root))
