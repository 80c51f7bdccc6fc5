"""What a trace only asked for (is it there?) is asked again by a program that is loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.compiler.models import WIDTH, inputs
from torch import Tensor, nn

import passprint


class Config:
    there = 1


class Aliased:
    """Looks attributes up in its own way, as the configurations of transformers do."""

    scale = 2.0

    def __getattribute__(self, name: str) -> Any:
        return super().__getattribute__("scale" if name == "alias" else name)


class Asks(nn.Module):
    """Its result depends on what it, its configuration and its tables have, and not."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH, WIDTH)
        self.config = Config()
        self.config.own = 1
        self.aliased = Aliased()
        self.table = {"present": 1}
        self.names = {"present"}
        self.plain = torch.ones(WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        questions = (
            hasattr(self.config, "own"),
            hasattr(self.config, "absent"),
            hasattr(self, "absent"),
            hasattr(self.plain, "absent"),
            "present" in self.table,
            "absent" in self.table,
            "present" in self.names,
            "absent" in self.names,
        )
        for place, answer in enumerate(questions):
            x = x + 2**place if answer else x * 0.5
        x = x * self.aliased.alias if hasattr(self.aliased, "scale") else x
        return self.linear(x) * getattr(self.config, "factor", 3) * self.table.get("factor", 3)


CHANGES: dict[str, Callable[[Any], object]] = {
    "an attribute is gone": lambda m: delattr(m.config, "own"),
    "an attribute is new": lambda m: setattr(m.config, "absent", 1),
    "an attribute of the model is new": lambda m: setattr(m, "absent", 1),
    "an attribute of a tensor is new": lambda m: setattr(m.plain, "absent", 1),
    "an attribute had a default": lambda m: setattr(m.config, "factor", 1),
    "an attribute that is looked up in another way": lambda m: setattr(m.aliased, "scale", 3.0),
    "a key is gone": lambda m: m.table.pop("present"),
    "a key is new": lambda m: m.table.update(absent=1),
    "a key had a default": lambda m: m.table.update(factor=1),
    "a member of a set is gone": lambda m: m.names.discard("present"),
    "a member of a set is new": lambda m: m.names.add("absent"),
}


def start(model: nn.Module, cache: Path) -> Any:
    torch._dynamo.reset()
    return passprint.compile(model, cache=cache, passes="")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with the program of a model that nobody changed."""
    folder = tmp_path_factory.mktemp("asked") / "cache"
    compiled = start(Asks().eval(), folder)
    with torch.no_grad():
        compiled(inputs())
    assert not [note for note in compiled.report.notes if "must trace" in note]
    return folder


def test_nothing_changed(cache: Path) -> None:
    model = Asks().eval()
    compiled = start(model, cache)
    with torch.no_grad():
        torch.testing.assert_close(compiled(inputs()), model(inputs()))
    assert (compiled.report.traced, compiled.report.loaded) == (0, 1)


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_before_the_start(cache: Path, change: str) -> None:
    model = Asks().eval()
    CHANGES[change](model)
    with torch.no_grad():
        assert start(model, cache).why_trace(inputs()) is not None


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_between_calls(cache: Path, change: str) -> None:
    model = Asks().eval()
    compiled = start(model, cache)
    with torch.no_grad():
        for _ in range(3):
            compiled(inputs())
        CHANGES[change](model)
        assert compiled.why_trace(inputs()) is not None
