"""Models and functions that are not one graph, each for another reason; imported by tests and their processes."""

from __future__ import annotations

import zlib

import torch
from tests.compiler.models import WIDTH, Block
from torch import nn


class Prints(nn.Module):
    """Blocks, a print, and the same blocks again: two graphs."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.ModuleList(Block() for _ in range(2))
        self.second = nn.ModuleList(Block() for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.first:
            x = block(x)
        print("half way")
        for block in self.second:
            x = block(x)
        return x


class Inner(nn.Module):
    """A piece of work that is a graph of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.up(x)) * 2


class Loops(nn.Module):
    """The break is inside a loop: Python runs the loop, and what it calls is compiled."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Inner()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for step in range(3):
            x = self.inner(x)
            print("step", step)
        return x + 1


def branches(x: torch.Tensor) -> torch.Tensor:
    y = torch.sin(x) * 2
    if y.sum() > 0:
        return torch.tanh(y) + 1
    return torch.exp(y) - 1


def calls_c(x: torch.Tensor) -> torch.Tensor:
    y = torch.sin(x) * 2
    return torch.tanh(y) + zlib.crc32(b"passprint") % 7


def only_python(x: torch.Tensor) -> torch.Tensor:
    for step in range(2):
        x = torch.sin(x)
        print(step)
    return x


def raises(x: torch.Tensor) -> torch.Tensor:
    if x.dim() != 2:
        raise ValueError("expected rows and columns")
    return torch.sin(x)


def build(name: str) -> nn.Module:
    torch.manual_seed(0)
    made: nn.Module = {"prints": Prints, "loops": Loops}[name]()
    return made.eval()
