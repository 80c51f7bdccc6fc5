"""Hits, misses, bypasses and stores, with their reasons, counted by all processes that use one cache.

One line per event is appended to one file: ``KIND <tab> COUNT <tab> REASON``. When the file has grown, equal
lines are added up; the result has the same form. A torn line, of a killed process, is skipped.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from typing import Final, Literal

from passprint.cache.lines import Lines
from passprint.errors import CacheError

Kind = Literal["hit", "miss", "bypass", "store", "fail"]
KINDS: Final[tuple[Kind, ...]] = ("hit", "miss", "bypass", "store", "fail")

FOLD_BYTES: Final = 1 << 16
"""The file is added up when it is larger than this."""

_MOST_REASONS: Final = 100
_LONGEST_REASON: Final = 160
_OTHER: Final = "(other reasons)"


class Counters:
    """The counts in the file ``path``, and those of this process in ``here``.

    Counting never fails: what cannot be written to the file is added to what ``read`` gives this process.
    """

    def __init__(self, path: str) -> None:
        self._lines = Lines(path, FOLD_BYTES, lambda data: _print(_limit(_parse(data))))
        self.here: Counter[tuple[Kind, str]] = Counter()
        self._unwritten: Counter[tuple[Kind, str]] = Counter()

    def add(self, kind: Kind, reason: str = "") -> None:
        """Count one event."""
        reason = " ".join(reason.split())[:_LONGEST_REASON]
        self.here[kind, reason] += 1
        line = f"{kind}\t1\t{reason}\n".encode(errors="backslashreplace")
        try:
            self._lines.append(line)
        except OSError:
            self._unwritten[kind, reason] += 1

    def read(self) -> dict[Kind, dict[str, int]]:
        """All counts, by kind and by reason, the most frequent reason first."""
        total = self._unwritten + _parse(self._lines.read())
        return {
            kind: {reason: count for (of, reason), count in total.most_common() if of == kind}
            for kind in KINDS
        }

    def reset(self) -> None:
        """Begin again at zero. Raises ``CacheError`` where the file cannot be removed."""
        try:
            self._lines.remove()
        except OSError as error:
            raise CacheError(
                f"The counts of the cache {os.path.dirname(self._lines.path)} cannot be set to zero: {error.strerror}."
            ) from error
        self.here.clear()
        self._unwritten.clear()


def total(counts: Mapping[Kind, Mapping[str, int]], kind: Kind) -> int:
    """How often ``kind`` happened, for whatever reason."""
    return sum(counts.get(kind, {}).values())


def _parse(data: bytes) -> Counter[tuple[Kind, str]]:
    counts: Counter[tuple[Kind, str]] = Counter()
    by_name: dict[str, Kind] = {kind: kind for kind in KINDS}
    for line in data.decode(errors="backslashreplace").split("\n"):
        words = line.split("\t")
        if len(words) == 3 and words[0] in by_name and words[1].isdecimal():
            counts[by_name[words[0]], words[2]] += int(words[1])
    return counts


def _limit(counts: Counter[tuple[Kind, str]]) -> Counter[tuple[Kind, str]]:
    """At most so many reasons of each kind, so that the file stays small whatever the reasons say."""
    limited: Counter[tuple[Kind, str]] = Counter()
    for kind in KINDS:
        ranked = Counter({key: count for key, count in counts.items() if key[0] == kind}).most_common()
        for place, (key, count) in enumerate(ranked):
            limited[key if place < _MOST_REASONS else (kind, _OTHER)] += count
    return limited


def _print(counts: Counter[tuple[Kind, str]]) -> bytes:
    lines = (f"{kind}\t{count}\t{reason}\n" for (kind, reason), count in counts.items())
    return "".join(lines).encode(errors="backslashreplace")
