"""The pipeline that is used when none is asked for."""

from __future__ import annotations

from passprint.pipeline.manager import PassManager


def default_pipeline() -> PassManager:
    """The library's passes that make models no slower, in the library's order."""
    from passprint.passes.library import DEFAULT

    return PassManager([kind() for kind in DEFAULT])
