"""Reports of real starts: what they know, and where they are kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.compiler.models import inputs, stack

import passprint
from passprint.compiler.kept_reports import MOST, kept, write_bounded

CHILD = """
import sys
import torch, passprint
from tests.compiler.models import inputs, stack

compiled = passprint.compile(stack(), cache=sys.argv[1])
with torch.no_grad():
    compiled(inputs())
compiled.report.save(sys.argv[2])
"""


def started(cache: Path, out: Path, **environment: str) -> dict[str, Any]:
    """The report of a process that starts a model of four equal blocks."""
    subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", CHILD, str(cache), str(out)],
        check=True,
        cwd=Path(__file__).parents[2],
        env=os.environ | environment,
    )
    found: dict[str, Any] = json.loads(out.read_text())
    return found


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], dict[str, Any]]:
    folder = tmp_path_factory.mktemp("reports")
    cache = folder / "cache"
    cache.mkdir(mode=0o700)
    pages = {
        "PASSPRINT_REPORT": str(folder / "pages"),
        "PASSPRINT_INSTRUMENTS": "record",
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"),  # where it has the graph, no pass runs
    }
    cold, warm = (started(cache, folder / f"{name}.json", **pages) for name in ("cold", "warm"))
    return folder, cold, warm


def test_spans_say_when_each_phase_ran(both: tuple[Path, dict[str, Any], dict[str, Any]]) -> None:
    _, cold, warm = both
    phases = [span["phase"] for span in cold["spans"]]
    assert {"identity", "lookup", "prepare", "trace", "compile", "build", "kernels", "store", "load"} <= set(
        phases
    )
    assert phases.index("trace") < phases.index("compile") < phases.index("build")
    assert {span["piece"] for span in cold["spans"] if span["phase"] == "compile"} == {"blocks.0", "rest"}
    for report in (cold, warm):
        for phase, seconds in report["seconds"].items():
            if phase != "total":
                spent = sum(s["end"] - s["start"] for s in report["spans"] if s["phase"] == phase)
                assert spent == pytest.approx(seconds)
    assert "trace" not in warm["seconds"]


def test_a_warm_start_knows_what_it_spared(both: tuple[Path, dict[str, Any], dict[str, Any]]) -> None:
    _, cold, warm = both
    assert cold["spared"] is None
    assert 0 < warm["spared"] <= cold["seconds"]["total"] + 1e-3


def test_the_store_knows_graphs_code_and_keys_of_both(
    both: tuple[Path, dict[str, Any], dict[str, Any]],
) -> None:
    for report in both[1:]:
        block = report["details"][report["each_piece"][0]["digest"]]
        assert "call_function" in block["texts"]["graph"]
        assert "def call(" in block["code"]
        assert [part["name"] for part in block["key"]["children"]][:2] == ["graph", "inputs"]


def test_what_passes_did_is_there_where_it_was_recorded(
    both: tuple[Path, dict[str, Any], dict[str, Any]],
) -> None:
    _, cold, warm = both
    assert {run["pass"] for run in cold["pass_runs"]} == set(cold["matches"])
    assert {run["piece"] for run in cold["pass_runs"]} == {piece["digest"] for piece in cold["each_piece"]}
    assert warm["pass_runs"] == []


def test_reports_are_kept_beside_the_cache_the_newest_first(
    both: tuple[Path, dict[str, Any], dict[str, Any]],
) -> None:
    folder, cold, warm = both
    found = kept(folder / "cache")
    assert [path.stem for path in found] == [warm["name"], cold["name"]]
    assert [json.loads(path.read_text())["status"] for path in found] == ["warm", "cold"]


def test_a_page_is_written_for_each_start(both: tuple[Path, dict[str, Any], dict[str, Any]]) -> None:
    folder, cold, warm = both
    assert {path.stem for path in (folder / "pages").iterdir()} == {cold["name"], warm["name"]}
    assert "Loaded from the cache" in (folder / "pages" / f"{warm['name']}.html").read_text()


def test_as_many_are_kept_as_there_is_room_for(tmp_path: Path) -> None:
    for number in range(MOST + 3):
        write_bounded(tmp_path, f"{number}.json", "{}", MOST)
        os.utime(tmp_path / f"{number}.json", ns=(number, number))
    (tmp_path / "other.html").touch()
    write_bounded(tmp_path, "last.json", "{}", MOST)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"other.html", "last.json", *(f"{number}.json" for number in range(4, MOST + 3))}


def test_a_folder_that_cannot_be_written_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("PASSPRINT_REPORT", str(tmp_path / "file"))
    compiled = passprint.compile(stack(1), cache=False)
    with pytest.warns(UserWarning, match="PASSPRINT_REPORT=.* no page was written"):
        compiled(inputs())
    assert compiled.report.pieces
