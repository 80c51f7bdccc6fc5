"""Small models with repeated blocks; imported by the tests and by the processes that they start."""

from __future__ import annotations

import torch
from torch import nn

WIDTH = 16


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.up = nn.Linear(WIDTH, 2 * WIDTH)
        self.down = nn.Linear(2 * WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.up(self.norm(x))
        y = torch.relu(y) * torch.sigmoid(y)
        return x + self.down(y) * 0.5


class Stack(nn.Module):
    """``depth`` equal blocks and a head: (batch, WIDTH) → (batch, 4)."""

    def __init__(self, depth: int = 4) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block() for _ in range(depth))
        self.head = nn.Linear(WIDTH, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def stack(depth: int = 4, seed: int = 0) -> Stack:
    torch.manual_seed(seed)
    return Stack(depth).eval()


def inputs(batch: int = 3, seed: int = 1) -> torch.Tensor:
    torch.manual_seed(seed)
    return torch.randn(batch, WIDTH)
