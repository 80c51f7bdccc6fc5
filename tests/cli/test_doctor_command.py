"""``passprint doctor`` and ``passprint`` alone: what a newcomer is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from passprint.cli.app import run
from passprint.cli.start import FIRST
from passprint.compiler import patches


def checks(
    capfd: pytest.CaptureFixture[str], *arguments: str, status: int = 0
) -> dict[str, list[dict[str, Any]]]:
    assert run(["doctor", "--json", *arguments]) == status
    found: dict[str, list[dict[str, Any]]] = {}
    for check in json.loads(capfd.readouterr().out)["checks"]:
        found.setdefault(check["subject"], []).append(check)
    return found


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("PASSPRINT_INSTRUMENTS", "PASSPRINT_PASSES", "PASSPRINT_LIMIT", "PASSPRINT_PURE_PYTHON"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PASSPRINT_CACHE_DIR", str(tmp_path / "cache"))


def test_where_all_is_well_nothing_is_advised(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    found = checks(capfd)
    assert {"Python", "torch", "C++ compiler", "cache", "signing key", "passes", "pages"} <= set(found)
    assert found["cache"][0]["found"] == f"{tmp_path / 'cache'}: not made yet, the first compile makes it"
    assert not (tmp_path / "cache").exists()
    assert run(["doctor"]) == 0
    assert "✓ Python: " in capfd.readouterr().out


def test_a_folder_that_others_can_write_is_off(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (check,) = checks(capfd, "--dir", str(tmp_path / "open"), status=1)["cache"]
    assert check["status"] == "off"
    assert "can be written by others" in check["found"]


def test_a_torch_that_was_not_read_is_slow(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patches, "unfit", patches.Installer("9.9.0").unfit)
    found = checks(capfd)["torch"]
    assert {check["status"] for check in found} == {"slow"}
    assert len(found) == len(patches.TABLE)
    assert "torch 9.9.0 is newer than any that was read" in found[0]["found"]


def test_variables_that_cost_something_are_named(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_FORCE_DISABLE_CACHES", "1")
    monkeypatch.setenv("PASSPRINT_LIMIT", "3")
    found = checks(capfd)["environment"]
    assert [check["found"].partition(":")[0] for check in found] == [
        "TORCHINDUCTOR_FORCE_DISABLE_CACHES=1",
        "PASSPRINT_LIMIT=3",
    ]
    assert found[1]["advice"] == "Unless you mean it: unset PASSPRINT_LIMIT."


def test_a_missing_compiler_is_off(tmp_path: Path) -> None:
    program = "from passprint.cli.app import run; raise SystemExit(run(['doctor', '--json']))"
    environment = os.environ | {"CXX": "/nowhere/g++", "PATH": "/nowhere", "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 1, done.stderr
    (check,) = [one for one in json.loads(done.stdout)["checks"] if one["subject"] == "C++ compiler"]
    assert check["found"].startswith("none: /nowhere/g++")
    assert "passprint cache import" in check["advice"]


def test_alone_it_shows_five_things_that_work(capfd: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 0
    shown = capfd.readouterr().out
    assert len(FIRST) == 5
    for want, line in FIRST:
        assert want in shown
        assert line in shown
    for line in (line for _, line in FIRST if line.startswith("passprint ")):
        assert run([line.split()[1], "--help"]) == 0
