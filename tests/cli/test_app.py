"""The application: quick to start, clear when something is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import passprint
from passprint.cache import LocalStore
from passprint.cli.app import run


def test_errors_are_one_message_without_a_traceback(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    LocalStore(tmp_path)
    tmp_path.chmod(0o777)
    assert run(["cache", "stats", "--dir", str(tmp_path)]) == 1
    said = capfd.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"error: The cache folder {tmp_path} can be written by others")
    assert said.err.endswith(f"run: chmod -R go-w {tmp_path}\n")
    assert "Traceback" not in said.err


def test_a_wrong_command_line_is_status_2(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["cache", "no-such-command"]) == 2
    assert "no-such-command" in capfd.readouterr().err


def test_a_script_that_is_not_there(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["bisect", str(tmp_path / "gone.py")]) == 2
    said = "".join(capfd.readouterr().err.replace("│", "").split())  # a long path is broken anywhere
    assert "gone.py'doesnotexist" in said


def test_version(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capfd.readouterr().out == f"passprint {passprint.__version__}\n"


@pytest.mark.parametrize(
    "arguments", [["--help"], ["cache", "stats"], ["cache", "ls"], ["explain"], ["demo", "--help"]]
)
def test_torch_is_not_imported_for(arguments: list[str], tmp_path: Path) -> None:
    program = (
        "import sys; from passprint.cli.app import run\n"
        "status = run(sys.argv[1:])\n"
        "heavy = {'torch', 'transformers', 'numpy', 'filelock'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "sys.exit(status)\n"
    )
    LocalStore(tmp_path / "cache")
    environment = {"PASSPRINT_CACHE_DIR": str(tmp_path / "cache"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_installed_command() -> None:
    command = Path(sys.executable).with_name("passprint")
    done = subprocess.run([command, "--help"], capture_output=True, text=True, check=True)
    for name in ("demo", "fingerprint", "diff", "passes", "cache"):
        assert f" {name} " in done.stdout


def test_the_package_can_be_run() -> None:
    command = [sys.executable, "-m", "passprint", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"passprint {passprint.__version__}\n"
