"""Runs the graph on numbers after every pass that changed it, and stops at the first that changed its results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch.utils._pytree import tree_leaves

from passprint.errors import PassError
from passprint.pipeline.execution import (
    TOLERANCES,
    CannotRun,
    largest_difference,
    run_graph,
    sample_inputs,
)
from passprint.pipeline.instruments.base import Instrument, PassRun, PipelineRun
from passprint.pipeline.snapshots import Attached
from passprint.warned import warn
from passprint.wording import many


class NumericsWarning(UserWarning):
    """A graph could not be run on sample inputs, so its passes were not compared."""


class Numerics(Instrument):
    """Compares the results of the graph before and after each pass; random numbers are the same in both.

    ``inputs``: real inputs of the graph, in the order of its placeholders; made from the annotations unless given.
    ``tolerances``: relative and absolute, by dtype, over the defaults. Whole numbers must be equal, and NaN equals NaN.
    ``seed``: for inputs and random numbers.
    Raises PassError from the pipeline: it names the pass, the largest difference, and where it is. A graph that cannot
    be run is warned of and left alone (``skipped`` lists why, by graph number).
    """

    graphs_only_because: ClassVar[str] = (
        "only a graph can be run on numbers by itself. 'passprint bisect' finds a pass by what the whole program gives"
    )

    def __init__(
        self,
        inputs: Sequence[Any] | None = None,
        *,
        tolerances: Mapping[torch.dtype, tuple[float, float]] | None = None,
        seed: int = 0,
    ) -> None:
        self.skipped: dict[int, str] = {}
        self._inputs = inputs
        self._tolerances = {**TOLERANCES, **(tolerances or {})}
        self._seed = seed
        self._runs: dict[PipelineRun, tuple[list[Any], list[Any], Attached]] = {}

    def __str__(self) -> str:
        return f"{self.name}{{seed={self._seed}}}"

    def before_pipeline(self, run: PipelineRun) -> None:
        if run is not run.outermost_for(self):
            return
        try:
            inputs, results = self._first_run(run)
            self._runs[run] = inputs, results, Attached(run.graph)
        except CannotRun as error:
            self.skipped[run.graph_id] = str(error)
            warn(
                f"graph {run.graph_id} cannot be run on sample inputs ({error}), so the passes on it are not compared; "
                "give Numerics(inputs=...) real ones",
                NumericsWarning,
            )

    def inputs_of(self, run: PassRun) -> list[Any] | None:
        """What the graph that the pass works on is run with, in the order of its placeholders; None if it is not."""
        held = self._runs.get(run.outermost_for(self))
        return None if held is None else held[0]

    @property
    def tolerances(self) -> dict[torch.dtype, tuple[float, float]]:
        """Relative and absolute, by dtype."""
        return dict(self._tolerances)

    @property
    def seed(self) -> int:
        """For inputs and random numbers."""
        return self._seed

    def _first_run(self, run: PipelineRun) -> tuple[list[Any], list[Any]]:
        if self._inputs is not None:
            return list(self._inputs), run_graph(run.graph, self._inputs, self._seed)
        inputs = sample_inputs(run.graph, self._seed)
        try:
            return inputs, run_graph(run.graph, inputs, self._seed)
        except CannotRun:  # an index into one element can only be 0
            inputs = sample_inputs(run.graph, self._seed, largest=0)
            return inputs, run_graph(run.graph, inputs, self._seed)

    def after_pass(self, run: PassRun) -> None:
        outermost = run.outermost_for(self)
        held = self._runs.get(outermost)
        if held is None:
            return
        inputs, before, attached = held
        now = Attached(run.graph)
        if not attached.is_same(now):
            now.recompile()
        elif not run.changed:
            return
        try:
            after = run_graph(run.graph, inputs, self._seed)
        except CannotRun as error:
            raise PassError(
                f"after the pass '{run.name}' the graph cannot be run any more: {error}. Before it, it could: look at "
                "the arguments of the nodes that the pass made",
                pass_name=run.name,
                reason=str(error),
            ) from error
        count = len(tree_leaves(next(iter(reversed(run.graph.nodes))).args))
        if len(before) == len(after):
            found = largest_difference(before, after, count, self._tolerances)
            reason = None if found is None else str(found)
        else:
            reason = f"the graph had {len(before) - len(inputs)} outputs and has {count}"
        if reason is not None:
            raise PassError(
                f"the pass '{run.name}' changed the results: {reason}. It made {many(run.rewrites, 'rewrite')}; "
                "`passprint bisect` finds the one",
                pass_name=run.name,
                reason=reason,
            )
        self._runs[outermost] = inputs, after, Attached(run.graph)

    def after_pipeline(self, run: PipelineRun) -> None:
        self._runs.pop(run, None)

    def on_error(self, run: PassRun, error: Exception) -> None:
        for pipeline in run.within:
            self._runs.pop(pipeline, None)
