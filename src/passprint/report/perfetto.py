"""A report as a trace in Chrome's format, for https://ui.perfetto.dev and chrome://tracing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from passprint.report.colours import phase_about, phase_kind
from passprint.report.timeline import BESIDE


def trace(report: Mapping[str, Any]) -> dict[str, Any]:
    """The trace of a report's document: one complete event a span, times in microseconds from the first on."""
    return {
        "traceEvents": list(_events(report)),
        "displayTimeUnit": "ms",
        "otherData": report.get("versions", {}),
    }


def _events(report: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    process = report["process"]
    where = {"pid": process["id"], "tid": 1}
    yield {
        "ph": "M",
        "name": "process_name",
        **where,
        "args": {"name": f"{process['program']} ({report['status']})"},
    }
    yield {"ph": "M", "name": "thread_name", **where, "args": {"name": "start"}}
    yield {"ph": "M", "name": "thread_name", **where, "tid": 2, "args": {"name": "beside"}}
    begin = min((span["start"] for span in report["spans"]), default=0.0)
    for span in report["spans"]:
        name = f"{span['phase']} {span['piece']}" if span["piece"] else span["phase"]
        yield {
            "ph": "X",
            "name": name,
            "cat": phase_kind(span["phase"]),
            "ts": (span["start"] - begin) * 1e6,
            "dur": (span["end"] - span["start"]) * 1e6,
            **where,
            "tid": 2 if span["phase"] in BESIDE else 1,
            "args": {"phase": span["phase"], "about": phase_about(span["phase"])},
        }
