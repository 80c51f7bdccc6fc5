"""ResNet-18 (He et al., 2015) in plain ``torch.nn``, with random weights."""

from __future__ import annotations

import torch
from torch import nn


class Block(nn.Module):
    """Two 3x3 convolutions around a shortcut."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.one = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.two = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.norm_one, self.norm_two = nn.BatchNorm2d(after), nn.BatchNorm2d(after)
        self.relu = nn.ReLU(inplace=True)
        self.short: nn.Module = nn.Identity()
        if stride != 1 or before != after:
            self.short = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.relu(self.norm_one(self.one(x)))
        return self.relu(self.norm_two(self.two(y)) + self.short(x))


def resnet18() -> nn.Sequential:
    """(batch, 3, 224, 224) → (batch, 1000). The blocks are in the stages 4 to 7."""

    def stage(before: int, after: int, stride: int) -> nn.Module:
        return nn.Sequential(Block(before, after, stride), Block(after, after, 1))

    return nn.Sequential(
        nn.Conv2d(3, 64, 7, 2, 3, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, 1),
        *(stage(64, 64, 1), stage(64, 128, 2), stage(128, 256, 2), stage(256, 512, 2)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000)),
    )
