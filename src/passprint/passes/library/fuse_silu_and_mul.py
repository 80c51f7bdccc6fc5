"""The middle of a gated MLP, as transformers' models write it, as one operator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from passprint.passes.library.layout import same
from passprint.passes.library.ops import silu_and_mul
from passprint.passes.pattern import Pattern, PatternPass


class FuseSiluAndMul(PatternPass):
    """Replace ``silu(gate) * up``, five to seven decomposed operators, by ``passprint::silu_and_mul``.

    Recognises ``LlamaMLP`` (and its copies) in float32, bfloat16 and float16, with the product written either
    way round. It is for those who bring a kernel for the operator (see `passprint.passes.library.ops`).
    """

    def patterns(self) -> Sequence[Pattern]:
        return [
            Pattern(
                name=f"{name}-{str(dtype).removeprefix('torch.')}",
                search=search,
                replace=_replace,
                example_inputs=[torch.empty(2, 3, 8, dtype=dtype), torch.empty(2, 3, 8, dtype=dtype)],
                check=_fits,
            )
            for dtype in (torch.float32, torch.bfloat16, torch.float16)
            for name, search in (("gate-first", _gate_first), ("gate-last", _gate_last))
        ]


def _fits(match: Any) -> bool:
    gate, up = (match.kwargs[name].meta["val"] for name in ("gate", "up"))
    return gate.dtype == up.dtype and same(gate.shape, up.shape)


def _gate_first(gate: Tensor, up: Tensor) -> Tensor:
    return torch.nn.functional.silu(gate) * up


def _gate_last(gate: Tensor, up: Tensor) -> Tensor:
    return up * torch.nn.functional.silu(gate)


def _replace(gate: Tensor, up: Tensor) -> Tensor:
    return silu_and_mul(gate, up)
