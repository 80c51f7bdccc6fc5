"""A report in one sentence: found or compiled, why, and what it cost beside what it would have cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from passprint.report.format import count, duration, ratio

TITLES = {
    "warm": "Loaded from the cache",
    "cold": "Compiled",
    "bypass": "Compiled, and not cached",
    "pending": "Not compiled yet",
}


@dataclass(frozen=True)
class Headline:
    """``title``: what happened, ``cost``: what it cost and what it would have cost, ``why``: the reason, or None."""

    title: str
    cost: str
    why: str | None

    def __str__(self) -> str:
        return f"{self.title} in {self.cost}{f': {self.why}' if self.why else ''}"


def headline(report: Mapping[str, Any]) -> Headline:
    """The first sentence of a report, from its document."""
    status = report["status"]
    return Headline(TITLES.get(status, str(status)), _cost(report, status), _why(report))


def _cost(report: Mapping[str, Any], status: str) -> str:
    total = report["seconds"].get("total")
    if status == "pending":
        return "no time: it was not called"
    if status == "warm":
        spared = report.get("spared")
        if spared and total:
            return f"{duration(total)}; compiling took {duration(spared)} ({ratio(spared, total)} as long)"
        return duration(total)
    if status == "bypass":
        return f"{duration(total)}, and so will every new process"
    compiled = [piece for piece in report["each_piece"] if piece["origin"] == "compiled"]
    found = len({p["digest"] for p in report["each_piece"]}) - len({p["digest"] for p in compiled})
    kept = (
        f"; {count(found)} of {count(report['distinct_pieces'])} distinct pieces were found" if found else ""
    )
    return f"{duration(total)}{kept}"


def _why(report: Mapping[str, Any]) -> str | None:
    if report["why"]:
        return str(report["why"])
    if report["status"] == "warm":
        return None
    return None if not report["notes"] else str(report["notes"][0])
