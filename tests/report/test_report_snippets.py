"""What a notebook shows of passprint's objects."""

from __future__ import annotations

import builtins
from typing import Any

import pytest
from tests.report.documents import HOSTILE

import passprint
from passprint.compiler.record import CompileReport, PieceReport
from passprint.passes.library import FoldReshapes
from passprint.report.templating import environment


def one(value: float) -> float:
    return value + 1


def two(value: float) -> float:
    return value + 2


def test_a_report() -> None:
    piece = PieceReport("blocks.0", "ab" * 32, 3, "compiled", "direct", None, 0.1, {})
    report = CompileReport(graphs=1, pieces_seen=[piece], notes=[f"blocks.0: {HOSTILE}"])
    report.seconds["total"] = 4.2
    html = report._repr_html_()
    assert html is not None
    assert "<b>Compiled</b> in 4.20 s" in html
    assert "1 piece, 1 distinct" in html
    assert "<img" not in html


def test_a_fingerprint_and_a_diff() -> None:
    before, after = passprint.fingerprint(one), passprint.fingerprint(two)
    html = after._repr_html_()
    assert html is not None
    assert after.digest[:16] in html
    changes: Any = after.diff(before)
    assert changes == list(changes)
    assert "1 difference<" in changes._repr_html_()
    assert "No difference" in after.diff(after)._repr_html_()  # type: ignore[attr-defined]


def test_a_large_fingerprint_stays_small() -> None:
    html = passprint.fingerprint({str(number): number for number in range(5000)})._repr_html_()
    assert html is not None
    assert len(html) < 200_000
    assert "more</li>" in html


def test_a_pipeline() -> None:
    html = passprint.PassManager([FoldReshapes(), passprint.PassManager([FoldReshapes()])])._repr_html_()
    assert html is not None
    assert "<b>2 passes</b>" in html
    assert "fold-reshapes,(fold-reshapes)" in html


def test_without_jinja2_the_notebook_shows_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    imported = builtins.__import__

    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "jinja2":
            raise ModuleNotFoundError("No module named 'jinja2'", name="jinja2")
        return imported(name, *args, **kwargs)

    environment.cache_clear()
    monkeypatch.setattr(builtins, "__import__", refuse)
    assert passprint.fingerprint(one)._repr_html_() is None
