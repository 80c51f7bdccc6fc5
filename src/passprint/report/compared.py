"""Two reports side by side: yesterday's start and today's."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from passprint.report import format as figures
from passprint.report.comparison import Comparison, Row, section
from passprint.report.headline import headline
from passprint.report.templating import environment
from passprint.report.timeline import timeline


def compared(before: Mapping[str, Any], after: Mapping[str, Any]) -> Comparison:
    """The figures of two reports' documents, a column each."""
    both = (before, after)

    def row(label: str, cells: tuple[str, ...]) -> Row:
        return Row(label, cells)

    start = [
        row("status", tuple(str(one["status"]) for one in both)),
        row("why", tuple(headline(one).why or figures.ABSENT for one in both)),
        row("total", tuple(figures.duration(one["seconds"].get("total")) for one in both)),
    ]
    phases = dict.fromkeys(phase for one in both for phase in one["seconds"] if phase != "total")
    seconds = [row(p, tuple(figures.duration(one["seconds"].get(p)) for one in both)) for p in phases]
    counted = [
        row(words, tuple(figures.count(one[name]) for one in both))
        for name, words in (
            ("pieces", "pieces"),
            ("distinct_pieces", "distinct pieces"),
            ("graphs", "graphs"),
            ("traced", "traced"),
            ("loaded", "loaded whole"),
        )
    ]
    counted += [
        row(f"pieces: {origin}", tuple(figures.count(_of_origin(one, origin)) for one in both))
        for origin in ("compiled", "store", "memory")
    ]
    passes = dict.fromkeys(name for one in both for name in one["matches"])
    matches = [row(name, tuple(figures.count(one["matches"].get(name)) for one in both)) for name in passes]
    known = dict.fromkeys(name for one in both for name in one.get("versions", {}))
    versions = [row(n, tuple(one.get("versions", {}).get(n, figures.ABSENT) for one in both)) for n in known]
    return Comparison(
        "Two starts, side by side",
        tuple(_name(one) for one in both),
        (
            section("start", start),
            section("seconds", seconds),
            section("pieces", counted),
            section("matches", matches),
            section("versions", versions),
        ),
    )


def compared_page(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """The page of two reports' documents. Raises :class:`PageError` where jinja2 is missing."""
    return (
        environment()
        .get_template("compared.html.j2")
        .render(
            comparison=compared(before, after),
            sides=[
                {"name": _name(one), "report": one, "timeline": timeline(one["spans"])}
                for one in (before, after)
            ],
            changed=list(changed_pieces(before, after)),
        )
    )


def changed_pieces(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """The pieces whose key is another one: label, and the first digits of both; a dash where there is none."""
    olds, news = ({piece["label"]: piece["digest"] for piece in one["each_piece"]} for one in (before, after))
    for label in dict.fromkeys((*olds, *news)):
        if olds.get(label) != news.get(label):
            yield label, olds.get(label, figures.ABSENT)[:16], news.get(label, figures.ABSENT)[:16]


def _of_origin(report: Mapping[str, Any], origin: str) -> int:
    return sum(piece["origin"] == origin for piece in report["each_piece"])


def _name(report: Mapping[str, Any]) -> str:
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(report["began"]))
    return f"{report['process']['program']} {at}"
