"""Source texts kept beside a fingerprint, so that a difference can be shown line by line.

Reading sources is slow (``inspect`` parses whole files), so it happens only when it is asked for.
"""

from __future__ import annotations

from types import FunctionType

from passprint.identity.node import Node

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from passprint.identity.tree import Change, Fingerprint, Part


def read_sources(root: Node, obj: Any) -> dict[str, str]:
    """The compressed sources of the functions and classes of a graph, by digest.

    A source is the text that stands in the file now. Code without a file (``exec``, a REPL) has none.
    """
    import inspect

    found: dict[str, str] = {}
    seen: set[int] = set()
    work: list[tuple[Node, Any]] = [(root, obj)]
    while work:
        node, value = work.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(value, (FunctionType, type)):
            try:
                text = inspect.getsource(value)
            except (OSError, TypeError):
                text = ""
            if text:
                found[node.digest] = pack(text)
        work.extend((child, below) for _, _, child, below in node.shown_edges() if isinstance(child, Node))
    return found


def pack(text: str) -> str:
    """A text, compressed and fit for JSON."""
    import zlib
    from base64 import b85encode

    return b85encode(zlib.compress(text.encode("utf-8", "surrogatepass"), 9)).decode()


def unpack(packed: str) -> str:
    """The text that :func:`pack` was given."""
    import zlib
    from base64 import b85decode

    return zlib.decompress(b85decode(packed)).decode("utf-8", "surrogatepass")


def differing_lines(before: Part | None, after: Part | None, older: Fingerprint, newer: Fingerprint) -> int:
    """How many lines only one of two parts has, where both kept their sources; a line that moved is none."""
    from collections import Counter

    texts = _texts(before, after, older, newer)
    if texts is None:
        return 0
    one, two = (Counter(text.splitlines()) for text in texts)
    return sum(((one - two) + (two - one)).values())


def _texts(
    before: Part | None, after: Part | None, older: Fingerprint, newer: Fingerprint
) -> tuple[str, str] | None:
    if before is None or after is None:
        return None
    old, new = older.sources.get(before.digest), newer.sources.get(after.digest)
    return None if old is None or new is None else (unpack(old), unpack(new))


def with_lines(
    change: Change, before: Part | None, after: Part | None, older: Fingerprint, newer: Fingerprint
) -> Change:
    """The change with the lines that differ, where both fingerprints kept their sources."""
    texts = _texts(before, after, older, newer)
    if texts is None:
        return change
    import difflib

    from passprint.identity.numbered import lined_up
    from passprint.identity.tree import Change

    before_lines, after_lines = (text.splitlines() for text in texts)
    before_lines = lined_up(before_lines, after_lines)
    lines = difflib.unified_diff(before_lines, after_lines, "before", "after", lineterm="", n=2)
    text = "\n".join(lines)
    return Change(change.path, change.kind, change.before, change.after, text) if text else change
