from __future__ import annotations

import pytest
import torch
from graph_harness import check_against_golden, optimised, targets
from llama import BATCH, LENGTH, vary_length
from torch import Tensor
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from passprint.passes import CompileRange, pass_context
from passprint.passes.library import FuseRMSNorm

FUSED = torch.ops.passprint.rms_norm.default
DTYPES = [torch.float32, torch.bfloat16, torch.float16]


def norm_of(dtype: torch.dtype, eps: float = 1e-6) -> LlamaRMSNorm:
    torch.manual_seed(0)
    norm = LlamaRMSNorm(32, eps=eps).to(dtype)
    torch.nn.init.normal_(norm.weight)
    return norm


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_llama(dtype, dynamic):
    norm, x = norm_of(dtype), torch.randn(BATCH, LENGTH, 32).to(dtype)
    expected = norm(x)
    if dynamic:
        vary_length(x)
    compiled, recorder = optimised(norm, FuseRMSNorm())
    with torch.no_grad():
        assert torch.equal(compiled(x), expected)  # the operator rounds where LlamaRMSNorm rounds
    assert recorder.matches == {"FuseRMSNorm": 1}
    assert targets(recorder) == [FUSED]
    assert recorder.guards_added == 0
    name = str(dtype).removeprefix("torch.")
    check_against_golden(f"fuse_rms_norm.{name}.{'dynamic' if dynamic else 'static'}", recorder)


@pytest.mark.parametrize(("wanted", "matches"), [(None, 1), (1e-5, 1), (1e-6, 0)])
def test_eps(wanted, matches):
    norm, x = norm_of(torch.float32, eps=1e-5), torch.randn(BATCH, 32)
    compiled, recorder = optimised(norm, FuseRMSNorm(eps=wanted))
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), norm(x))
    assert recorder.matches == {"FuseRMSNorm": matches}
    assert targets(recorder).count(FUSED) == matches


@pytest.mark.parametrize(
    "fn",
    [
        pytest.param(
            lambda x, w: w * (x * torch.rsqrt(x.pow(2).mean(1, keepdim=True) + 1e-6)), id="dimension"
        ),
        pytest.param(lambda x, w: w * (x * torch.rsqrt(x.pow(3).mean(-1, keepdim=True) + 1e-6)), id="power"),
        pytest.param(
            lambda x, w: w[:1] * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)), id="weight"
        ),
        pytest.param(
            lambda x, w: w * (w * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)), id="other-x"
        ),
    ],
)
def test_what_is_no_rms_norm_stays(fn):
    x, weight = torch.randn(2, 3, 8), torch.randn(8)
    compiled, recorder = optimised(fn, FuseRMSNorm())
    torch.testing.assert_close(compiled(x, weight), fn(x, weight), equal_nan=True)
    assert recorder.matches == {"FuseRMSNorm": 0}


def test_matches_are_counted_by_pattern():
    pass_ = FuseRMSNorm()
    with pass_context(CompileRange.any()) as context, torch.no_grad():
        optimised(norm_of(torch.bfloat16), pass_)[0](torch.randn(2, 32).bfloat16())
    assert {name for name, count in context.matches.items() if count} == {"fuse-rms-norm/bfloat16"}


@pytest.mark.parametrize("dtype", [*DTYPES, torch.float64], ids=str)
@pytest.mark.parametrize("shape", [(8,), (2, 3, 8), (0, 8)], ids=str)
def test_operator(dtype, shape):
    arguments = (torch.randn(shape).to(dtype), torch.randn(8).to(dtype), 1e-5)
    torch.library.opcheck(FUSED, arguments, test_utils=("test_schema", "test_faketensor"))


def test_operator_on_other_strides_and_dtypes():
    arguments = (torch.randn(8, 4).bfloat16().t(), torch.randn(8), 1e-5)
    torch.library.opcheck(FUSED, arguments, test_utils=("test_schema", "test_faketensor"))
    result: Tensor = FUSED(*arguments)
    assert result.is_contiguous()
    assert result.dtype == torch.float32
