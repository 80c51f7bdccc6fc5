"""Reports as rich tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from passprint.report import format as figures
from passprint.report.comparison import Comparison
from passprint.report.headline import headline

_STATUS_STYLE = {"cold": "cyan", "warm": "green", "bypass": "yellow"}


def comparison_table(comparison: Comparison, *, narrow: bool = False) -> Group:
    """The comparison as one table under its title: a blank line between sections, a column's words one
    above the other, failures in red."""
    table = Table(
        box=box.SIMPLE_HEAD,
        padding=0 if narrow else (0, 1),
        pad_edge=False,
        show_edge=False,
        header_style="bold",
    )
    table.add_column("", no_wrap=True)
    for column in comparison.columns:
        table.add_column(column.replace(" ", "\n"), justify="right", vertical="bottom", no_wrap=True)
    for section in comparison.sections:
        if not section.rows:
            continue
        table.add_row(Text(section.title, style="bold"))
        for row in section.rows:
            cells = [
                Text(cell, style="bold red" if index in row.bad else _style(cell))
                for index, cell in enumerate(row.cells)
            ]
            table.add_row(Text(f"  {row.label}"), *cells)
        table.add_section()
    title, legend = Text(comparison.title, style="bold"), Text(comparison.legend, style="dim italic")
    return Group(title, table, legend) if comparison.legend else Group(title, table)


def report_table(report: Mapping[str, Any]) -> Group:
    """A report's document: what happened and why, pieces, lookups, seconds by phase, matches by pass."""
    said = headline(report)
    lines = [
        Text.assemble((said.title, f"bold {_STATUS_STYLE.get(report['status'], '')}"), f" in {said.took}")
    ]
    if said.beside:
        lines[0].append(f" ({said.beside})")
    if said.why:
        lines.append(Text(f"  {said.why}"))
    lines += [Text(f"  graph break at {_broken(one)}") for one in report["graph_breaks"]]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_header=False)
    table.add_column("")
    table.add_column("", justify="right", overflow="fold")
    table.add_row("pieces", figures.count(report["pieces"]))
    table.add_row("distinct pieces", figures.count(report["distinct_pieces"]))
    table.add_row("cache lookups", f"{report['lookups']:,} in {figures.duration(report['lookup_ms'] / 1e3)}")
    table.add_section()
    for phase, seconds in report["seconds"].items():
        table.add_row(f"seconds: {phase}", figures.duration(seconds))
    table.add_section()
    for name, matches in report["matches"].items():
        table.add_row(f"matches: {name}", figures.count(matches))
    return Group(*lines, table)


def _broken(found: Mapping[str, Any]) -> str:
    return ": ".join(filter(None, (found["place"], found["line"], found["reason"])))


def _style(cell: str) -> str:
    return "dim" if cell == figures.ABSENT else ""
