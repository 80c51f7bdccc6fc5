from __future__ import annotations

import pytest
import torch
from graph_harness import check_against_golden, optimised, targets
from llama import BATCH, LENGTH, config, vary_length
from transformers.models.llama.modeling_llama import LlamaMLP

from passprint.passes.library import FuseSiluAndMul

FUSED = torch.ops.passprint.silu_and_mul.default
DTYPES = [torch.float32, torch.bfloat16, torch.float16]


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_llama(dtype, dynamic):
    torch.manual_seed(0)
    mlp, x = LlamaMLP(config()).to(dtype), torch.randn(BATCH, LENGTH, 32).to(dtype)
    expected = mlp(x)
    if dynamic:
        vary_length(x)
    compiled, recorder = optimised(mlp, FuseSiluAndMul())
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), expected)
    assert recorder.matches == {"FuseSiluAndMul": 1}
    assert targets(recorder).count(FUSED) == 1
    assert recorder.guards_added == 0
    name = str(dtype).removeprefix("torch.")
    check_against_golden(f"fuse_silu_and_mul.{name}.{'dynamic' if dynamic else 'static'}", recorder)


def test_the_other_way_round():
    gate, up = torch.randn(2, 2, 8)
    compiled, recorder = optimised(lambda g, u: u * torch.nn.functional.silu(g), FuseSiluAndMul())
    torch.testing.assert_close(compiled(gate, up), torch.nn.functional.silu(gate) * up)
    assert targets(recorder) == [FUSED]


@pytest.mark.parametrize(
    "fn",
    [
        pytest.param(lambda g, u: torch.nn.functional.silu(g) * u[:1], id="broadcast"),
        pytest.param(lambda g, u: torch.nn.functional.gelu(g) * u, id="gelu"),
        pytest.param(lambda g, u: torch.nn.functional.silu(g) + u, id="sum"),
    ],
)
def test_what_is_no_gated_product_stays(fn):
    gate, up = torch.randn(2, 2, 8)
    compiled, recorder = optimised(fn, FuseSiluAndMul())
    torch.testing.assert_close(compiled(gate, up), fn(gate, up))
    assert recorder.matches == {"FuseSiluAndMul": 0}


def test_silu_that_is_needed_elsewhere_stays():
    def fn(gate: torch.Tensor, up: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        silu = torch.nn.functional.silu(gate)
        return silu * up, silu

    gate, up = torch.randn(2, 2, 8)
    compiled, recorder = optimised(fn, FuseSiluAndMul())
    for actual, expected in zip(compiled(gate, up), fn(gate, up), strict=True):
        torch.testing.assert_close(actual, expected)
    assert recorder.matches == {"FuseSiluAndMul": 0}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_operator(dtype):
    gate, up = torch.randn(2, 3, 8).to(dtype)
    utilities = ("test_schema", "test_faketensor")
    torch.library.opcheck(FUSED, (gate, up), test_utils=utilities)
    torch.library.opcheck(FUSED, (gate.t(), up.t()), test_utils=utilities)
    assert FUSED(gate.t(), up.t()).is_contiguous()
