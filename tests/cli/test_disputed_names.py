"""``passprint passes`` where two installed packages claim one name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A folder with three installed packages; two of them claim the name ``fuse-all``."""
    for package, kind, name in (
        ("left-pack", "LeftFusion", "fuse-all"),
        ("right-pack", "RightFusion", "fuse-all"),
        ("calm-pack", "Calm", "calm"),
    ):
        module = package.replace("-", "_")
        info = tmp_path / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[passprint.passes]\n{name} = {module}:{kind}\n")
        (tmp_path / f"{module}.py").write_text(
            "from typing import ClassVar\nfrom passprint import InductorPass\n"
            f"class {kind}(InductorPass):\n    '''What {kind} does.'''\n"
            f"    name: ClassVar[str] = {name!r}\n    def __call__(self, graph): pass\n"
        )
    (tmp_path / "my_graph.py").write_text(
        "import torch\nexample = (lambda x: x + 1, (torch.ones(2),))\n"
        "graph = torch.fx.symbolic_trace(lambda x: torch.ops.aten.add.Tensor(x, 1)).graph\n"
    )
    return tmp_path


def passes(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "passprint", "passes", *arguments]
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def check_dispute(told: str) -> None:
    words = " ".join(told.split())
    assert "the pass name 'fuse-all' is claimed by" in words
    assert "left_pack.LeftFusion (of the package left-pack)" in words
    assert "right_pack.RightFusion (of the package right-pack)" in words
    assert 'name: ClassVar[str] = "another-name"' in words


def test_list_shows_everything_and_the_dispute(packages: Path) -> None:
    found = passes(packages, "list")
    assert found.returncode == 1
    for text in ("noop-elimination", "calm", "What LeftFusion does.", "What RightFusion does.", "disputed"):
        assert text in found.stdout
    check_dispute(found.stderr)


def test_list_as_json_is_whole(packages: Path) -> None:
    found = passes(packages, "list", "--json")
    assert found.returncode == 1
    described = json.loads(found.stdout)
    names = [one["name"] for one in described]
    assert names.count("fuse-all") == 2
    assert "calm" in names
    assert {one["name"] for one in described if one["disputed"]} == {"fuse-all"}
    check_dispute(found.stderr)


def test_other_names_work_and_the_disputed_one_does_not(packages: Path) -> None:
    other = passes(packages, "run", "calm", "my_graph.py:graph")
    assert other.returncode == 0, other.stderr
    used = passes(packages, "run", "calm,fuse-all", "my_graph.py:graph")
    assert used.returncode == 1
    check_dispute(used.stderr)
    shown = passes(packages, "show", "fuse-all")
    assert shown.returncode == 1
    check_dispute(shown.stderr)
