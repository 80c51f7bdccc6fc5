"""Root mean square normalisation, as transformers' models write it, as one operator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from passprint.passes.library.layout import same
from passprint.passes.library.ops import rms_norm
from passprint.passes.pattern import Pattern, PatternPass

_EPS = 1e-6  # stands for any eps in the patterns; no other constant in them has this value


class FuseRMSNorm(PatternPass):
    """Replace the six or eight operators of an RMSNorm by ``passprint::rms_norm``.

    Recognises ``LlamaRMSNorm`` (and its copies: Mistral, Qwen, SmolLM, …) in float32, bfloat16 and float16,
    and ``torch.nn.RMSNorm`` in float32. ``eps``: match norms with this epsilon only; None matches any.
    It is for those who bring a kernel for the operator (see `passprint.passes.library.ops`).
    """

    eps: float | None = None

    def patterns(self) -> Sequence[Pattern]:
        return [
            Pattern(
                name=f"{name}-{str(dtype).removeprefix('torch.')}",
                search=search,
                replace=_replace,
                example_inputs=[torch.empty(2, 3, 8, dtype=dtype), torch.empty(8, dtype=dtype)],
                scalars={"eps": _EPS},
                check=self._fits,
            )
            for dtype, searches in _SEARCHES.items()
            for name, search in searches.items()
        ]

    def _fits(self, match: Any) -> bool:
        x, weight = (match.kwargs[name].meta["val"] for name in ("x", "weight"))
        if self.eps is not None and match.kwargs["eps"] != self.eps:
            return False
        return same(weight.shape, x.shape[-1:])


def _weight_first(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps))


def _weight_last(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)) * weight


def _cast_weight_first(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    wide = x.to(torch.float32)
    return weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)).to(x.dtype)


def _cast_weight_last(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    wide = x.to(torch.float32)
    return (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)).to(x.dtype) * weight


def _replace(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    result: Tensor = rms_norm(x, weight, eps)
    return result


_WIDE = {"weight-first": _weight_first, "weight-last": _weight_last}
_NARROW = {"weight-first": _cast_weight_first, "weight-last": _cast_weight_last}
_SEARCHES = {torch.float32: _WIDE, torch.bfloat16: _NARROW, torch.float16: _NARROW}
