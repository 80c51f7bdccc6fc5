"""What ``passes=`` may be given as. Nothing of the compiler is imported for it."""

from __future__ import annotations

from collections.abc import Sequence

from passprint.passes import InductorPass
from passprint.pipeline import PassManager, default_pipeline

PassesSpec = PassManager | Sequence[InductorPass] | str | None
"""A manager, a list of passes, a pipeline's text, or None for the default pipeline."""


def as_manager(passes: PassesSpec) -> PassManager:
    """The manager that ``passes`` stands for. Raises :class:`passprint.PipelineError` for anything else."""
    if passes is None:
        return default_pipeline()
    if isinstance(passes, PassManager):
        return passes
    if isinstance(passes, str):
        return PassManager.parse(passes)
    return PassManager(passes)
