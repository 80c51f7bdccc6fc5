"""Autocast inside a model: a later process starts without a trace, and notices the data type that no graph names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.compiler.processes import in_new_process

CHILD = """
import importlib
import sys
sys.path.insert(0, {folder!r})
import regions

def compiled_and_eager(name, train):
    model = getattr(regions, name)()
    compiled = passprint.compile(model, cache={cache!r}, passes="")
    found = []
    for call in (compiled, model):
        x = torch.linspace(-1, 1, 24).reshape(3, 8).requires_grad_(train)
        with torch.set_grad_enabled(train):
            y = call(x)
            needed = [x, *model.parameters()]
            found.append((y, *(torch.autograd.grad(y.float().sum(), needed) if train else ())))
    torch.testing.assert_close(*found, rtol=2e-2, atol=5e-2)
    assert found[0][0].dtype == found[1][0].dtype
    return compiled

torch.set_autocast_dtype("cpu", torch.{default})
found = [compiled_and_eager(name, train).report for name in {names!r} for train in (False, True)]
print(json.dumps([[report.traced, report.loaded, report.status] for report in found]))
"""

CALLED_AGAIN = """
compiled, x = compiled_and_eager("Unnamed", False), torch.ones(3, 8)
loaded = compiled.report.loaded
torch.set_autocast_dtype("cpu", torch.float16)
with torch.no_grad():
    dtype = compiled(x).dtype
print(json.dumps([loaded, str(dtype)]))
"""

REGIONS = """
import torch
from torch import nn


class Named(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.up, self.down = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = self.up(x)
            with torch.autocast("cpu", enabled=False):
                y = self.down(y.float())
        return y


class Unnamed(Named):
    def forward(self, x):
        with torch.autocast("cpu"):
            return self.down(self.up(x))
"""


def start(folder: Path, names: list[str], *, default: str = "bfloat16", change: str = "") -> list[list[Any]]:
    """For each model without and with gradients: graphs that were traced and loaded, and the status."""
    (folder / "regions.py").write_text(
        REGIONS.replace("dtype=torch.bfloat16", change or "dtype=torch.bfloat16")
    )
    cache = str(folder / "cache")
    found: Any = in_new_process(
        folder, CHILD.format(folder=str(folder), names=names, default=default, cache=cache)
    )
    return list(found)


NAMES = ["Named", "Unnamed"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One in which all were compiled by another process."""
    path = tmp_path_factory.mktemp("regions")
    assert start(path, NAMES) == [[1, 0, "cold"]] * 4
    return path


def test_regions_start_without_a_trace(folder: Path) -> None:
    assert start(folder, NAMES) == [[0, 1, "warm"]] * 4


def test_another_data_type_is_traced(folder: Path) -> None:
    assert start(folder, ["Named"], change="dtype=torch.float16") == [[1, 0, "cold"]] * 2
    assert start(folder, ["Unnamed"], default="float16") == [[1, 0, "cold"]] * 2


def test_a_loaded_program_notices_the_default_data_type(folder: Path) -> None:
    names = {"folder": str(folder), "cache": str(folder / "cache")}
    body = CHILD.partition("torch.set_autocast_dtype")[0].format(**names) + CALLED_AGAIN
    assert in_new_process(folder, body) == [1, "torch.float16"]
