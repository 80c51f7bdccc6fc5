"""The way out where cutting a graph is what fails: compile it uncut, as torch does, and say so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from torch.fx import GraphModule

from passprint.compiler.lowering import inductor
from passprint.compiler.pieces.partition import partition
from passprint.compiler.pieces.piece import Piece
from passprint.compiler.record import CompileReport

Made = TypeVar("Made")


class Cut:
    """A graph in pieces; the whole graph as one piece from the step on that fails with more."""

    def __init__(self, gm: GraphModule, split: str | Sequence[str], report: CompileReport) -> None:
        self._gm, self._split, self._report = gm, split, report
        self._pieces: Sequence[Piece] | None = None
        self._told: tuple[slice, slice] | None = None

    def attempt(self, make: Callable[[Sequence[Piece]], Made]) -> Made:
        """What ``make``, one step of the way, makes of the pieces; where it fails, what it makes of the whole graph.

        Raises what fails for the whole graph, and at once what is no failure of torch's: an error of this package (a
        pass that fails is one), or Dynamo's wish to trace again.
        """
        report = self._report
        first = len(report.notes), len(report.misses)
        try:
            if self._pieces is None:
                self._pieces = _partition(self._gm, self._split, report)
            made = make(self._pieces)
            if self._told is None:
                self._told = slice(first[0], len(report.notes)), slice(first[1], len(report.misses))
            return made
        except Exception as error:
            del report.notes[first[0] :], report.misses[first[1] :]  # of pieces that there will not be
            is_whole = self._pieces is not None and len(self._pieces) < 2
            if is_whole or inductor.own_cause(error) is not None or inductor.asks_for_another_trace(error):
                raise
            reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        place = first[0]
        if self._told is not None:
            place = self._told[0].start
            del report.notes[self._told[0]], report.misses[self._told[1]]
        self._pieces = _partition(self._gm, "whole", report)
        made = make(self._pieces)
        report.notes.insert(place, f"compiled uncut, because cutting the graph failed ({reason})")
        return made


def _partition(gm: GraphModule, split: str | Sequence[str], report: CompileReport) -> list[Piece]:
    with report.phase("partition"), inductor.timed("partition"):
        pieces = partition(gm.graph, split)
    inductor.trace_text("passprint_pieces", lambda: _summary(pieces))
    return pieces


def _summary(pieces: Sequence[Piece]) -> str:
    return "\n".join(
        f"{index}: {piece.label}: {len(piece.nodes)} nodes, {len(piece.inputs)} inputs, {len(piece.outputs)} outputs"
        for index, piece in enumerate(pieces)
    )
