"""How passes run: the manager, its text form, the registry of names, mounting on Inductor's hooks."""

from passprint.pipeline.default import default_pipeline
from passprint.pipeline.filters import selected
from passprint.pipeline.groups import FixedPoint, FixedPointWarning
from passprint.pipeline.manager import PassManager
from passprint.pipeline.registry import get_pass, list_passes

__all__ = [
    "FixedPoint",
    "FixedPointWarning",
    "PassManager",
    "default_pipeline",
    "get_pass",
    "list_passes",
    "selected",
]
