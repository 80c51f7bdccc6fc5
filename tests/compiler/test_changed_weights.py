"""Adapters added, swapped, merged and switched off; weights replaced, tied and of another dtype: right each time.

How often plain ``torch.compile`` traces is counted beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

import passprint


class Lora(nn.Module):
    """A linear layer with low-rank adapters by name, as PEFT writes one."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base
        self.merged = self.disabled = False
        self.active: list[str] = []
        self.scaling: dict[str, float] = {}
        self.down, self.up = nn.ModuleDict(), nn.ModuleDict()

    def add(self, name: str, rank: int) -> None:
        self.down[name] = nn.Linear(self.base.in_features, rank, bias=False)
        self.up[name] = nn.Linear(rank, self.base.out_features, bias=False)
        self.scaling[name] = 0.5 * rank
        self.active = [name]

    def merge(self, sign: float = 1.0) -> None:
        for name in self.active:
            up, down = self.up[name], self.down[name]
            assert isinstance(up, nn.Linear)
            assert isinstance(down, nn.Linear)
            self.base.weight.data += sign * self.scaling[name] * up.weight.data @ down.weight.data
        self.merged = sign > 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.base(x)
        if self.disabled or self.merged:
            return result
        for name in self.active:
            if name in self.down:
                result = result + self.up[name](self.down[name](x)) * self.scaling[name]
        return result


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(8), nn.Linear(8, 16), nn.Linear(16, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.down(torch.relu(self.up(self.norm(x))))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, 8)
        self.layers = nn.ModuleList(Block() for _ in range(2))
        self.head = nn.Linear(8, 10, bias=False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.embedding(ids)
        for layer in self.layers:
            x = layer(x)
        found: torch.Tensor = self.head(x)
        return found


def _adapt(model: Net) -> None:
    for block in model.layers:
        assert isinstance(block, Block)
        adapted: Any = Lora(block.up)
        adapted.add("one", 2)
        block.up = adapted


def _each(change: Callable[[Any], object]) -> Callable[[Any], None]:
    def apply(model: Any) -> None:
        for block in model.layers:
            change(block.up)

    return apply


# By name: the change, and how many traces more than plain torch.compile it may take.
CHANGES: dict[str, tuple[Callable[[Any], object], int]] = {
    "as it is": (lambda model: None, 0),
    "adapters added": (_adapt, 0),
    "a second adapter": (_each(lambda up: up.add("two", 4)), 0),
    # The first trace went through a table of one adapter; where its names are computed, all of a table counts.
    "the first again": (_each(lambda up: setattr(up, "active", ["one"])), 1),
    "the second again": (_each(lambda up: setattr(up, "active", ["two"])), 0),
    "both": (_each(lambda up: setattr(up, "active", ["one", "two"])), 0),
    "switched off": (_each(lambda up: setattr(up, "disabled", True)), 0),
    "switched on": (_each(lambda up: setattr(up, "disabled", False)), 0),
    "merged": (_each(lambda up: up.merge()), 0),
    "unmerged": (_each(lambda up: up.merge(-1.0)), 0),
    "scaled": (_each(lambda up: up.scaling.update(two=3.0)), 0),
    "other weights": (lambda model: [p.data.mul_(1.1) for p in model.parameters()], 0),
    "loaded": (lambda model: model.load_state_dict({k: v * 0.9 for k, v in model.state_dict().items()}), 0),
    "a layer replaced": (lambda model: setattr(model, "head", nn.Linear(8, 10, bias=False)), 0),
    "tied": (lambda model: setattr(model.head, "weight", model.embedding.weight), 0),
    "untied": (lambda model: setattr(model.head, "weight", nn.Parameter(model.head.weight.clone())), 0),
    "double": (lambda model: model.double(), 0),
    "single": (lambda model: model.float(), 0),
    "adapters removed": (
        lambda model: [setattr(block, "up", block.up.base) for block in model.layers],
        0,
    ),
}


def _traces(compile_: Callable[[nn.Module], Any], traced: Callable[[Any], int]) -> dict[str, int]:
    """How often each change made the model be traced. What it gives is compared with eager each time."""
    torch._dynamo.reset()
    torch.manual_seed(0)
    model, ids = Net().eval(), torch.arange(6)[None]
    compiled = compile_(model)
    found = {}
    for name, (change, _) in CHANGES.items():
        with torch.no_grad():
            change(model)
            before = traced(compiled)
            torch.testing.assert_close(
                compiled(ids), model.forward(ids), msg=lambda text, n=name: f"{n}: {text}"
            )
        found[name] = traced(compiled) - before
    return found


@torch._dynamo.config.patch(recompile_limit=64)
def test_each_change_is_right_and_takes_no_trace_that_plain_torch_compile_does_not(tmp_path: Path) -> None:
    graphs: list[object] = []

    def counting(gm: torch.fx.GraphModule, inputs: object) -> Callable[..., Any]:
        graphs.append(gm)
        return gm.forward

    plain = _traces(lambda model: torch.compile(model, backend=counting), lambda _: len(graphs))
    first, second = (
        _traces(
            lambda model: passprint.compile(model, cache=tmp_path, passes=""),
            lambda compiled: compiled.report.traced,
        )
        for _ in range(2)
    )
    assert sum(plain.values()) > 5
    for name, (_, more) in CHANGES.items():
        assert first[name] <= plain[name] + more, name
    # What a program in memory served the first time was not stored under the other state of the model.
    assert sum(second.values()) <= 1, second
