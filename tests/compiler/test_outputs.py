"""What a model may return, cold and loaded: the code that builds it holds classes, shapes and dtypes as constants."""

from __future__ import annotations

import collections
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

import passprint


class Pair(NamedTuple):
    """Made with ``typing``."""

    first: Tensor
    second: Tensor


Point = collections.namedtuple("Point", "x y", defaults=(5,))


def facts(x: Tensor) -> tuple[Any, ...]:
    return x * 3, x.shape, x.dtype, x.device, x.layout


def plain(x: Tensor) -> tuple[Any, ...]:
    return x * 3, slice(0, 3), range(1, 4), 1 + 2j, b"a", {1, 2}, frozenset([2])


def pair(x: Tensor) -> Pair:
    return Pair(x * 2, x + 1)


def point(x: Tensor) -> Any:
    return Point(x * 2)


def replaced(x: Tensor) -> Tensor:
    made = Point(x * 2, x + 1)._replace(x=x)
    return made.x + made.y


def sorted_with_places(x: Tensor) -> Any:
    return torch.sort(x * 2)


def by_version(x: Tensor) -> Tensor:
    return x * 2 if torch.__version__ >= "2.1" else x * 3


MODELS = [facts, plain, pair, point, replaced, sorted_with_places, by_version]


@pytest.mark.parametrize("model", MODELS)
def test_what_is_returned_cold_and_loaded(model: Callable[[Tensor], Any], tmp_path: Path) -> None:
    x = torch.tensor([3.0, 1.0, 2.0])
    expected = model(x)
    for loaded in (0, 1):
        compiled: Any = passprint.compile(model, cache=tmp_path, passes="")
        found = compiled(x)
        assert type(found) is type(expected)
        for one, other in zip(found, expected, strict=True):
            assert type(one) is type(other)
            assert torch.equal(one, other) if isinstance(one, Tensor) else one == other
        assert (compiled.report.loaded, compiled.report.traced) == (loaded, 1 - loaded), compiled.report.notes
