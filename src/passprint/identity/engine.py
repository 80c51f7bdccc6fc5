"""From an object to a settled graph, and from a settled graph to a fingerprint.

This module imports all that knows kinds of objects. It is imported with the first walk, so that importing
``passprint.identity`` stays cheap.
"""

from __future__ import annotations

from passprint.identity import kinds as _kinds  # noqa: F401  (registers how each kind of object is read)
from passprint.identity.components import settle_digests
from passprint.identity.guards import build_check
from passprint.identity.node import Node
from passprint.identity.opaque import opaque_paths
from passprint.identity.origin import Origins
from passprint.identity.parts import part_of
from passprint.identity.slots import merge_slots
from passprint.identity.tree import Fingerprint
from passprint.identity.walk import Walk, name_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["build_check", "make_fingerprint", "merge_slots", "name_of", "walk_object"]


def walk_object(obj: Any, origins: Origins) -> tuple[Walk, Node]:
    """Walk an object and settle the digests of all that it reaches."""
    walk = Walk(origins, obj)
    root = walk.run(obj)
    walk.slots.release()
    settle_digests(root)
    return walk, root


def make_fingerprint(root: Node) -> Fingerprint:
    """The fingerprint of a finished graph."""
    return Fingerprint(root.digest, part_of(root, root.name, set()), opaque_paths(root))
