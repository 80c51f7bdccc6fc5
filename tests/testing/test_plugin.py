"""The pytest plug-in, in a pytest of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

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


_ENTRY_POINTS = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"][
    "entry-points"
]


def run_pytest(folder: Path, *options: str, status: int = 0, **variables: str) -> str:
    """A pytest of its own over ``folder``, as where passprint is installed; what it wrote."""
    installed = folder / "installed"
    metadata = installed / "passprint_as_installed-0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: passprint-as-installed\nVersion: 0\n")
    lines = [f"{name} = {where}" for name, where in _ENTRY_POINTS["pytest11"].items()]
    (metadata / "entry_points.txt").write_text("\n".join(["[pytest11]", *lines]) + "\n")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PASSPRINT_")}
    environment |= {"PYTHONPATH": os.pathsep.join([str(installed), *sys.path]), **variables}
    command = [sys.executable, "-m", "pytest", "-q", *options, "-p", "no:cacheprovider", "test_it.py"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def test_the_plugin(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(_TEST)
    assert "2 passed" in run_pytest(tmp_path, PASSPRINT_UPDATE_GOLDENS="1")
    golden = (tmp_path / "goldens" / "test_golden-3.txt").read_text()
    assert "# graph before" in golden
    assert "aten.expand" in golden.partition("# graph after")[0]
    assert "aten.expand" not in golden.partition("# graph after")[2]


@pytest.mark.parametrize(
    "options", [(), ("-p", "passprint.testing.plugin")], ids=["installed", "named as well"]
)
def test_it_costs_a_suite_without_torch_nothing(tmp_path: Path, options: tuple[str, ...]) -> None:
    (tmp_path / "test_it.py").write_text(
        """
import os, sys
def test_it(request):
    assert request.config.pluginmanager.hasplugin("passprint.testing.plugin")
    assert os.environ["PASSPRINT_INSTRUMENTS"] == "verify"
    assert "torch" not in sys.modules
"""
    )
    assert "1 passed" in run_pytest(tmp_path, *options)


_FAILING = """
import torch
from passprint import InductorPass

class SinToCos(InductorPass):
    def __call__(self, graph):
        for node in graph.find_nodes(op="call_function", target=torch.ops.aten.sin.default):
            node.target = torch.ops.aten.cos.default

class Raises(InductorPass):
    def __call__(self, graph):
        raise ValueError("on purpose")

class Grows(InductorPass):
    def __call__(self, graph):
        for node in graph.find_nodes(op="call_function", target=torch.ops.aten.sin.default):
            with graph.inserting_after(node):
                copy = graph.call_function(torch.ops.aten.clone.default, (node,))
            copy.meta["val"] = node.meta["val"].clone()
            node.replace_all_uses_with(copy, lambda user: user is not copy)

def test_results(check_pass):
    check_pass(SinToCos(), torch.sin, (torch.ones(3),))

def test_rewrites(check_pass):
    check_pass(SinToCos(), torch.cos, (torch.ones(3),), rewrites=1)

def test_raises(check_pass):
    check_pass(Raises(), torch.cos, (torch.ones(3),))

def test_idempotent(check_pass):
    check_pass(Grows(), torch.sin, (torch.ones(3),))
"""


def test_a_failure_shows_the_test_and_the_pass_and_nothing_between(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(_FAILING)
    shown = run_pytest(tmp_path, "--show-capture=no", status=1)
    assert "4 failed" in shown
    for said in (
        "numerics: the pass 'sin-to-cos' changed the results",
        "rewrites: 1 expected",
        "idempotent: a",
    ):
        assert said in shown
    assert '>       raise ValueError("on purpose")' in shown
    for between in ("_dynamo", "kit.py", "plugin.py"):
        assert between not in shown.partition("warnings summary")[0]
