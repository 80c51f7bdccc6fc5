"""The pytest plug-in, in a pytest of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_TEST = """
import pytest, torch
from passprint import InductorPass, PassError, PassManager
from passprint.passes.library import NoopElimination

class Breaks(InductorPass):
    def __call__(self, graph):
        for node in graph.nodes:
            node.meta.pop("val", None)

def fn(x):
    return torch.cos(x * 1.0 + x.expand(x.shape))

@pytest.mark.parametrize("size", [3])
def test_golden(check_pass, size):
    check_pass(NoopElimination(), fn, (torch.ones(size),), golden=True)

def test_verified_without_asking():
    from torch.fx.experimental.proxy_tensor import make_fx
    graph = make_fx(fn, tracing_mode="fake")(torch.ones(3)).graph
    with pytest.raises(PassError, match="has no meta"):
        PassManager([Breaks()])(graph)
"""


def test_the_plugin(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(_TEST)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PASSPRINT_")}
    environment |= {"PYTHONPATH": os.pathsep.join(sys.path), "PASSPRINT_UPDATE_GOLDENS": "1"}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "passprint.testing.plugin",
        "-p",
        "no:cacheprovider",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout
    golden = (tmp_path / "goldens" / "test_golden-3.txt").read_text()
    assert "# graph before" in golden
    assert "aten.expand" in golden.partition("# graph after")[0]
    assert "aten.expand" not in golden.partition("# graph after")[2]
