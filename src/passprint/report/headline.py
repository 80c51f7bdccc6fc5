"""A report in one sentence: found or compiled, why, and what it cost beside what it would have cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from passprint.report.format import count, duration, ratio
from passprint.wording import many

TITLES = {
    "warm": "Loaded from the cache",
    "cold": "Compiled",
    "bypass": "Compiled, and not cached",
    "pending": "Not compiled yet",
}


@dataclass(frozen=True)
class Headline:
    """``title``: what happened, ``took``: how long, ``beside``: what it would have cost otherwise, ``why``: the reason.

    ``beside`` is empty, and ``why`` None, where there is nothing to say.
    """

    title: str
    took: str
    beside: str
    why: str | None

    def __str__(self) -> str:
        cost = f"{self.title} in {self.took}{f' ({self.beside})' if self.beside else ''}"
        return f"{cost}: {self.why}" if self.why else cost


def headline(report: Mapping[str, Any]) -> Headline:
    """The first sentence of a report, from its document."""
    status, total = report["status"], report["seconds"].get("total")
    return Headline(TITLES.get(status, str(status)), duration(total), _beside(report), _why(report))


def _beside(report: Mapping[str, Any]) -> str:
    total, spared = report["seconds"].get("total"), report.get("spared")
    if report["status"] == "warm" and spared and total:
        return f"compiling it took {duration(spared)}, {ratio(spared, total)} as long"
    if report["status"] == "bypass":
        return "as long again in every process"
    compiled = {piece["digest"] for piece in report["each_piece"] if piece["origin"] == "compiled"}
    if report["status"] == "cold" and len(compiled) < report["distinct_pieces"]:
        return f"{count(len(compiled))} of {many(report['distinct_pieces'], 'distinct piece')}; the rest was found"
    return ""


def _why(report: Mapping[str, Any]) -> str | None:
    if report["why"]:
        return str(report["why"])
    if report["status"] == "warm":
        return None
    return None if not report["notes"] else str(report["notes"][0])
