"""``import passprint`` and ``passprint.fingerprint`` work where torch, and everything else, is not installed."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

import passprint

SOURCE = Path(passprint.__file__).parents[1]


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter with the standard library and passprint's source, and nothing else."""
    folder = tmp_path_factory.mktemp("bare")
    venv.EnvBuilder(with_pip=False, symlinks=True).create(folder)
    return folder / "bin" / "python"


def run(python: Path, script: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    environment["PYTHONPATH"] = str(SOURCE)
    return subprocess.run(
        [python, "-c", script], env=environment, capture_output=True, text=True, check=False, timeout=120
    )


SCRIPT = """
def helper(x):
    return x + 1

class Base:
    scale = 2.0

class Thing(Base):
    def run(self, x):
        return helper(x) * self.scale
"""


def test_fingerprints_without_torch(bare_python: Path) -> None:
    done = run(
        bare_python,
        "import importlib.util, passprint\n"
        "assert importlib.util.find_spec('torch') is None\n"
        "assert importlib.util.find_spec('rich') is None\n"
        f"{SCRIPT}\n"
        "first = passprint.fingerprint(Thing())\n"
        "helper.__code__ = (lambda x: x + 2).__code__\n"
        "print(first.digest, [str(c.path) for c in passprint.fingerprint(Thing()).diff(first)])\n",
    )
    assert done.returncode == 0, done.stderr
    digest, _, changes = done.stdout.partition(" ")
    assert len(digest) == 64
    assert "helper" in changes


def test_the_digest_is_the_same_with_torch(bare_python: Path) -> None:
    script = f"import passprint\n{SCRIPT}\nprint(passprint.fingerprint(Thing()).digest)\n"
    without = run(bare_python, script)
    with_torch = run(Path(sys.executable), "import torch\n" + script)
    assert without.returncode == 0, without.stderr
    assert without.stdout == with_torch.stdout


def test_a_name_that_needs_torch_says_so(bare_python: Path) -> None:
    done = run(bare_python, "import passprint\npassprint.PassManager")
    assert done.returncode == 1
    assert "passprint.PassManager needs torch 2.11 or newer" in done.stderr


def test_importing_passprint_imports_no_torch() -> None:
    done = run(
        Path(sys.executable),
        "import sys, passprint\nprint([m for m in sys.modules if m.split('.')[0] in ('torch', 'rich', 'typer')])",
    )
    assert done.stdout.strip() == "[]"
