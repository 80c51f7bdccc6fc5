"""What ``hash`` makes of a text differs in every process: a program that holds it is used where it is the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.compiler.processes import in_new_process

MODEL = """
import torch


def scale(x):
    return x * (hash("a text") % 7 + 1)


def model(x):
    return torch.tanh(scale(x))
"""

CHILD = """
import sys
sys.path.insert(0, {folder!r})
from hashed_model import model

compiled = passprint.compile(model, cache={cache!r}, passes="")
x = torch.linspace(0, 0.1, 16)
torch.testing.assert_close(compiled(x), model(x))
print(json.dumps([compiled.report.status, compiled.report.loaded, compiled.report.why]))
"""


def start(folder: Path) -> Any:
    return in_new_process(folder, CHILD.format(folder=str(folder), cache=str(folder / "cache")))


def test_a_trace_through_hash_counts_with_the_hash_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hashed_model.py").write_text(MODEL)
    monkeypatch.setenv("PYTHONHASHSEED", "1")
    assert start(tmp_path)[0] == "cold"
    assert start(tmp_path)[:2] == ["warm", 1]
    monkeypatch.setenv("PYTHONHASHSEED", "2")
    status, loaded, why = start(tmp_path)
    assert loaded == 0
    assert status != "warm"
    assert "hash()" in why
