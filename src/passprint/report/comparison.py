"""A comparison: runs side by side as columns, figures as rows in named sections.

Plain data with no look of its own. The terminal draws it; so can any other report.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from passprint.report.format import ABSENT


@dataclass(frozen=True)
class Row:
    """One figure: its label and a cell per column. ``bad`` lists the columns whose cell is a failure."""

    label: str
    cells: tuple[str, ...]
    bad: frozenset[int] = frozenset()

    @property
    def empty(self) -> bool:
        """True when no column has a value."""
        return all(cell == ABSENT for cell in self.cells)


@dataclass(frozen=True)
class Section:
    """Rows that belong together."""

    title: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Comparison:
    """What is compared (``title``), between whom (``columns``) and in what (``sections``); ``legend``
    explains marks and short names."""

    title: str
    columns: tuple[str, ...]
    sections: tuple[Section, ...]
    legend: str = ""

    def __post_init__(self) -> None:
        for section in self.sections:
            for row in section.rows:
                if len(row.cells) != len(self.columns):
                    raise ValueError(
                        f"row {row.label!r} has {len(row.cells)} cells for {len(self.columns)} columns"
                    )


def section(title: str, rows: Sequence[Row]) -> Section:
    """A section of the rows that have at least one value."""
    return Section(title, tuple(row for row in rows if not row.empty))
