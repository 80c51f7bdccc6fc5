"""Dynamo's side: a graph comes in, a function of compiled pieces goes out."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch.fx import GraphModule

from passprint.cache import open_store
from passprint.cache.store import StoreSpec
from passprint.compiler.artifacts.stitched import Runnable, Stitched, choose
from passprint.compiler.guards.overlap import overlapping
from passprint.compiler.lowering import inductor
from passprint.compiler.lowering.user_code import operators_in
from passprint.compiler.pieces import symbols
from passprint.compiler.pieces.find import PieceCompiler
from passprint.compiler.pieces.job import Variant
from passprint.compiler.pieces.pending import PendingPieces, PieceFiles
from passprint.compiler.pieces.piece import Piece
from passprint.compiler.pieces.sizes import SizeOf, SizePlan, varying_size
from passprint.compiler.pieces.stitch import stitch
from passprint.compiler.pieces.uncut import Cut
from passprint.compiler.record import CompileReport, PieceReport, finished
from passprint.compiler.trace.inlining import inline_blocks
from passprint.errors import CompileError
from passprint.pipeline import PassManager

logger = logging.getLogger("passprint")


class Made:
    """One graph as it runs, whose kernels may still be being built; its first call waits for them.

    Attributes:
        run: the graph as a function of its placeholders; once finished, without a step in between.
        stitched: the code that calls the pieces in order.
        size: what chooses among ``ranges``, the sizes of its variants; None where there are none.
        operators: the custom operators that it calls.
    """

    def __init__(self, backend: Backend, gm: GraphModule) -> None:
        """Find or lower the pieces, and start to build them."""
        self._backend, self._gm, self._report = backend, gm, backend.report
        self.size: SizeOf | None = varying_size(gm.graph) if backend.sizes else None
        self.ranges = [] if self.size is None else backend.sizes.within(symbols.size_range([self.size.value]))
        self._variants = [Variant(self.size.symbol, r) for r in self.ranges] if self.size is not None else []
        self._cut = Cut(gm, backend.split, self._report)
        self._pending = self._cut.attempt(self._start)
        self._running = [_Running(self.finish) for _ in (None, *self._variants)]
        self.operators: Sequence[str] = operators_in(gm)
        run = self._whole(self._running)
        self.run = _UnlessOverlapping(run, gm, self) if self.writes else run
        self._told = False
        self._lock = threading.RLock()

    def _start(self, pieces: Sequence[Piece]) -> PendingPieces:
        self._pieces = pieces
        pending = self._backend.pieces.start(self._gm, pieces, self._variants)
        with self._report.phase("stitch"), inductor.timed("stitch"):
            self.stitched: Stitched = stitch(self._gm, pieces)
        return pending

    def _whole(self, parts: Sequence[Callable[..., Any]]) -> Callable[..., Any]:
        """The graph, given it for all sizes and for each variant."""
        run, *others = parts
        if self.size is not None and others:
            by_size = [(r.start, r.end, other) for r, other in zip(self.ranges, others, strict=True)]
            return choose(self.size.argument, self.size.dimension, run, by_size)
        return run

    @property
    def unasked(self) -> Callable[..., Any]:
        """Once finished, the graph for whoever has asked whether tensors overlap."""
        return self.run.run if isinstance(self.run, _UnlessOverlapping) else self.run

    @property
    def writes(self) -> bool:
        """Whether the graph may write to an input."""
        return self._pending.writes

    @property
    def rows(self) -> Sequence[Sequence[tuple[PieceReport, PieceFiles]]]:
        """Once finished, the pieces with their files, for all sizes and for each variant."""
        return self._pending.rows

    def finish(self) -> None:
        """Wait for the kernels and store the pieces; where a build fails, build the graph uncut."""
        with self._lock:
            if self._told:
                return
            start = time.perf_counter()
            made = [self.stitched.assemble(calls) for calls in self._cut.attempt(self._finish)]
            for running, run in zip(self._running, made, strict=True):
                running.run = run
            if isinstance(self.run, _UnlessOverlapping):
                self.run.run = self._whole(made)
            else:
                self.run = self._whole(made)
            self._told = True
            self._report.graphs += 1
            self._report.traced += 1
            self._report.seconds["total"] += time.perf_counter() - start
            logger.info("%s", self._report)
            finished(self._report)

    def _finish(self, pieces: Sequence[Piece]) -> list[list[Runnable]]:
        if pieces is not self._pieces:
            shape_env = symbols.shape_env_of(
                [node.meta.get("example_value") for node in self._gm.graph.nodes]
            )
            known = symbols.guard_count(shape_env)
            self._pending = self._start(pieces)
            if symbols.guard_count(shape_env) != known:  # Dynamo's guards are built already
                raise CompileError(
                    "Its pieces cannot be built, and uncut the graph does not hold for all sizes."
                )
        return self._pending.finish()

    def ran_as_traced(self) -> None:
        """A call was not run as compiled, because its tensors overlap in memory."""
        self.finish()  # nobody else does where a graph is not run, and others wait for its pieces
        if OVERLAP not in self._report.notes:
            self._report.notes.append(OVERLAP)


class _Running:
    """A graph for all sizes or for some: its first call waits for its kernels, if nobody did."""

    def __init__(self, finish: Callable[[], None]) -> None:
        self._finish = finish
        self.run: Callable[..., Any] | None = None

    def __call__(self, *inputs: Any) -> Any:
        if self.run is None:
            self._finish()
            assert self.run is not None
        return self.run(*inputs)


class _UnlessOverlapping:
    """A graph, run by torch as it was traced where two inputs overlap in memory: Dynamo does not ask for that.

    Where they did in the first call, which is the one that was traced, the code is made for that: nothing runs it.
    """

    def __init__(self, run: Callable[..., Any], gm: GraphModule, made: Made) -> None:
        self.run, self._gm, self._made = run, gm, made
        self._serves: bool | None = None

    def __call__(self, *inputs: Any) -> Any:
        apart = overlapping(inputs) is None
        if self._serves is None:
            self._serves = apart
        if apart and self._serves:
            return self.run(*inputs)
        self._made.ran_as_traced()
        return self._gm(*inputs)


@dataclass(repr=False)
class Backend:
    """A back end for ``torch.compile`` that compiles each distinct piece of a graph once.

    ``cache`` and ``split`` as for :func:`passprint.compile`, ``sizes`` for its ``compile_sizes`` and ``ranges``,
    ``settings`` are Inductor's; ``report`` tells what happened.
    """

    manager: PassManager
    cache: StoreSpec = None
    split: str | Sequence[str] = "blocks"
    sizes: SizePlan = field(default_factory=SizePlan)
    report: CompileReport = field(default_factory=CompileReport)
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.report.store = open_store(self.cache)
        self.pieces = PieceCompiler(self.manager, self.report.store, self.report, self.settings)

    def __repr__(self) -> str:
        return "passprint"

    def __call__(self, gm: GraphModule, example_inputs: Sequence[Any]) -> Callable[..., Any]:
        """Compile one graph of Dynamo's."""
        return self.compile(gm).run

    def compile(self, gm: GraphModule, traced_since: float | None = None) -> Made:
        """Compile one graph. ``traced_since``: when its trace began (``time.perf_counter``), for the report."""
        start = time.perf_counter()
        if traced_since is not None:
            self.report.spent("trace", traced_since, start)
        with inductor.timed("backend"):
            with self.report.phase("partition"), inductor.timed("partition"):
                inline_blocks(gm)
            made = Made(self, gm)
        self.report.seconds["total"] += time.perf_counter() - (traced_since or start)
        return made

    def give_up(self) -> None:
        """A trace failed after its graph was lowered: other processes need not wait for what is not finished."""
        self.pieces.give_up()


OVERLAP = "a call with tensors that overlap in memory was not run as compiled: the graph writes to an input"
