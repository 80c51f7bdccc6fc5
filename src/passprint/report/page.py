"""A report's document as one page of HTML: no request leaves it, and every text of the report stays text."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from passprint.report.colours import KINDS, PIECES, phase_kind
from passprint.report.format import ABSENT
from passprint.report.headline import Headline, headline
from passprint.report.keys import Row, beside, diff_lines
from passprint.report.templating import environment
from passprint.report.timeline import Timeline, timeline

PARTS = (
    ("timeline", "Timeline"),
    ("pieces", "Pieces"),
    ("why", "Why"),
    ("passes", "Passes"),
    ("store", "Store"),
    ("data", "Data"),
)
"""The parts below the headline, in order: anchor and title."""

_MOST_MISSES = 40


def page(report: Mapping[str, Any]) -> str:
    """The page of a report's document (docs/report.md). Raises :class:`PageError` where jinja2 is missing."""
    return environment().get_template("page.html.j2").render(report=report, page=Page.of(report))


@dataclass(frozen=True)
class Page:
    """What the template shows, worked out from the document."""

    program: str
    began: str
    headline: Headline
    cause: Sequence[tuple[str, str]]
    parts: Sequence[tuple[str, str]]
    timeline: Timeline
    legend: Sequence[tuple[str, str]]
    compiled: int
    pieces: Sequence[Mapping[str, Any]]
    codes: Sequence[Mapping[str, Any]]
    misses: Sequence[Mapping[str, Any]]
    pipeline: str
    passes: Sequence[Mapping[str, Any]]
    reasons: Sequence[tuple[str, str, int]]

    @classmethod
    def of(cls, report: Mapping[str, Any]) -> Page:
        numbers: dict[str, int] = {}
        for piece in report["each_piece"]:
            numbers.setdefault(piece["digest"], len(numbers))
        misses = list(_misses(report))
        kinds = {phase_kind(span["phase"]) for span in report["spans"]}
        return cls(
            program=report["process"]["program"],
            began=time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(report["began"])),
            headline=headline(report),
            cause=next((c["lines"] for miss in misses for c in miss["changes"] if c["lines"]), ()),
            parts=PARTS,
            timeline=timeline(report["spans"]),
            legend=[(kind, words) for kind, words in KINDS.items() if kind in kinds],
            compiled=sum(piece["origin"] == "compiled" for piece in report["each_piece"]),
            pieces=[
                {
                    **piece,
                    "short": ".".join(piece["label"].split(".")[-2:]),  # model.layers.12: the end says which
                    "number": numbers[piece["digest"]],
                    "tone": _tone(numbers[piece["digest"]]),
                }
                for piece in report["each_piece"]
            ],
            codes=[_code(report, digest, number) for digest, number in numbers.items()],
            misses=misses,
            pipeline=report["pipeline"] or ",".join(name for name in report["matches"] if "/" not in name),
            passes=_passes(report),
            reasons=_reasons(report),
        )


def _tone(number: int) -> str:
    return f"t{min(number, PIECES - 1)}"


def _code(report: Mapping[str, Any], digest: str, number: int) -> dict[str, Any]:
    """One distinct piece: what is told of the first that has this code, and what the store knows of it."""
    same = [piece for piece in report["each_piece"] if piece["digest"] == digest]
    others = f" and {len(same) - 1} equal to it" if len(same) > 1 else ""
    detail = report["details"].get(digest)
    runs = [run for run in report["pass_runs"] if run["piece"] == digest and run["diff"]]
    return {
        **same[0],
        "number": number,
        "tone": _tone(number),
        "title": f"{same[0]['label']}{others}",
        "detail": detail,
        "key": beside(detail["key"], detail["key"]) if detail and "key" in detail else None,
        "changes": [{**run, "lines": diff_lines(run["diff"])} for run in runs],
    }


def _misses(report: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    details = report["details"]
    for miss in report["misses"][:_MOST_MISSES]:
        before, after = (details.get(miss[end], {}).get("key") for end in ("nearest", "key"))
        tree: Row | None = beside(before, after) if before and after else None
        changes = [{**c, "lines": diff_lines(c["lines"]) if c.get("lines") else ()} for c in miss["changes"]]
        title = f"{miss['kind']} {miss['label']}".strip()
        yield {**miss, "title": title, "tree": tree, "changes": changes}


def _passes(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row a pass: totals of what was recorded of its runs, and its matches in the whole model."""
    names = dict.fromkeys(name for name in report["matches"] if "/" not in name)
    names.update(dict.fromkeys(run["pass"] for run in report["pass_runs"]))
    return [_pass(report, name) for name in names]


def _pass(report: Mapping[str, Any], name: str) -> dict[str, Any]:
    runs = [run for run in report["pass_runs"] if run["pass"] == name]
    before, after = (sum(run[end] for run in runs) for end in ("nodes_before", "nodes_after"))
    prefix = f"{name}/"
    near: dict[str, Mapping[str, Any]] = {}
    for run in runs:
        for pattern, miss in run["near_misses"].items():
            near[pattern] = max(near.get(pattern, miss), miss, key=lambda one: one["matched"])
    matched = {n.removeprefix(prefix) for n, c in report["matches"].items() if n.startswith(prefix) and c}
    return {
        "name": name,
        "matches": report["matches"].get(name, 0),
        "seconds": sum(run["seconds"] for run in runs) if runs else None,
        "nodes": f"{before:,} → {after:,}" if runs else ABSENT,
        "patterns": [
            (n.removeprefix(prefix), c) for n, c in report["matches"].items() if n.startswith(prefix)
        ],
        "near_misses": [
            (pattern, miss["reason"]) for pattern, miss in near.items() if pattern not in matched
        ],
    }


def _reasons(report: Mapping[str, Any]) -> list[tuple[str, str, int]]:
    if not report["store"]:
        return []
    told: Counter[tuple[str, str]] = Counter()
    for kind, reasons in report["store"]["reasons"].items():
        told.update({(kind, reason): times for reason, times in reasons.items() if reason})
    return [(kind, reason, times) for (kind, reason), times in told.most_common(30)]
