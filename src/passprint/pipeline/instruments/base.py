"""What an instrument is: an object that is told what happens while a pipeline runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch

from passprint.passes import PassContext
from passprint.passes.naming import kebab_case


@dataclass(eq=False)
class PipelineRun:
    """One manager at work on one graph.

    ``pipeline``: the manager. ``label``: what reports call it: its name, or "pipeline". ``depth``: 0 for the manager
    that was called, 1 for one within it. ``graph_id`` counts the graphs of this process, from 0; it is the same for
    nested managers. ``hook``: where in Inductor the pipeline runs. ``parent``: the run around it, if any.
    ``newcomers``: the instruments that hear of this run and not of the one around it.
    """

    pipeline: Any
    label: str
    graph: torch.fx.Graph
    context: PassContext
    depth: int
    graph_id: int
    hook: str
    parent: PipelineRun | None = None
    newcomers: tuple[Instrument, ...] = ()

    def outermost_for(self, instrument: Instrument) -> PipelineRun:
        """The run that ``instrument`` heard of first, of this one and those around it."""
        run = self
        while instrument not in run.newcomers and run.parent is not None:
            run = run.parent
        return run


@dataclass(eq=False)
class PassRun:
    """One pass at work on one graph.

    Known before it runs: ``pass_``, ``name``, ``graph``, ``context``, ``within`` (the managers around it, outermost
    first), ``position`` (how many passes ran on this graph before it), ``nodes_before``.
    Known after: ``nodes_after``, ``changed`` (the graph differs in any way), ``rewrites``, ``patterns`` (matches by
    pattern name, of a `PatternPass`), ``near_misses`` (how close the patterns came that have not matched, by pattern
    name), ``seconds`` (in the pass alone).

    At the scheduler's hooks ``scheduled`` are the nodes, before the pass and then after it, ``graph`` is what they were
    made from, and the counts are of them. A partitioner is given ``graph`` and torch's ``options``, and makes
    ``parts``, forward and backward.
    """

    pass_: Any
    name: str
    graph: torch.fx.Graph
    context: PassContext
    within: tuple[PipelineRun, ...]
    position: int
    nodes_before: int
    nodes_after: int = 0
    changed: bool = False
    rewrites: int = 0
    patterns: dict[str, int] = field(default_factory=dict)
    near_misses: dict[str, object] = field(default_factory=dict)
    seconds: float = 0.0
    scheduled: list[Any] | None = None
    parts: tuple[torch.fx.Graph, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    def outermost_for(self, instrument: Instrument) -> PipelineRun:
        """The run of a manager that ``instrument`` heard of first, of those around this pass."""
        return self.within[-1].outermost_for(instrument)

    @property
    def graph_id(self) -> int:
        """The number of the graph in this process, from 0."""
        return self.within[0].graph_id if self.within else 0


@dataclass(frozen=True)
class Rewrite:
    """One rewrite: ``node`` is replaced, by ``pattern`` of the pass, or (with None) by the pass's own hand.

    ``number`` counts the rewrites of this pass on this graph, from 1.
    """

    node: torch.fx.Node
    pattern: str | None
    number: int


class NotFollowedWarning(UserWarning):
    """An instrument cannot follow the passes of a hook."""


class Instrument:
    """Told what happens while a pipeline runs. Write a class with the callbacks that are of interest.

    Instruments are called in the order given before something, and in the opposite order after it. One that raises
    `passprint.PassError` stops the pipeline; every instrument then hears of it by `on_error`.

    ``name``: what ``PASSPRINT_INSTRUMENTS`` calls it; the class name in kebab case unless the class sets its own.
    ``changes_graph``: True for an instrument that edits the graph. It then is part of the pipeline's identity, by
    its class and attributes; all others leave the identity as it is.
    ``beyond_graphs``: True for an instrument that also hears of passes over the scheduler's nodes and of partitioners;
    all others hear only of passes that rewrite ``run.graph``.
    ``graphs_only_because``: for one that cannot follow those, why, and what else there is; it is said in a warning.
    """

    name: ClassVar[str] = "instrument"
    changes_graph: ClassVar[bool] = False
    beyond_graphs: ClassVar[bool] = False
    graphs_only_because: ClassVar[str] = ""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" not in cls.__dict__:
            cls.name = kebab_case(cls.__name__)

    def before_pipeline(self, run: PipelineRun) -> None:
        """A manager begins to work on a graph."""

    def after_pipeline(self, run: PipelineRun) -> None:
        """A manager has run all its passes without an error."""

    def before_pass(self, run: PassRun) -> None:
        """A pass is about to run."""

    def after_pass(self, run: PassRun) -> None:
        """A pass has run without an error, and its graph is sound."""

    def before_rewrite(self, run: PassRun, rewrite: Rewrite) -> None:
        """A pattern matched and is about to be replaced. Only patterns can be seen before they rewrite."""

    def after_rewrite(self, run: PassRun, rewrite: Rewrite) -> None:
        """A node was replaced; its uses go to others now, and the rest of the graph may be unfinished."""

    def on_skip(self, pass_: Any, reason: str, run: PipelineRun) -> None:
        """A pass was left out, and why."""

    def on_error(self, run: PassRun, error: Exception) -> None:
        """A pass raised, broke the graph, or was stopped by an instrument. The graph is as it was then."""

    def close(self) -> None:
        """The process ends, or the one who made this instrument is done: write what is left to write."""


#: Every callback that a session may deliver.
EVENTS = (
    "before_pipeline",
    "after_pipeline",
    "before_pass",
    "after_pass",
    "before_rewrite",
    "after_rewrite",
    "on_skip",
    "on_error",
)
