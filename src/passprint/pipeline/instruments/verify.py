"""Checks the graph after every pass, and stops at the first pass that broke it."""

from __future__ import annotations

from typing import Any, ClassVar

from passprint.errors import PassError
from passprint.passes import pass_context
from passprint.pipeline import foreign
from passprint.pipeline.beyond_graphs import cut_faults, scheduling_faults
from passprint.pipeline.checked import Checked
from passprint.pipeline.faults import Fault, named
from passprint.pipeline.graph_text import difference, nodes_text, structure_text
from passprint.pipeline.instruments.base import Instrument, PassRun, PipelineRun
from passprint.pipeline.snapshots import copy_graph
from passprint.pipeline.torch_door import HOOKS, guards_of
from passprint.pipeline.verifier import faults, look

#: How many lines of difference, and how many further faults, an error shows.
_LINES, _FAULTS = 40, 4


class Verify(Instrument):
    """After every pass: order and users of nodes; the same inputs and outputs; ``meta["val"]`` there and equal to what
    the operator gives (shape, dtype, strides, device, symbolic sizes, shared memory); the same writes, random numbers
    and checks in the same order; no new write; nothing left over. What was wrong before the pass is not its fault.

    ``functional``: whether a new write to memory is a fault (never at "pre_grad", where graphs are not functional).
    ``repeat``: also run each pass on a copy of its graph; a pass that gives another graph the second time is at fault.
    Of the scheduler's nodes: each is there once, after what it needs. Of a partitioner's two graphs: each is sound.
    Raises PassError from the pipeline: it names the pass, the node and the expectation, and shows the difference.
    """

    beyond_graphs: ClassVar[bool] = True

    def __init__(self, *, functional: bool = True, repeat: bool = False) -> None:
        self._functional = functional
        self._repeat = repeat
        self._known: dict[PipelineRun, Checked] = {}
        self._before: dict[PassRun, Checked] = {}
        self._guards: dict[PassRun, int] = {}
        self._second: dict[PassRun, str] = {}
        self._scheduled: dict[PassRun, list[Any]] = {}

    def __str__(self) -> str:
        options = [
            f"{key}={value}" for key, value in (("functional", self._functional), ("repeat", self._repeat))
        ]
        return f"{self.name}{{{','.join(options)}}}"

    def before_pass(self, run: PassRun) -> None:
        if _is_beyond_graphs(run):
            self._scheduled[run] = list(run.scheduled or ())
            return
        self._before[run] = look(run.graph, self._known.get(run.outermost_for(self)))
        self._guards[run] = len(guards_of(run.graph))
        if self._repeat:
            copy = copy_graph(run.graph)
            with named(run.name), pass_context(run.context.compile_range) as inner:
                inner.is_inference = run.context.is_inference
                run.pass_(copy)
            self._second[run] = structure_text(copy)

    def after_pass(self, run: PassRun) -> None:
        if _is_beyond_graphs(run):
            self._check_beyond_graphs(run)
            return
        before = self._before.pop(run)
        after = look(run.graph, before)
        is_functional = run.within[0].hook != "pre_grad"
        found = list(
            faults(
                before,
                after,
                needs_values=is_functional,
                functional=self._functional and is_functional,
            )
        )
        found.extend(foreign.guards(guards_of(run.graph)[self._guards.pop(run) :]))
        if self._repeat and self._second.pop(run) != structure_text(run.graph):
            advice = "Iterate over nodes in their order, never over a set; ask no clock and no random numbers"
            found.append(
                Fault("determinism", None, "on a copy of the same graph it gives another graph", advice)
            )
        if found:
            raise _error(run, before, after, found)
        self._known[run.outermost_for(self)] = after

    def _check_beyond_graphs(self, run: PassRun) -> None:
        before = self._scheduled.pop(run)
        if run.scheduled is not None:
            found = list(scheduling_faults(before, run.scheduled))
            was, now, what = (
                nodes_text(before),
                nodes_text(run.scheduled),
                "the order of the scheduler's nodes",
            )
        else:
            found = list(cut_faults(run.graph, run.parts))
            was, now, what = "", "", "the cut"
        if found:
            raise _error_of(run.name, found, difference(was, now, ("before", "after")), what)

    def after_pipeline(self, run: PipelineRun) -> None:
        self._known.pop(run, None)

    def on_error(self, run: PassRun, error: Exception) -> None:
        self._before.pop(run, None)
        self._guards.pop(run, None)
        self._second.pop(run, None)
        self._scheduled.pop(run, None)
        for pipeline in run.within:
            self._known.pop(pipeline, None)


def _is_beyond_graphs(run: PassRun) -> bool:
    """Whether the pass is one over the scheduler's nodes, or a partitioner."""
    hook = run.within[-1].hook
    return hook is not None and HOOKS[hook].takes != "graph"


def _error(run: PassRun, before: Checked, after: Checked, found: list[Fault]) -> PassError:
    text = difference(before.snapshot.text(), after.snapshot.text(), ("before", "after"))
    return _error_of(run.name, found, text, "the graph")


def _error_of(name: str, found: list[Fault], text: str, what: str) -> PassError:
    first, diff = found[0], text.splitlines()
    shown = diff[2:][:_LINES] or ["(the nodes are the same)"]
    more = [f"  … {len(diff) - 2 - _LINES} more lines"] if len(diff) - 2 > _LINES else []
    others = [f"  also: {fault.reason}" for fault in found[1 : 1 + _FAULTS]]
    if len(found) > 1 + _FAULTS:
        others.append(f"  and {len(found) - 1 - _FAULTS} more")
    lines = [
        f"the pass '{name}' broke {what} ({first.rule}): {first.reason}",
        *others,
        "What it changed:",
        *[f"  {line}" for line in shown],
        *more,
        first.advice,
    ]
    return PassError("\n".join(lines), pass_name=name, node=first.node, reason=first.reason)
