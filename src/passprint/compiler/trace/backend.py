"""Dynamo's side: a graph comes in, a function of compiled pieces goes out."""

from __future__ import annotations

import difflib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch.fx import GraphModule

from passprint.cache import open_store
from passprint.cache.store import StoreSpec
from passprint.compiler.artifacts.stitched import Stitched, choose
from passprint.compiler.given_passes import as_manager
from passprint.compiler.guards.overlap import overlapping
from passprint.compiler.lowering import inductor
from passprint.compiler.lowering.operators import operators_in
from passprint.compiler.pieces import symbols
from passprint.compiler.pieces.find import PieceCompiler
from passprint.compiler.pieces.job import Variant
from passprint.compiler.pieces.piece import Piece
from passprint.compiler.pieces.sizes import SizeOf, SizePlan, varying_size
from passprint.compiler.pieces.stitch import Waiting, stitch
from passprint.compiler.pieces.uncut import in_pieces_or_whole
from passprint.compiler.record import CompileReport, PieceReport
from passprint.compiler.trace.inlining import inline_blocks
from passprint.errors import CompileError
from passprint.passes import CompileRange
from passprint.pipeline import PassManager

logger = logging.getLogger("passprint")

OPTIONS = ("passes", "cache", "split", "compile_sizes", "ranges")


@dataclass
class Made:
    """The latest graph: its code, what it runs as, and the ``size`` that chooses among its variants.

    ``writes``: whether the graph may write to an input. ``operators``: the custom ones that it calls. ``rows``: once
    :meth:`Backend.finish` was called, its pieces with their files, for all sizes and for each variant.
    """

    stitched: Stitched
    run: Callable[..., Any]
    size: SizeOf | None
    ranges: Sequence[CompileRange]
    writes: bool
    operators: Sequence[str]
    rows: Sequence[Sequence[tuple[PieceReport, Mapping[str, bytes | Path]]]] = ()


@dataclass(repr=False)
class Backend:
    """A back end for ``torch.compile`` that compiles each distinct piece of a graph once.

    ``passes``, ``cache`` and ``split`` as for :func:`passprint.compile`, ``sizes`` for its ``compile_sizes`` and
    ``ranges``; ``report`` tells what happened.
    """

    manager: PassManager
    cache: StoreSpec = None
    split: str | Sequence[str] = "blocks"
    sizes: SizePlan = field(default_factory=SizePlan)
    report: CompileReport = field(default_factory=CompileReport)
    handed_over_since: float | None = None
    made: Made | None = None

    def __post_init__(self) -> None:
        self._pieces = PieceCompiler(self.manager, open_store(self.cache), self.report)
        self._finish: Callable[[], None] = lambda: None

    def __repr__(self) -> str:
        return "passprint"

    def __call__(self, gm: GraphModule, example_inputs: Sequence[Any]) -> Callable[..., Any]:
        """Compile one graph of Dynamo's."""
        start = time.perf_counter()
        if self.handed_over_since is not None:
            self.report.seconds["trace"] += start - self.handed_over_since
        with inductor.timed("backend"):
            with self.report.phase("partition"), inductor.timed("partition"):
                inline_blocks(gm)
            in_pieces_or_whole(gm, self.split, self.report, lambda pieces: self._started(gm, pieces))
        self.report.seconds["total"] += time.perf_counter() - (self.handed_over_since or start)
        self.handed_over_since = None
        assert self.made is not None
        return self.made.run

    def finish(self) -> None:
        """Wait for the kernels of the latest graph and store its pieces. Its first call does so too."""
        self._finish()

    def give_up(self) -> None:
        """A trace failed after its graph was lowered: other processes need not wait for what is not finished."""
        self._pieces.give_up()

    def _started(self, gm: GraphModule, pieces: Sequence[Piece]) -> None:
        """The graph as a function of pieces that are being built, with one for each variant of its varying size."""
        size = varying_size(gm.graph) if self.sizes else None
        ranges = [] if size is None else self.sizes.within(symbols.size_range([size.value]))
        variants = [Variant(size.symbol, r) for r in ranges] if size is not None else []
        underway = self._pieces.start(gm, pieces, variants)
        with self.report.phase("stitch"), inductor.timed("stitch"):
            stitched = stitch(gm, pieces)
            rows = [Waiting(stitched, len(pieces), lambda: finish()) for _ in (None, *variants)]
            run, *others = [row.run for row in rows]
            if size is not None and others:
                bounds = [(r.start, r.end) for r in ranges]
                variants_run = [(*pair, other) for pair, other in zip(bounds, others, strict=True)]
                run = choose(size.argument, size.dimension, run, variants_run)
        if underway.writes:
            run = self._unless_overlapping(run, gm)
        made = Made(stitched, run, size, ranges, underway.writes, operators_in(gm))
        told = False

        def finish() -> None:
            nonlocal told
            start = time.perf_counter()
            for row, calls in zip(rows, underway.finish(), strict=True):
                row.put(calls)
            if not told:
                told = True
                made.rows = list(self._pieces.latest)
                self.report.graphs += 1
                self.report.traced += 1
                self.report.seconds["total"] += time.perf_counter() - start
                logger.info("%s", self.report)

        self.made, self._finish = made, finish

    def _unless_overlapping(self, run: Callable[..., Any], gm: GraphModule) -> Callable[..., Any]:
        """The graph, run by torch as it was traced where two inputs overlap in memory: Dynamo does not ask for that.

        Where they did in the first call, which is the one that was traced, the code is made for that: nothing runs it.
        """
        serves = None

        def checked(*inputs: Any) -> Any:
            nonlocal serves
            apart = overlapping(inputs) is None
            if serves is None:
                serves = apart
            if apart and serves:
                return run(*inputs)
            self.finish()  # nobody else does where a graph is not run, and others wait for its pieces
            if OVERLAP not in self.report.notes:
                self.report.notes.append(OVERLAP)
            return gm(*inputs)

        return checked


OVERLAP = "a call with tensors that overlap in memory was not run as compiled: the graph writes to an input"


def passprint_backend(
    gm: GraphModule,
    example_inputs: Sequence[Any],
    *,
    options: Mapping[str, Any] | None = None,
    **unknown: Any,
) -> Callable[..., Any]:
    """The entry point behind ``torch.compile(model, backend="passprint", options={…})``.

    ``options`` may hold ``passes``, ``cache``, ``split``, ``compile_sizes`` and ``ranges``. Raises
    :class:`passprint.CompileError` for others.
    """
    given = {**(options or {}), **unknown}
    check_options(given)
    sizes = SizePlan.of(given.get("compile_sizes"), given.get("ranges"))
    backend = Backend(
        as_manager(given.get("passes")), given.get("cache"), given.get("split", "blocks"), sizes
    )
    return backend(gm, example_inputs)


def check_options(given: Mapping[str, Any]) -> None:
    """Raise for an option that the back end does not have, with the nearest that it has."""
    for name in given:
        if name not in OPTIONS:
            near = difflib.get_close_matches(name, OPTIONS, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise CompileError(
                f"The back end 'passprint' was given the option {name!r}. It takes {', '.join(OPTIONS)}.{hint}"
            )
