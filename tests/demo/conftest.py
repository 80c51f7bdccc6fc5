import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from passprint.demo.models import Prepared
from passprint.demo.result import COLD, EAGER, WARM, DemoResult
from passprint.demo.task import PhaseResult


@pytest.fixture
def report() -> Callable[..., dict[str, Any]]:
    """Makes the data of a compile report."""

    def make(**changes: Any) -> dict[str, Any]:
        return {
            "status": "cold",
            "why": None,
            "pieces": 61,
            "distinct_pieces": 4,
            "lookups": 61,
            "lookup_ms": 12.0,
            "repeated_piece_ms": 0.2,
            "graphs": 1,
            "seconds": {"total": 14.0, "identity": 0.03, "trace": 2.5},
            "matches": {"noop-elimination": 120},
            **changes,
        }

    return make


@pytest.fixture
def phase() -> Callable[..., PhaseResult]:
    """Makes the figures of a phase."""
    plain = PhaseResult(
        seconds={
            "import torch": 2.0,
            "import transformers": 1.0,
            "load": 0.5,
            "first logits": 15.0,
            "decode": 1.0,
        },
        token_ids=(5, 6),
        text="hello",
        tokens_per_second=15.0,
    )

    def make(**changes: Any) -> PhaseResult:
        return dataclasses.replace(plain, **changes)

    return make


@pytest.fixture
def result(phase: Callable[..., PhaseResult], report: Callable[..., dict[str, Any]]) -> DemoResult:
    """A demo that went well."""
    return DemoResult(
        model="tiny",
        prompt="Why?",
        prepared=Prepared("/somewhere", (1, 2, 3), layers=2, parameters=4_000_000, has_tokenizer=True),
        passes=None,
        environment={"threads": 2},
        phases={
            EAGER: phase(),
            COLD: phase(difference=1e-3, same_text=True, report=report()),
            WARM: phase(difference=0.0, same_text=True, report=report(status="warm")),
        },
    )
