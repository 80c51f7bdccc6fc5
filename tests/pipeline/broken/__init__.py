"""Passes that are broken on purpose, each in one way; the verifier or the numerics must name every one.

``python -m tests.pipeline.broken`` prints how many of each kind were caught, and by which.
"""

from tests.pipeline.broken import annotations, branches, effects, foreign, numbers, structure
from tests.pipeline.broken.suite import BROKEN, Broken, graph_of, try_pass

__all__ = [
    "BROKEN",
    "Broken",
    "annotations",
    "branches",
    "effects",
    "foreign",
    "graph_of",
    "numbers",
    "structure",
    "try_pass",
]
