"""Tensors that a function's code reaches by a global or a closure: their values are no part of what was traced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.compiler.processes import in_new_process

REACHING = """
import dataclasses

import torch
from torch import nn

FACTOR = 2
net = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
TABLE = torch.randn(4)
TABLES = {"one": torch.randn(4)}


@dataclasses.dataclass
class Tables:
    bias: torch.Tensor


tables = Tables(torch.randn(4))


def function(x):
    return net(-x) * FACTOR


nameless = lambda x: net(-x) * FACTOR


def helper(x):
    return x * TABLE + TABLES["one"] * FACTOR


def closing(weight):
    def inner(x):
        return torch.relu(x * weight) * FACTOR

    return inner


closed = closing(torch.randn(4))


def by_number(x):
    return x * float(TABLE[0]) * FACTOR


class Calls(nn.Module):
    def forward(self, x):
        return helper(x) + 1


class Reads(nn.Module):
    def forward(self, x):
        return x * TABLE * FACTOR


class Attribute(nn.Module):
    def __init__(self):
        super().__init__()
        self.tables = tables

    def forward(self, x):
        return x + self.tables.bias * FACTOR


class Holds(nn.Module):
    def __init__(self):
        super().__init__()
        self.call = closing(torch.randn(4))

    def forward(self, x):
        return self.call(x) - 1
"""

CHILD = """
import importlib
import sys
sys.path.insert(0, {folder!r})
torch.manual_seed({seed})
import reaching
from torch import nn

MODELS = {{
    "function": lambda: reaching.function,
    "lambda of the script": lambda: lambda x: reaching.net(-x) * reaching.FACTOR,
    "lambda of a module": lambda: reaching.nameless,
    "closure": lambda: reaching.closed,
    "helper": lambda: reaching.Calls(),
    "forward": lambda: reaching.Reads(),
    "attribute of an attribute": lambda: reaching.Attribute(),
    "closure as an attribute": lambda: reaching.Holds(),
    "number of a tensor": lambda: reaching.by_number,
}}
x = torch.linspace(-1, 1, 8).reshape(2, 4)
found = []
for name, then in {cases!r}:
    importlib.reload(reaching)
    exec(then)
    model = MODELS[name]()
    compiled = passprint.compile(model, cache={cache!r}, passes="")
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), model(x))
    found.append(compiled.report.traced)
print(json.dumps(found))
"""

ALL = (
    "function",
    "lambda of the script",
    "lambda of a module",
    "closure",
    "helper",
    "forward",
    "attribute of an attribute",
    "closure as an attribute",
)


def start(folder: Path, cases: list[tuple[str, str]], *, seed: int = 1) -> list[int]:
    """How many graphs a new process traces for each model, after something was done to its module."""
    (folder / "reaching.py").write_text(REACHING)
    body = CHILD.format(folder=str(folder), seed=seed, cases=cases, cache=str(folder / "cache"))
    found: Any = in_new_process(folder, body)
    return list(found)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One in which all were compiled by another process."""
    path = tmp_path_factory.mktemp("reached")
    assert start(path, [(name, "") for name in ALL]) == [1] * len(ALL)
    return path


def test_other_values_need_nothing(folder: Path) -> None:
    assert start(folder, [(name, "") for name in ALL], seed=2) == [0] * len(ALL)


OTHER = [
    ("function", "reaching.net[0] = nn.Linear(4, 3)"),
    ("function", "reaching.net[1] = nn.GELU()"),
    ("helper", "reaching.TABLE = torch.randn(1)"),
    ("helper", "reaching.TABLES['one'] = torch.randn(2, 1)"),
    ("forward", "reaching.TABLE = torch.randn(4).double()"),
    ("forward", "reaching.TABLE = torch.randn(8)[::2]"),
    ("forward", "reaching.TABLE = 2.5"),
    ("forward", "reaching.TABLE.requires_grad_()"),
    ("attribute of an attribute", "reaching.tables.bias = reaching.tables.bias.half()"),
    *[(name, "reaching.FACTOR = 3") for name in ALL],
]


def test_another_kind_of_tensor_or_another_number_is_traced(folder: Path) -> None:
    assert start(folder, OTHER) == [1] * len(OTHER)


def test_a_number_that_code_takes_from_a_tensor_is_read_anew(tmp_path: Path) -> None:
    for seed in (1, 2):
        start(tmp_path, [("number of a tensor", "")], seed=seed)  # compared with eager there
