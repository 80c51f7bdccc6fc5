"""``passprint report``: which report it shows, and in which form."""

from __future__ import annotations

import json
import os
import webbrowser
from pathlib import Path
from typing import Any

import pytest
from tests.report.documents import document

from passprint.cache import LocalStore
from passprint.cli.app import run
from passprint.report.files import read, save


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalStore:
    monkeypatch.setenv("PASSPRINT_CACHE_DIR", str(tmp_path / "cache"))
    return LocalStore()


@pytest.fixture
def kept(store: LocalStore) -> LocalStore:
    """A store with two reports beside it, a warm one being the last."""
    (store.root / "reports").mkdir()
    for number, made in enumerate((document(), document(status="warm", why=None, name="last"))):
        path = store.root / "reports" / f"{number}.json"
        save({name: made[name] for name in made if name not in ("details", "store", "versions")}, path)
        os.utime(path, (number, number))
    return store


def output(capfd: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    assert run(list(arguments)) == status
    said = capfd.readouterr()
    return said.err if status else said.out


def test_the_last_report_is_shown(kept: LocalStore, capfd: pytest.CaptureFixture[str]) -> None:
    assert output(capfd, "report").startswith("Loaded from the cache in 7.50 s")
    assert output(capfd, "report", "--last") == output(capfd, "report")
    shown = json.loads(output(capfd, "report", "--json"))
    assert (shown["name"], shown["store"]["place"]) == ("last", str(kept.root))
    assert shown["details"] == {}  # this store has none of the pieces


def test_reports_are_listed_the_newest_first(kept: LocalStore, capfd: pytest.CaptureFixture[str]) -> None:
    rows = json.loads(output(capfd, "report", "--list", "--json"))["reports"]
    assert [row["status"] for row in rows] == ["warm", "cold"]
    assert "serve.py: Compiled in 7.50 s" in output(capfd, "report", "--list")


def test_without_a_report_the_error_says_what_to_do(
    store: LocalStore, capfd: pytest.CaptureFixture[str]
) -> None:
    said = output(capfd, "report", status=1)
    assert said.startswith(f"error: No report is kept in {store.root}")
    assert "--dir" in said


def test_a_saved_report_is_read_whatever_its_form(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name in ("report.html", "report.json"):
        save(document(), tmp_path / name)
        assert json.loads(output(capfd, "report", str(tmp_path / name), "--json")) == document()
    output(capfd, "report", str(tmp_path / "report.json"), "-o", str(tmp_path / "again.html"))
    assert read(tmp_path / "again.html") == document()


def test_open_shows_a_page(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda url: asked.append(url) is None)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    save(document(), tmp_path / "report.json")
    path = Path(output(capfd, "report", str(tmp_path / "report.json"), "--open").strip())
    assert asked == [path.as_uri()]
    assert read(path) == document()


def test_two_reports_are_compared(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    after: dict[str, Any] = document(status="warm", why=None)
    after["each_piece"][1] = after["each_piece"][1] | {"digest": "9" * 64}
    a, b = tmp_path / "a.json", tmp_path / "b.json"
    save(document(), a)
    save(after, b)
    shown = json.loads(output(capfd, "report", "--compare", str(a), str(b), "--json"))
    assert shown["changed_pieces"] == [{"label": "blocks.0", "before": "0" * 16, "after": "9" * 16}]
    assert (shown["before"]["status"], shown["after"]["status"]) == ("cold", "warm")
    assert "distinct pieces" in output(capfd, "report", "--compare", str(a), str(b))
    output(capfd, "report", "--compare", str(a), str(b), "-o", str(tmp_path / "both.html"))
    assert "Two starts, side by side" in (tmp_path / "both.html").read_text()


def test_what_excludes_each_other_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert "exclude each other" in output(capfd, "report", "x.json", "--last", status=2)
