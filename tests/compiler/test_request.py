"""The quick key of a model: which tensors are one and the same counts, and one more module moves no other line."""

from __future__ import annotations

import torch
from torch import nn

from passprint.compiler.start.request import request


def parameters(model: nn.Module) -> list[str]:
    return request(model, (torch.ones(2, 4),), {}, "", {}).parts["parameters"].splitlines()


def tied(*pairs: tuple[int, int]) -> nn.Module:
    model = nn.Sequential(*[nn.Linear(4, 4, bias=False) for _ in range(4)])
    for one, other in pairs:
        model[one].weight = model[other].weight
    return model


def test_another_layer_adds_lines_and_changes_none() -> None:
    small, large = (nn.Sequential(*[nn.Linear(4, 4) for _ in range(count)]) for count in (2, 3))
    assert set(parameters(small)) < set(parameters(large))
    assert len(parameters(large)) == len(parameters(small)) + 2


def test_which_tensors_are_one_counts() -> None:
    kinds = [(), ((0, 1),), ((0, 2),), ((0, 1), (2, 3)), ((0, 1), (2, 1)), ((0, 1), (2, 1), (3, 1))]
    assert len({tuple(parameters(tied(*pairs))) for pairs in kinds}) == len(kinds)
    assert parameters(tied((0, 1))) == parameters(tied((0, 1)))
    assert sum("the same as ." in line for line in parameters(tied((0, 1), (2, 1)))) == 2
