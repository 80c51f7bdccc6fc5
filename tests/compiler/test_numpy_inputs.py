"""Arrays and scalars of numpy's that a model is called with or holds: guarded as the tensors that they become."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.compiler.processes import in_new_process

pytest.importorskip("numpy")

READING = """
import numpy as np
import torch
from torch import nn

TABLE = np.arange(4.0, dtype=np.float32)


def given(x, array):
    return x * torch.as_tensor(array) + 1


def read(x):
    return torch.from_numpy(np.sin(x.numpy())) + torch.from_numpy(TABLE)


class Holds(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = np.float64(0.5)

    def forward(self, x):
        return x * self.scale
"""

CHILD = """
import sys
sys.path.insert(0, {folder!r})
import numpy as np
import reading

x, holds = torch.linspace(-1, 1, 4), reading.Holds()
ones = np.ones(4, dtype=np.float32)
CASES = {{
    "given": lambda: (reading.given, ones),
    "other values": lambda: (reading.given, 2 * ones),
    "another type": lambda: (reading.given, ones.astype(np.float64)),
    "other strides": lambda: (reading.given, np.ones(8, dtype=np.float32)[::2]),
    "a tensor": lambda: (reading.given, torch.ones(4)),
    "no number": lambda: (reading.given, np.float32(3)),
    "read": lambda: (reading.read,),
    "holds": lambda: (holds,),
    "holds another": lambda: (setattr(holds, "scale", np.float64(0.25)), holds)[1:],
    "holds a float": lambda: (setattr(holds, "scale", 0.125), holds)[1:],
}}
found = []
for name in {names!r}:
    model, *rest = CASES[name]()
    compiled = passprint.compile(model, cache={cache!r}, passes="")
    with torch.no_grad():
        torch.testing.assert_close(compiled(x, *rest), model(x, *rest))
    found.append(compiled.report.traced)
print(json.dumps(found))
"""


def start(folder: Path, *names: str) -> list[int]:
    """How many graphs a new process traces for each call."""
    (folder / "reading.py").write_text(READING)
    body = CHILD.format(folder=str(folder), names=names, cache=str(folder / "cache"))
    found: Any = in_new_process(folder, body)
    return list(found)


def test_arrays_start_without_a_trace_where_they_are_of_the_same_kind(tmp_path: Path) -> None:
    assert start(tmp_path, "given", "read", "holds") == [1, 1, 1]
    assert start(tmp_path, "given", "other values", "read", "holds", "holds another") == [0] * 5
    other = ("another type", "other strides", "a tensor", "no number", "holds a float")
    assert start(tmp_path, *other) == [1] * len(other)
