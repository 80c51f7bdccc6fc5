"""Why something was not found: one miss, and the journal of the last ones, which ``passprint explain`` reads."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from passprint.cache.lines import Lines
from passprint.identity import Change

JOURNAL_BYTES: Final = 1 << 20
"""The journal is cut to the newer half when it is larger than this."""

_MOST_CHANGES: Final = 12
_LONGEST_TEXT: Final = 300
_MOST_LINES: Final = 40
_TOLD: Final = 3
_NUMBERED: Final = re.compile(r"(?P<of>.* → )\d+ (?P<name>[^→]+)")
_WITHOUT_TEXT: Final = re.compile(r"[\w+ ]* ?[0-9a-f]{12}|")
_LONG_DIGEST: Final = re.compile(r"\b[0-9a-f]{40,}\b")


@dataclass(frozen=True, slots=True)
class Miss:
    """Something that had to be compiled, and why.

    ``kind`` is what was looked for (``"piece"``, ``"model"``), or ``"bypass"`` where the store was not asked;
    ``key`` is its digest, ``label`` what a person calls it, ``reason`` one sentence, ``nearest`` the digest of
    the stored entry that it is compared with, ``changes`` what differs from that one, and ``detail`` the same in
    words where there are better ones.
    """

    kind: str
    key: str
    label: str
    reason: str
    nearest: str = ""
    changes: tuple[Change, ...] = ()
    detail: str = ""

    def __str__(self) -> str:
        """The reason and the first changes, in one line."""
        if self.detail:
            return f"{self.reason}: {self.detail}"
        told = and_more([change_text(change) for change in self.changes])
        return f"{self.reason}: {told}" if told else self.reason

    def in_short(self) -> str:
        """The same, with the first lines that differ of parts that are texts."""
        told = [text for change in self.changes if (text := _first_lines(change))]
        return f"{self.reason}: {'; '.join(told[:_TOLD])}" if told else str(self)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "kind": self.kind,
            "key": self.key,
            "label": self.label,
            "reason": self.reason,
            "nearest": self.nearest,
            "changes": [change.to_dict() for change in self.changes],
            "detail": self.detail,
        }


@dataclass(frozen=True, slots=True)
class Noted:
    """A miss as the journal has it: ``run`` is one process, ``program`` its name, ``at`` seconds since 1970."""

    miss: Miss
    at: float
    run: str
    program: str

    def to_dict(self) -> dict[str, Any]:
        """The JSON form, one line of the journal."""
        return {"at": self.at, "run": self.run, "program": self.program, **self.miss.to_dict()}


def change_text(change: Change) -> str:
    """One change in one line, cut where it is long; where two texts would look the same, only that it changed."""
    _, _, path = change.path.partition(" → ")  # all are of one key: its name says nothing
    detail: str = change.kind
    if change.kind != "changed":
        held = change.after or change.before or ""
        if not _WITHOUT_TEXT.fullmatch(held):
            detail = f"{change.kind} {_cut(short_digests(held), 100)}"
    elif change.before != change.after and not change.lines:
        detail = f"{_cut(short_digests(change.before), 100)} → {_cut(short_digests(change.after), 100)}"
    return f"{path or change.path}: {detail}"


def _first_lines(change: Change) -> str:
    """The first line that went and the first that came, of a part that is a text."""
    lines = (change.lines or "").splitlines()[2:]
    before = next((line[1:] for line in lines if line.startswith("-")), "nothing")
    after = next((line[1:] for line in lines if line.startswith("+")), "nothing")
    return f"{before} → {after}" if lines else ""


def and_more(texts: Sequence[str]) -> str:
    """The first few, and how many more there are."""
    told = "; ".join(texts[:_TOLD])
    return f"{told} and {len(texts) - _TOLD} more" if len(texts) > _TOLD else told


def without_moved(changes: Sequence[Change]) -> list[Change]:
    """The changes without numbered parts that only have another number (``0 name`` → ``1 name``): the order says so."""
    gone = Counter([_unnumbered(change) for change in changes if change.kind == "removed"])
    came = Counter([_unnumbered(change) for change in changes if change.kind == "added"])
    moved = gone & came
    del moved[None]
    kept = [change for change in changes if moved[_unnumbered(change)] == 0]
    return kept or list(changes)


def _unnumbered(change: Change) -> tuple[str, str, str] | None:
    found = _NUMBERED.fullmatch(change.path)
    if found is None or change.kind == "changed":
        return None
    return found["of"], found["name"], change.before or change.after or ""


def short_digests(text: str | None) -> str:
    """A text in which only the first digits of long digests are left: that they differ is all they tell a person."""
    return _LONG_DIGEST.sub(lambda found: found[0][:12], text or "")


class Journal:
    """The last misses of all processes that use one cache, in the file ``path``. Noting never fails."""

    def __init__(self, path: str) -> None:
        self._lines = Lines(path, JOURNAL_BYTES, _newer_half)
        self._began = time.time_ns()

    def add(self, miss: Miss) -> None:
        """Note a miss; of long ones, the first changes and lines."""
        changes = tuple(_shortened(change) for change in miss.changes[:_MOST_CHANGES])
        run = f"{os.getpid()}-{self._began:x}"
        program = os.path.basename(sys.argv[0]) if sys.argv and sys.argv[0] else "python"
        noted = Noted(replace(miss, changes=changes), time.time(), run, program)
        line = json.dumps(noted.to_dict(), separators=(",", ":"))
        with contextlib.suppress(OSError):
            self._lines.append(line.encode("ascii") + b"\n")

    def read(self) -> list[Noted]:
        """All that are remembered, the oldest first."""
        found = []
        for line in self._lines.read().splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):  # torn by a killed process
                found.append(_noted(json.loads(line)))
        return found


def last_run(noted: Iterable[Noted]) -> list[Noted]:
    """Those of the process that noted one last."""
    everything = list(noted)
    return [one for one in everything if one.run == everything[-1].run]


def _noted(form: Mapping[str, Any]) -> Noted:
    changes = tuple(
        Change(row["path"], row["kind"], row["before"], row["after"], row.get("lines"))
        for row in form["changes"]
    )
    miss = Miss(
        kind=form["kind"],
        key=form["key"],
        label=form["label"],
        reason=form["reason"],
        nearest=form["nearest"],
        changes=changes,
        detail=form["detail"],
    )
    return Noted(miss, float(form["at"]), form["run"], form["program"])


def _shortened(change: Change) -> Change:
    lines = change.lines
    if lines is not None:
        rows = lines.splitlines()
        more = [f"… and {len(rows) - _MOST_LINES} more lines"] if len(rows) > _MOST_LINES else []
        lines = "\n".join([*(_cut(row, _LONGEST_TEXT) for row in rows[:_MOST_LINES]), *more])
    before, after = (
        None if text is None else _cut(text, _LONGEST_TEXT) for text in (change.before, change.after)
    )
    return Change(_cut(change.path, _LONGEST_TEXT), change.kind, before, after, lines)


def _cut(text: str | None, length: int) -> str:
    text = text or ""
    return text if len(text) <= length else f"{text[:length]}…"


def _newer_half(data: bytes) -> bytes:
    return data[data.find(b"\n", len(data) // 2) + 1 :]
