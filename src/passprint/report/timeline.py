"""The spans of a report as bars: lanes, and places in percent of the whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from passprint.report.colours import phase_about, phase_kind
from passprint.report.format import duration

BESIDE = frozenset({"kernels"})
"""Phases that run beside the others."""

_NARROWEST = 0.15
"""Percent of the width that a bar takes at least, so that it can be seen and hovered."""


@dataclass(frozen=True)
class Bar:
    """One span: its place in percent, and what is said of it."""

    label: str
    kind: str
    about: str
    left: float
    width: float
    start: str
    took: str


@dataclass(frozen=True)
class Lane:
    """Bars in one row: of a phase that is not of a piece, or of one piece."""

    label: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class Timeline:
    """``lanes`` from top to bottom, ``ticks`` as pairs of percent and text, ``whole`` the time from first to last."""

    lanes: tuple[Lane, ...]
    ticks: tuple[tuple[float, str], ...]
    whole: str


def timeline(spans: Sequence[Mapping[str, Any]]) -> Timeline:
    """The bars of some spans. A lane for what concerns the model, and one for each piece that took time.

    What runs beside all else has lanes of its own, below the others.
    """
    if not spans:
        return Timeline((), (), duration(0.0))
    begin = min(span["start"] for span in spans)
    whole = max(span["end"] for span in spans) - begin or 1e-9
    lanes: dict[str, list[Bar]] = {"model": []}
    for span in sorted(spans, key=lambda span: (span["phase"] in BESIDE, span["start"])):
        piece = span["piece"] or "model"
        lane = lanes.setdefault(f"{piece}: {span['phase']}" if span["phase"] in BESIDE else piece, [])
        lane.append(_bar(span, begin, whole))
    return Timeline(
        tuple(Lane(label, tuple(bars)) for label, bars in lanes.items() if bars),
        tuple((25.0 * quarter, duration(whole * quarter / 4)) for quarter in range(5)),
        duration(whole),
    )


def _bar(span: Mapping[str, Any], begin: float, whole: float) -> Bar:
    took = span["end"] - span["start"]
    width = max(100.0 * took / whole, _NARROWEST)
    left = min(100.0 * (span["start"] - begin) / whole, 100.0 - width)
    return Bar(
        label=span["phase"],
        kind=phase_kind(span["phase"]),
        about=phase_about(span["phase"]),
        left=round(left, 3),
        width=round(width, 3),
        start=duration(span["start"] - begin),
        took=duration(took),
    )
