"""Where bars stand: lanes from top to bottom, places in percent, and what runs beside the rest."""

from __future__ import annotations

import pytest

from passprint.report.timeline import timeline


def span(phase: str, start: float, end: float, piece: str | None = None) -> dict[str, object]:
    return {"phase": phase, "start": start, "end": end, "piece": piece}


def test_each_piece_has_a_lane_and_what_runs_beside_has_the_last() -> None:
    drawn = timeline(
        [
            span("trace", 10.0, 12.0),
            span("kernels", 15.0, 18.0, "blocks.0"),
            span("compile", 12.0, 15.0, "blocks.0"),
            span("compile", 15.0, 17.0, "head"),
            span("build", 17.0, 20.0, "blocks.0"),
        ]
    )
    assert [lane.label for lane in drawn.lanes] == ["model", "blocks.0", "head", "blocks.0: kernels"]
    assert [(bar.label, bar.left, bar.width) for bar in drawn.lanes[1].bars] == [
        ("compile", 20.0, 30.0),
        ("build", 70.0, 30.0),
    ]
    assert drawn.whole == "10.0 s"
    assert [text for _, text in drawn.ticks] == ["0 s", "2.50 s", "5.00 s", "7.50 s", "10.0 s"]


def test_a_short_span_can_be_seen_and_stays_inside() -> None:
    drawn = timeline([span("trace", 0.0, 100.0), span("store", 99.9999, 100.0)])
    last = drawn.lanes[0].bars[-1]
    assert last.width > 0.1
    assert last.left + last.width == pytest.approx(100.0)
    assert last.took == "100 µs"


def test_without_spans_there_is_nothing_to_draw() -> None:
    assert timeline([]).lanes == ()
    assert timeline([span("lookup", 1.0, 1.0)]).lanes[0].bars[0].took == "0 s"


def test_an_unknown_phase_is_drawn_as_another() -> None:
    assert timeline([span("teleport", 0.0, 1.0)]).lanes[0].bars[0].kind == "other"
