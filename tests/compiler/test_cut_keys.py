"""What the text of a piece says of sizes that cross its borders and of numbers from data."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from tests.compiler.test_partition import captured, texts
from torch import nn

from passprint.compiler.pieces.partition import partition


@pytest.fixture(autouse=True)
def numbers_from_data() -> Iterator[None]:
    with torch._dynamo.config.patch(capture_scalar_outputs=True):
        yield


class Counting(nn.Module):
    """Reads a number from its input, which is at least ``least``."""

    def __init__(self, least: int) -> None:
        super().__init__()
        self.linear, self.least = nn.Linear(8, 8), least

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.linear(x)).sin() * 2
        count = int((y > 0).sum())
        torch._check(count >= self.least)
        return x + y.cos() / torch.ones(count + 1).sum()


class Sized(nn.Module):
    """Computes with the number of rows."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        half = x.shape[0] // 2
        y = torch.relu(self.linear(x)).sin() * half
        return x + y.cos() * torch.arange(half).sum()


def block_texts(*blocks: nn.Module, dynamic: bool = False) -> list[str]:
    gm = captured(nn.Sequential(*blocks), torch.randn(6, 8), dynamic=dynamic)
    return texts(gm, partition(gm.graph))


def test_blocks_that_read_numbers_are_equal() -> None:
    first, second = block_texts(Counting(1), Counting(1))
    assert first == second
    assert "assert 1 <= d0" in first


def test_what_must_hold_for_a_number_from_data_counts() -> None:
    first, second = block_texts(Counting(1), Counting(2))
    assert first.splitlines()[:3] == second.splitlines()[:3]
    assert first != second


def test_blocks_that_compute_with_sizes_are_equal_wherever_a_size_was_first_computed() -> None:
    first, second = block_texts(Sized(), Sized(), dynamic=True)
    assert first == second


def test_a_number_that_the_model_was_called_with_is_read_in_each_piece() -> None:
    class Scaled(Sized):
        def forward(self, x: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
            return super().forward(x) * scale

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList([Scaled(), Scaled()])

        def forward(self, x: torch.Tensor, scale: float) -> torch.Tensor:
            for block in self.blocks:
                x = block(x, scale)
            return x

    gm = captured(Model(), torch.randn(6, 8), 0.5, dynamic=True)  # type: ignore[arg-type]
    pieces = partition(gm.graph)
    assert len(pieces) == 2
    assert [[n.target for n in piece.nodes].count("item") for piece in pieces] == [1, 1]
