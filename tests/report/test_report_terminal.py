from dataclasses import dataclass, field

import pytest
from rich.console import Console, RenderableType

from passprint.report.comparison import Comparison, Row, section
from passprint.report.terminal import comparison_table, compile_report_table


def drawn(renderable: RenderableType, *, color: bool = False) -> str:
    console = Console(width=80, force_terminal=color, color_system="standard" if color else None)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()


def line_with(text: str, drawing: str) -> list[str]:
    return next(line for line in drawing.splitlines() if text in line).split()


@pytest.fixture
def comparison() -> Comparison:
    rows = [Row("to first logits", ("0.4 s", "12.0 s")), Row("nobody has it", ("–", "–"))]
    checks = [Row("same text", ("–", "no"), bad=frozenset({1}))]
    return Comparison(
        "a model",
        ("eager", "passprint cold"),
        (section("speed", rows), section("checks", checks)),
        "a legend",
    )


def test_a_comparison_shows_columns_sections_rows_and_legend(comparison: Comparison) -> None:
    drawing = drawn(comparison_table(comparison))
    assert "a model" in drawing
    assert "a legend" in drawing
    assert line_with("eager", drawing) == ["eager", "cold"]  # a column's words stand one above the other
    assert line_with("to first logits", drawing) == ["to", "first", "logits", "0.4", "s", "12.0", "s"]
    assert drawing.index("speed") < drawing.index("to first logits") < drawing.index("checks")


def test_rows_without_any_value_and_sections_without_rows_are_left_out(comparison: Comparison) -> None:
    assert "nobody has it" not in drawn(comparison_table(comparison))
    empty = Comparison("t", ("one",), (section("nothing here", [Row("x", ("–",))]),))
    assert "nothing here" not in drawn(comparison_table(empty))


def test_only_failures_are_red(comparison: Comparison) -> None:
    drawing = drawn(comparison_table(comparison), color=True)
    red = [line for line in drawing.splitlines() if "\x1b[1;31m" in line]
    assert len(red) == 1
    assert red[0].split("\x1b[1;31m")[1].split("\x1b")[0].strip() == "no"


def test_a_row_must_have_one_cell_a_column() -> None:
    with pytest.raises(ValueError, match="row 'speed' has 2 cells for 1 columns"):
        Comparison("t", ("one",), (section("s", [Row("speed", ("1", "2"))]),))


@dataclass
class Report:
    """Of the compile report's shape."""

    status: str = "bypass"
    why: str | None = "MyPass.handle is opaque"
    pieces: int = 61
    distinct_pieces: int = 4
    lookups: int = 61
    lookup_ms: float = 12.34
    seconds: dict[str, float] = field(default_factory=lambda: {"total": 15.02, "identity": 0.0042})
    matches: dict[str, int] = field(default_factory=lambda: {"noop-elimination": 1200})


def test_a_compile_report_shows_every_figure() -> None:
    drawing = drawn(compile_report_table(Report()))  # type: ignore[arg-type]
    rows = {
        "status": "bypass",
        "why": "MyPass.handle is opaque",
        "distinct pieces": "4",
        "cache lookups": "61 in 12.3 ms",
        "seconds: total": "15.0 s",
        "seconds: identity": "4.20 ms",
        "matches: noop-elimination": "1,200",
    }
    for label, value in rows.items():
        line = next(line for line in drawing.splitlines() if line.strip().startswith(label))
        assert line.strip().endswith(value)


def test_a_compile_report_without_a_reason_has_no_such_row() -> None:
    assert "why" not in drawn(compile_report_table(Report(status="cold", why=None)))  # type: ignore[arg-type]
