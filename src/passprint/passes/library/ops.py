"""Operators that the fusing passes put into graphs.

They are for those who bring a kernel: register one for a device with ``rms_norm.register_kernel("cuda")`` and
compile with the pass. The implementations here are plain torch. They are right on every device, and slower
than the loops that Inductor writes for what the passes replace; so no fusing pass is in the default pipeline.

Every result is contiguous and shares no memory with an argument. A kernel must keep to that: it is what the
fake implementations say, from which Inductor plans memory.
"""

from __future__ import annotations

import torch
from torch import Tensor


@torch.library.custom_op("passprint::rms_norm", mutates_args=())
def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """``weight * (x / sqrt(mean(x ** 2) + eps))`` over the last dimension, as Llama's RMSNorm rounds it.

    ``x``: [..., size], ``weight``: [size]. bfloat16 and float16 are normalised in float32 and rounded to the
    dtype of ``x`` before the multiplication. Gives [..., size], contiguous, in the dtype that ``x`` and
    ``weight`` promote to. Source: ``LlamaRMSNorm`` in transformers.
    """
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)
    return (weight * wide.to(x.dtype)).contiguous()


@rms_norm.register_fake
def _(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return x.new_empty(x.shape, dtype=torch.promote_types(x.dtype, weight.dtype))


@torch.library.custom_op("passprint::silu_and_mul", mutates_args=())
def silu_and_mul(gate: Tensor, up: Tensor) -> Tensor:
    """``silu(gate) * up``, the middle of a gated MLP, with ``silu`` rounded to the dtype of ``gate`` first.

    Both of one shape and dtype; gives the same, contiguous. Source: ``LlamaMLP`` in transformers.
    """
    return (torch.nn.functional.silu(gate) * up).contiguous()


@silu_and_mul.register_fake
def _(gate: Tensor, up: Tensor) -> Tensor:
    return gate.new_empty(gate.shape)
