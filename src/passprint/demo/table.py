"""The demo's table: its phases as columns, its figures as rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from passprint.demo.result import (
    BASELINE_COLD,
    BASELINE_WARM,
    COLD,
    EAGER,
    LIBRARY,
    TOLERANCE,
    WARM,
    DemoResult,
)
from passprint.demo.task import OPT_IN_PASS, PhaseResult
from passprint.report import format as figures
from passprint.report.comparison import Comparison, Row, section

_ORDER = (EAGER, COLD, WARM, BASELINE_COLD, BASELINE_WARM, LIBRARY)
_BASES = {COLD: BASELINE_COLD, WARM: BASELINE_WARM, LIBRARY: BASELINE_COLD}


def demo_comparison(result: DemoResult) -> Comparison:
    """All figures of a demo, phases without figures left out."""
    columns = tuple(phase for phase in _ORDER if phase in result.phases)
    prepared = result.prepared
    title = (
        f"{result.model}: {prepared.layers} layers, {prepared.parameters / 1e6:.0f} M parameters, "
        f"{len(prepared.prompt_ids)}-token prompt, {result.environment['threads']} threads"
    )
    build = _Rows(result, columns)
    return Comparison(
        title=title,
        columns=columns,
        legend=_legend(columns, build),
        sections=(
            section("speed", build.speed()),
            section("compile", build.compile()),
            section("of it", build.phases()),
            section("matches", build.matches()),
            section("against eager", build.checks()),
            section("not counted above", build.apart()),
        ),
    )


def _legend(columns: tuple[str, ...], rows: _Rows) -> str:
    parts = []
    if BASELINE_COLD in columns:
        parts.append("baseline: plain torch.compile")
    if rows.has_opt_in():
        parts.append("*: a pass outside the default pipeline")
    return "; ".join(parts)


class _Rows:
    """The rows of one result. Each method gives one section's."""

    def __init__(self, result: DemoResult, columns: tuple[str, ...]) -> None:
        self._result = result
        self._columns = columns

    def speed(self) -> list[Row]:
        result = self._result
        return [
            self._row("compile to first logits", lambda phase: figures.duration(result.seconds(phase))),
            self._row(
                "ratio to baseline",
                lambda phase: figures.ratio(result.seconds(phase), result.seconds(_BASES.get(phase, ""))),
            ),
            self._row("decoding, tokens/s", self._of(lambda found: figures.rate(found.tokens_per_second))),
        ]

    def compile(self) -> list[Row]:
        return [
            self._row("status", self._of_report(lambda report: str(report["status"]))),
            self._row("pieces", self._of_report(lambda report: figures.count(report["pieces"]))),
            self._row(
                "distinct pieces", self._of_report(lambda report: figures.count(report["distinct_pieces"]))
            ),
            self._row("cache lookups", self._of_report(lambda report: figures.count(report["lookups"]))),
            self._row(
                "time in lookups",
                self._of_report(lambda report: figures.duration(_seconds(report["lookup_ms"]))),
            ),
            self._row(
                "a repeated piece",
                self._of_report(lambda report: figures.duration(_seconds(report["repeated_piece_ms"]))),
            ),
            self._row("time in identity", self._identity),
            self._row("its share", self._identity_share),
            self._row("graphs by Dynamo", self._graphs),
        ]

    def phases(self) -> list[Row]:
        """Where compiling spent its seconds, identity apart."""
        names: dict[str, None] = {}
        for phase in self._columns:
            report = self._result.report(phase)
            names.update(dict.fromkeys(report["seconds"] if report else ()))

        def row(name: str) -> Row:
            return self._row(
                name, self._of_report(lambda report: figures.duration(report["seconds"].get(name)))
            )

        return [row(name) for name in names if name not in ("identity", "total")]

    def matches(self) -> list[Row]:
        """One row for each pass that ran anywhere; patterns of a pass (``pass/pattern``) are in the JSON."""
        names: dict[str, None] = {}
        for phase in (LIBRARY, COLD):
            names.update(dict.fromkeys(self._matches_in(phase)))
            found = self._result.phases.get(phase)
            names.update(dict.fromkeys(found.pass_roles if found else ()))
        return [self._match_row(name) for name in names if "/" not in name]

    def checks(self) -> list[Row]:
        phases = [self._result.phases[phase] for phase in self._columns]
        return [
            self._row(
                "largest difference",
                self._of(lambda found: figures.difference(found.difference)),
                bad=[found.difference is not None and not found.difference <= TOLERANCE for found in phases],
            ),
            self._row(
                "same decoded text",
                self._of(lambda found: figures.yes_no(found.same_text)),
                bad=[found.same_text is False for found in phases],
            ),
        ]

    def apart(self) -> list[Row]:
        return [
            self._row(label, lambda phase, name=name: figures.duration(self._result.seconds(phase, name)))
            for label, name in (
                ("import torch", "import torch"),
                ("import transformers", "import transformers"),
                ("model loading", "load"),
            )
        ]

    def has_opt_in(self) -> bool:
        library = self._result.phases.get(LIBRARY)
        return library is not None and OPT_IN_PASS in library.pass_roles.values()

    def _match_row(self, name: str) -> Row:
        library = self._result.phases.get(LIBRARY)
        role = library.pass_roles.get(name) if library else None

        def cell(phase: str) -> str:
            return figures.count(self._matches_in(phase).get(name))

        return self._row(f"{name} *" if role == OPT_IN_PASS else name, cell)

    def _matches_in(self, phase: str) -> dict[str, int]:
        report = self._result.report(phase)
        return {} if report is None else report["matches"]

    def _identity(self, phase: str) -> str:
        report = self._result.report(phase)
        return figures.ABSENT if report is None else figures.duration(report["seconds"].get("identity"))

    def _identity_share(self, phase: str) -> str:
        report = self._result.report(phase)
        if report is None:
            return figures.ABSENT
        return figures.share(report["seconds"].get("identity"), self._result.seconds(phase))

    def _graphs(self, phase: str) -> str:
        report = self._result.report(phase)
        return figures.count(self._result.phases[phase].graphs if report is None else report["graphs"])

    def _of(self, cell: Callable[[PhaseResult], str]) -> Callable[[str], str]:
        return lambda phase: cell(self._result.phases[phase])

    def _of_report(self, cell: Callable[[dict[str, Any]], str]) -> Callable[[str], str]:
        def text(phase: str) -> str:
            report = self._result.report(phase)
            return figures.ABSENT if report is None else cell(report)

        return text

    def _row(self, label: str, cell: Callable[..., str], bad: list[bool] | None = None) -> Row:
        failing = frozenset(index for index, fails in enumerate(bad or []) if fails)
        return Row(label, tuple(cell(phase) for phase in self._columns), failing)


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1e3
