"""How long a compiled model's forward pass takes, for the benchmarks that compare ways to compile."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

CALLS = 30
"""Calls that are timed; three more come before them."""


def prompts(lengths: tuple[int, ...]) -> dict[int, torch.Tensor]:
    """The same random token numbers in every process, (1, length) for each of ``lengths``."""
    import torch

    generator = torch.Generator().manual_seed(0)
    return {n: torch.randint(0, 4000, (1, n), generator=generator) for n in lengths}


def forward_ms(compiled: Any, by_length: Mapping[int, torch.Tensor]) -> dict[int, float]:
    """Milliseconds of one call, the median of :data:`CALLS`, for each prompt."""
    return {length: _median_ms(compiled, ids) for length, ids in by_length.items()}


def _median_ms(compiled: Any, ids: torch.Tensor) -> float:
    for _ in range(3):
        compiled(input_ids=ids, use_cache=False)
    times = []
    for _ in range(CALLS):
        began = time.perf_counter()
        compiled(input_ids=ids, use_cache=False)
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1e3
