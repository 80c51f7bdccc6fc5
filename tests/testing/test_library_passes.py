"""Every library pass through the testing kit, over dtypes, and static and dynamic shapes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from passprint import InductorPass
from passprint.passes.library import (
    ALL,
    DedupeExpressions,
    DropClones,
    FoldPermutes,
    FoldReshapes,
    FuseRMSNorm,
    FuseSiluAndMul,
    NoopElimination,
)
from passprint.testing import check_pass

DTYPES = [torch.float32, torch.bfloat16, torch.float16]


def norm(x: Tensor, weight: Tensor) -> Tensor:
    wide = x.to(torch.float32)
    return weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6)).to(x.dtype)


def gate(x: Tensor, weight: Tensor) -> Tensor:
    return torch.nn.functional.silu(x * weight) * (x + weight)


def noops(x: Tensor, weight: Tensor) -> Tensor:
    return torch.cos(x.expand(x.shape)[:].to(x.dtype) * 1.0) + weight


def reshapes(x: Tensor, weight: Tensor) -> Tensor:
    return torch.cos((x * weight).reshape(-1).reshape(x.shape[1], -1).unsqueeze(0).reshape(-1, 2))


def permutes(x: Tensor, weight: Tensor) -> Tensor:
    """Its backward transposes the projection twice."""
    return torch.cos(torch.nn.functional.linear(x * weight, torch.ones(5, 8, dtype=x.dtype)))


def clones(x: Tensor, weight: Tensor) -> Tensor:
    return torch.sin((x * weight).transpose(1, 2).contiguous().reshape(x.shape[0], -1))


def twice(x: Tensor, weight: Tensor) -> Tensor:
    return torch.cos(x * weight) + torch.sin(x * weight).amax(-1, keepdim=True) * torch.cos(x * weight)


CASES: list[tuple[InductorPass, InductorPass | None, Callable[..., Any]]] = [
    (NoopElimination(), NoopElimination(arithmetic=False), noops),
    (FoldReshapes(), None, reshapes),
    (FoldPermutes(), None, permutes),
    (DropClones(), None, clones),
    (DedupeExpressions(), None, twice),
    (FuseRMSNorm(), FuseRMSNorm(eps=1e-6), norm),
    (FuseSiluAndMul(), None, gate),
]


@pytest.mark.parametrize("dynamic", [None, {0: (0, 1)}], ids=["static", "dynamic"])
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype).removeprefix("torch."))
@pytest.mark.parametrize(("pass_", "different", "fn"), CASES, ids=[case[0].name for case in CASES])
def test_library_pass(
    pass_: InductorPass,
    different: InductorPass | None,
    fn: Callable[..., Any],
    dtype: torch.dtype,
    dynamic: Any,
) -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(4, 6, 8).to(dtype), torch.randn(8).to(dtype)
    x.requires_grad_(fn is permutes)
    check_pass(pass_, fn, (x, weight), dynamic=dynamic, different=different)


def test_every_library_pass_is_here_and_does_something() -> None:
    assert {type(case[0]) for case in CASES} == set(ALL)
    torch.manual_seed(0)
    x, weight = torch.randn(4, 6, 8), torch.randn(8)
    for pass_, _, fn in CASES:
        x.requires_grad_(fn is permutes)
        assert check_pass(pass_, fn, (x, weight)).rewrites > 0, (pass_.name, fn)
