"""What an author of passes needs is found in ``passprint`` itself, and a star import brings no more than it says."""

from __future__ import annotations

from dataclasses import is_dataclass

import pytest

import passprint
import passprint.passes
import passprint.pipeline

KINDS = [
    "InductorPass",
    "GraphModulePass",
    "InferenceAwarePass",
    "SchedulerPass",
    "Partitioner",
    "PatternPass",
]


@pytest.mark.parametrize("name", passprint.__all__)
def test_every_name_is_there(name: str) -> None:
    assert getattr(passprint, name).__name__ == name
    assert name in dir(passprint)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_pass_can_be_inherited_from(kind: str) -> None:
    base = getattr(passprint, kind)
    assert base is getattr(passprint.passes, kind)
    assert is_dataclass(base)


def test_groups_and_selections_are_those_of_the_pipeline() -> None:
    assert passprint.FixedPoint is passprint.pipeline.FixedPoint
    assert passprint.selected is passprint.pipeline.selected


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="'Fixpoint'"):
        passprint.Fixpoint  # noqa: B018
