"""Warns of two patterns that match the same nodes."""

from __future__ import annotations

from passprint.pipeline.instruments.base import Instrument, PipelineRun
from passprint.pipeline.overlap import Overlap, OverlapWarning, find_overlaps
from passprint.warned import warn


class Overlaps(Instrument):
    """Before a pipeline runs on a graph, says which of its patterns want the same nodes.

    ``found``: every overlap so far, with the number of its graph. Each pair of patterns is warned of once, in an
    OverlapWarning. The passes run once more, on a copy of the graph.
    """

    def __init__(self) -> None:
        self.found: list[tuple[int, Overlap]] = []
        self._told: set[tuple[str, str]] = set()

    def before_pipeline(self, run: PipelineRun) -> None:
        if run is not run.outermost_for(self):
            return
        for overlap in find_overlaps(run.pipeline, run.graph):
            self.found.append((run.graph_id, overlap))
            if (overlap.first, overlap.second) not in self._told:
                self._told.add((overlap.first, overlap.second))
                warn(str(overlap), OverlapWarning)
