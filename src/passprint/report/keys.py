"""The key of something that was missed beside the nearest entry's: one tree, with both digests where they differ."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

_DIGEST = re.compile(r"\b[0-9a-f]{40,}\b")
"""That long digests differ is all that they tell a person: twelve digits say it."""

Side = Literal["same", "changed", "added", "removed"]


@dataclass(frozen=True)
class Row:
    """One part of a key: ``before`` is the nearest entry's, ``after`` the one that was asked for."""

    name: str
    side: Side
    before: str
    after: str
    children: tuple[Row, ...]
    more: int

    @property
    def differs(self) -> bool:
        return self.side != "same"


def beside(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> Row | None:
    """Two keys as one tree (:func:`passprint.compiler.details.key_tree` has their form); None where both are missing.

    Parts are matched by name, in the order of the newer key.
    """
    if before is None and after is None:
        return None
    name = str((after or before or {}).get("name", ""))
    olds, news = _children(before), _children(after)
    rows = [beside(olds.get(key), child) for key, child in news.items()]
    rows += [beside(child, None) for key, child in olds.items() if key not in news]
    return Row(
        name=name,
        side=_side(before, after),
        before=_said(before),
        after=_said(after),
        children=tuple([row for row in rows if row is not None]),
        more=max(int((form or {}).get("more", 0)) for form in (before, after)),
    )


def diff_lines(lines: str) -> Sequence[tuple[str, str]]:
    """The lines of a unified diff, each with the class of its colour; without the two that name the files."""
    kinds = {"+": "plus", "-": "minus", "@": "place"}
    rows = [row for row in lines.splitlines() if not row.startswith(("--- ", "+++ "))]
    return [(kinds.get(row[:1], "same"), row) for row in rows]


def _children(form: Mapping[str, Any] | None) -> dict[tuple[str, int], Mapping[str, Any]]:
    found: dict[tuple[str, int], Mapping[str, Any]] = {}
    for child in (form or {}).get("children", ()):
        number = 0
        while (child["name"], number) in found:
            number += 1
        found[child["name"], number] = child
    return found


def _side(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> Side:
    if before is None:
        return "added"
    if after is None:
        return "removed"
    return "same" if before["digest"] == after["digest"] else "changed"


def _said(form: Mapping[str, Any] | None) -> str:
    if form is None:
        return ""
    return _DIGEST.sub(lambda found: found[0][:12], form["text"] or form["digest"][:12])
