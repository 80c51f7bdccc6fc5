"""Operators that the fusing passes put into graphs.

They are for those who bring a kernel: register one with ``torch.library.register_kernel("passprint::rms_norm",
"cuda")`` and compile with the pass. The implementations here are plain torch. They are right on every device,
and slower than the loops that Inductor writes for what the passes replace; so no fusing pass is in the default
pipeline.

Every result is contiguous and shares no memory with an argument. A kernel must keep to that: it is what the
fake implementations say, from which Inductor plans memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Operator:
    """An operator of this library, callable as ``torch.ops.passprint.<name>`` is.

    ``run`` computes it with plain torch; ``layout`` is its fake implementation. A pass that uses the operator
    has both in its identity.
    """

    name: str
    run: Callable[..., Tensor]
    layout: Callable[..., Tensor]

    def register(self) -> None:
        """Make torch know the operator; once in a process."""
        operator = torch.library.custom_op(f"passprint::{self.name}", self.run, mutates_args=())
        operator.register_fake(self.layout)

    def __call__(self, *arguments: Tensor | float) -> Tensor:
        result: Tensor = getattr(torch.ops.passprint, self.name)(*arguments)
        return result


def _rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)
    return (weight * wide.to(x.dtype)).contiguous()


def _rms_norm_layout(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return x.new_empty(x.shape, dtype=torch.promote_types(x.dtype, weight.dtype))


def _silu_and_mul(gate: Tensor, up: Tensor) -> Tensor:
    return (torch.nn.functional.silu(gate) * up).contiguous()


def _silu_and_mul_layout(gate: Tensor, up: Tensor) -> Tensor:
    return gate.new_empty(gate.shape)


#: ``rms_norm(x, weight, eps)``: ``weight * (x / sqrt(mean(x ** 2) + eps))`` over the last dimension, as Llama's
#: RMSNorm rounds it. ``x``: [..., size], ``weight``: [size]. bfloat16 and float16 are normalised in float32 and
#: rounded to the dtype of ``x`` before the multiplication. Gives [..., size] in the dtype that both promote to.
#: Source: ``LlamaRMSNorm`` in transformers.
rms_norm = Operator("rms_norm", _rms_norm, _rms_norm_layout)

#: ``silu_and_mul(gate, up)``: ``silu(gate) * up``, the middle of a gated MLP, with ``silu`` rounded to the dtype
#: of ``gate`` first. Both of one shape and dtype; gives the same. Source: ``LlamaMLP`` in transformers.
silu_and_mul = Operator("silu_and_mul", _silu_and_mul, _silu_and_mul_layout)

for _operator in (rms_norm, silu_and_mul):
    _operator.register()
