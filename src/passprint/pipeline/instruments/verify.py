"""Checks the graph after every pass, and stops at the first pass that broke it."""

from __future__ import annotations

from passprint.errors import PassError
from passprint.passes import pass_context
from passprint.pipeline.graph_text import difference, structure_text
from passprint.pipeline.instruments.base import Instrument, PassRun, PipelineRun
from passprint.pipeline.snapshots import copy_graph
from passprint.pipeline.verifier import Checked, Fault, faults, look

#: How many lines of difference, and how many further faults, an error shows.
_LINES, _FAULTS = 40, 4


class Verify(Instrument):
    """After every pass: order and users of nodes; the same inputs and outputs; ``meta["val"]`` there and equal to what
    the operator gives (shape, dtype, strides, device, symbolic sizes, shared memory); the same writes, random numbers
    and checks in the same order; no new write; nothing left over. What was wrong before the pass is not its fault.

    ``functional``: whether a new write to memory is a fault (never at "pre_grad", where graphs are not functional).
    ``repeat``: also run each pass on a copy of its graph; a pass that gives another graph the second time is at fault.
    Raises PassError from the pipeline: it names the pass, the node and the expectation, and shows the difference.
    """

    def __init__(self, *, functional: bool = True, repeat: bool = False) -> None:
        self._functional = functional
        self._repeat = repeat
        self._known: dict[PipelineRun, Checked] = {}
        self._before: dict[PassRun, Checked] = {}
        self._second: dict[PassRun, str] = {}

    def __str__(self) -> str:
        options = [
            f"{key}={value}" for key, value in (("functional", self._functional), ("repeat", self._repeat))
        ]
        return f"{self.name}{{{','.join(options)}}}"

    def before_pass(self, run: PassRun) -> None:
        self._before[run] = look(run.graph, self._known.get(run.within[0]))
        if self._repeat:
            copy = copy_graph(run.graph)
            with pass_context(run.context.compile_range) as inner:
                inner.is_inference = run.context.is_inference
                run.pass_(copy)
            self._second[run] = structure_text(copy)

    def after_pass(self, run: PassRun) -> None:
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
        if self._repeat and self._second.pop(run) != structure_text(run.graph):
            advice = "Iterate over nodes in their order, never over a set; ask no clock and no random numbers"
            found.append(
                Fault("determinism", None, "on a copy of the same graph it gives another graph", advice)
            )
        if found:
            raise _error(run, before, after, found)
        self._known[run.within[0]] = after

    def after_pipeline(self, run: PipelineRun) -> None:
        self._known.pop(run, None)

    def on_error(self, run: PassRun, error: Exception) -> None:
        self._before.pop(run, None)
        self._second.pop(run, None)
        for pipeline in run.within:
            self._known.pop(pipeline, None)


def _error(run: PassRun, before: Checked, after: Checked, found: list[Fault]) -> PassError:
    first = found[0]
    diff = difference(before.snapshot.text(), after.snapshot.text(), ("before", "after")).splitlines()
    shown = diff[2:][:_LINES] or ["(the nodes are the same)"]
    more = [f"  … {len(diff) - 2 - _LINES} more lines"] if len(diff) - 2 > _LINES else []
    others = [f"  also: {fault.reason}" for fault in found[1 : 1 + _FAULTS]]
    if len(found) > 1 + _FAULTS:
        others.append(f"  and {len(found) - 1 - _FAULTS} more")
    lines = [
        f"the pass '{run.name}' broke the graph ({first.rule}): {first.reason}",
        *others,
        "What it changed:",
        *[f"  {line}" for line in shown],
        *more,
        first.advice,
    ]
    return PassError("\n".join(lines), pass_name=run.name, node=first.node, reason=first.reason)
