from typing import Any

import pytest
from rich.console import Console, RenderableType

from passprint.report.comparison import Comparison, Row, section
from passprint.report.terminal import comparison_table, report_table


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


def document(**changes: object) -> dict[str, Any]:
    """A report's document, as far as the table needs it."""
    return {
        "status": "bypass",
        "why": "MyPass.handle is opaque",
        "notes": [],
        "spared": None,
        "pieces": 61,
        "distinct_pieces": 4,
        "each_piece": [],
        "lookups": 61,
        "lookup_ms": 12.34,
        "seconds": {"total": 15.0, "identity": 0.0042},
        "matches": {"noop-elimination": 1200},
        "graph_breaks": [],
    } | changes


def test_a_compile_report_shows_every_figure() -> None:
    drawing = drawn(report_table(document()))
    assert drawing.startswith("Compiled, and not cached in 15.0 s (as long again in every process)\n")
    assert "MyPass.handle is opaque" in drawing
    rows = {
        "distinct pieces": "4",
        "cache lookups": "61 in 12.3 ms",
        "seconds: total": "15.0 s",
        "seconds: identity": "4.20 ms",
        "matches: noop-elimination": "1,200",
    }
    for label, value in rows.items():
        line = next(line for line in drawing.splitlines() if line.strip().startswith(label))
        assert line.strip().endswith(value)


def test_a_warm_start_says_what_it_spared() -> None:
    drawing = drawn(report_table(document(status="warm", why=None, seconds={"total": 0.1}, spared=7.7)))
    assert drawing.startswith("Loaded from the cache in 100 ms (compiling it took 7.70 s, 77.0× as long)\n")


def test_graph_breaks_are_named() -> None:
    broken = {"place": "net.py:3 in forward", "line": "print(x)", "reason": "a call of print"}
    assert "graph break at net.py:3 in forward: print(x): a call of print" in drawn(
        report_table(document(graph_breaks=[broken]))
    )
