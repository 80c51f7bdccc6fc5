"""The same code has the same digest wherever and however it is loaded."""

from __future__ import annotations

import compileall
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from tests.identity.stability_subject import PACKAGES

SCRIPT = Path(__file__).with_name("stability_subject.py")


def _run(folder: Path, *conditions: str, seed: str = "0", cwd: Path | None = None) -> dict[str, str]:
    environment = {
        **os.environ,
        "PYTHONHASHSEED": seed,
        "PYTHONPATH": str(folder),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *conditions],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=cwd or folder.parent,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


def _copy(folder: Path) -> Path:
    import importlib.util

    folder.mkdir(parents=True)
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.submodule_search_locations
        shutil.copytree(
            spec.submodule_search_locations[0], folder / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    return folder


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """The packages as source, and their digests."""
    folder = _copy(tmp_path_factory.mktemp("plain") / "src")
    return folder, _run(folder)


def test_there_is_enough_to_compare(plain: tuple[Path, dict[str, str]]) -> None:
    assert len(plain[1]) >= 200
    assert len(set(plain[1].values())) > 0.95 * len(plain[1])


@pytest.mark.parametrize("seed", [str(number) for number in range(1, 10)])
def test_hash_seeds(plain: tuple[Path, dict[str, str]], seed: str) -> None:
    assert _run(plain[0], seed=seed) == plain[1]


def test_another_folder(plain: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    folder = _copy(tmp_path / "quite" / "another" / "place")
    assert _run(folder, cwd=Path("/")) == plain[1]


def test_bytecode_without_sources(plain: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    folder = _copy(tmp_path / "compiled")
    assert compileall.compile_dir(folder, quiet=2, legacy=True, ddir="/somewhere/else")
    for source in folder.rglob("*.py"):
        source.unlink()
    assert _run(folder) == plain[1]


def test_zip(plain: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    archive = tmp_path / "packages.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for source in plain[0].rglob("*.py"):
            file.write(source, source.relative_to(plain[0]))
    assert _run(archive) == plain[1]


@pytest.mark.parametrize("condition", ["calls", "fork", "trace"])
def test_conditions(plain: tuple[Path, dict[str, str]], condition: str) -> None:
    assert _run(plain[0], condition) == plain[1]


def test_coverage(plain: tuple[Path, dict[str, str]]) -> None:
    pytest.importorskip("coverage")
    environment = {
        **os.environ,
        "PYTHONHASHSEED": "0",
        "PYTHONPATH": str(plain[0]),
        "COVERAGE_FILE": os.devnull,
    }
    done = subprocess.run(
        [sys.executable, "-m", "coverage", "run", "--data-file=" + str(plain[0] / "data"), str(SCRIPT)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == plain[1]


MET = """
from decimal import Decimal
from passprint.identity import Memo, canonical, fingerprint
before = Memo(first_party=["passprint"]).fingerprint(canonical).digest
canonical(Decimal(1))
assert fingerprint(fingerprint).digest
assert before == Memo(first_party=["passprint"]).fingerprint(canonical).digest
"""


def test_what_passprint_has_met_so_far_is_no_part_of_its_own_code() -> None:
    done = subprocess.run([sys.executable, "-c", MET], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
