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

    Recognises ``LlamaRMSNorm`` (and its copies: Mistral, Qwen, SmolLM, …) in float32, bfloat16 and float16.
    ``eps``: match norms with this epsilon only; None matches any. It is for those who bring a kernel for the
    operator (see `passprint.passes.library.ops`).
    """

    eps: float | None = None

    def patterns(self) -> Sequence[Pattern]:
        return [
            Pattern(
                name=str(dtype).removeprefix("torch."),
                search=search,
                replace=_replace,
                example_inputs=[torch.empty(2, 3, 8, dtype=dtype), torch.empty(8, dtype=dtype)],
                scalars={"eps": _EPS},
                check=self._fits,
            )
            for dtype, search in _SEARCHES.items()
        ]

    def _fits(self, match: Any) -> bool:
        x, weight = (match.kwargs[name].meta["val"] for name in ("x", "weight"))
        if self.eps is not None and match.kwargs["eps"] != self.eps:
            return False
        return same(weight.shape, x.shape[-1:])


def _wide(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps))


def _narrow(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    wide = x.to(torch.float32)
    return weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)).to(x.dtype)


def _replace(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return rms_norm(x, weight, eps)


_SEARCHES = {torch.float32: _wide, torch.bfloat16: _narrow, torch.float16: _narrow}
