"""Random models whose values cross borders in all ways: for tests of cutting. Same seed, same model."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import nn

WIDTH = 8


@dataclass
class State:
    """What blocks hand on: the stream, tensors and numbers of earlier blocks, and a number that the caller gave."""

    x: torch.Tensor
    scale: float
    tensors: list[torch.Tensor] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)


Step = Callable[["Block", State], None]


def mixed(b: Block, s: State) -> None:
    s.x = s.x + torch.tanh(b.linear(s.x))


def scaled(b: Block, s: State) -> None:
    s.x = torch.sin(s.x * s.scale)


def joined(b: Block, s: State) -> None:
    for t in s.tensors[-2:]:
        s.x = s.x + 0.5 * t


def kept(b: Block, s: State) -> None:
    s.tensors.append(s.x.cos())


def kept_view(b: Block, s: State) -> None:
    s.tensors.append(s.x.view(-1).view(s.x.shape))


def kept_twice(b: Block, s: State) -> None:
    s.tensors += [s.x, s.x]


def chunks(b: Block, s: State) -> None:
    first, second = s.x.chunk(2, dim=1)
    s.x = torch.cat([second, first], dim=1)


def chunks_for_later(b: Block, s: State) -> None:
    first, second = s.x.chunk(2, dim=1)
    s.tensors.append(torch.cat([first, first], dim=1))
    s.x = torch.cat([second, first.relu()], dim=1)


def split_rows(b: Block, s: State) -> None:
    half = s.x.shape[0] // 2
    first, rest = s.x.split([half, s.x.shape[0] - half])
    s.x = torch.cat([rest.sin(), first])


def largest(b: Block, s: State) -> None:
    values, indices = s.x.topk(4, dim=1)
    s.x = torch.cat([values, values - indices], dim=1)


def maximum(b: Block, s: State) -> None:
    values, indices = s.x.max(dim=1, keepdim=True)
    s.tensors.append(values.expand(s.x.shape))
    s.x = s.x - indices


def moments(b: Block, s: State) -> None:
    variance, mean = torch.var_mean(s.x, dim=1, keepdim=True)
    s.x = (s.x - mean) * torch.rsqrt(variance + 1)


def unbound(b: Block, s: State) -> None:
    s.x = torch.stack([column.relu() for column in s.x.unbind(1)], dim=1)


def sizes(b: Block, s: State) -> None:
    rows = s.x.shape[0] * 2
    s.numbers.append(rows // 3 + 1)
    s.x = s.x + torch.arange(rows)[::2].unsqueeze(1) / rows


def sizes_of_others(b: Block, s: State) -> None:
    for number in s.numbers[-2:]:
        s.x = s.x + torch.ones(number).sum() / number


def flattened(b: Block, s: State) -> None:
    rows = s.x.shape[0]
    s.x = s.x.reshape(rows * 2, WIDTH // 2).cos().view(rows, WIDTH)


def counted(b: Block, s: State) -> None:
    count = int((s.x[:, 0] > 0).sum())
    torch._check(count >= 0)
    s.numbers.append(count + 1)
    s.x = s.x + torch.ones(count + 1).sum() / 8


def selected(b: Block, s: State) -> None:
    rows = (s.x[:, 1] > 0).nonzero()[:, 0]
    s.x = s.x.index_add(0, rows, torch.ones(rows.shape[0], WIDTH))


def average(b: Block, s: State) -> None:
    s.x = s.x - s.x.mean().item()


def in_place(b: Block, s: State) -> None:
    s.x = s.x * 2
    s.x.add_(1)
    s.x[:, 0] = 0


def turned_in_place(b: Block, s: State) -> None:
    y = s.x * 0.5
    z = torch.relu(y) + 1
    y.t_()
    s.x = z + y.t()


def constant(b: Block, s: State) -> None:
    s.x = s.x * torch.tensor([1.0, 0.5] * (WIDTH // 2))


def quiet(b: Block, s: State) -> None:
    with torch.no_grad():
        s.x = s.x + s.x.detach().sigmoid()


def nothing(b: Block, s: State) -> None:
    pass


STEPS: list[Step] = [
    mixed,
    scaled,
    joined,
    kept,
    kept_view,
    kept_twice,
    chunks,
    chunks_for_later,
    split_rows,
    largest,
    maximum,
    moments,
    unbound,
    sizes,
    sizes_of_others,
    flattened,
    counted,
    selected,
    average,
    in_place,
    turned_in_place,
    constant,
    quiet,
    nothing,
]

OPERATORS = [
    "linear",
    "chunk",
    "topk",
    "max",
    "split",
    "var_mean",
    "unbind",
    "item",
    "cat",
    "nonzero",
    "arange",
]


class Block(nn.Module):
    def __init__(self, steps: list[Step]) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH, WIDTH)
        self.steps = steps

    def forward(self, state: State) -> None:
        for step in self.steps:
            step(self, state)


class Model(nn.Module):
    """Blocks of random steps, some alike; returns what crossed borders, a size, and one value twice."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        rng = random.Random(seed)
        torch.manual_seed(seed)
        kinds = [rng.choices(STEPS, k=rng.randint(2, 6)) for _ in range(2)]
        self.blocks = nn.ModuleList(Block(rng.choice(kinds)) for _ in range(rng.randint(2, 4)))
        self.returns = rng.sample(["input", "twice", "tensors", "number", "size"], k=rng.randint(0, 3))

    def forward(self, x: torch.Tensor, scale: float) -> list[object]:
        state = State(x, scale)
        for block in self.blocks:
            block(state)
        extra: dict[str, list[object]] = {
            "input": [x],
            "twice": [state.x, state.x],
            "tensors": [*state.tensors],
            "number": [*state.numbers],
            "size": [state.x.shape[0] * 3],
        }
        return [state.x, *(value for name in self.returns for value in extra[name])]
