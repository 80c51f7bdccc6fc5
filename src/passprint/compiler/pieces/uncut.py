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


def in_pieces_or_whole(
    gm: GraphModule,
    split: str | Sequence[str],
    report: CompileReport,
    make: Callable[[Sequence[Piece]], Made],
) -> Made:
    """What ``make`` makes of the pieces of a graph; of the whole graph as one piece, where that fails in pieces.

    Raises what fails for the whole graph, and at once what is no failure of torch's: an error of this package (a pass
    that fails is one), or Dynamo's wish to trace again.
    """
    notes, misses = len(report.notes), len(report.misses)
    pieces: Sequence[Piece] | None = None
    try:
        pieces = _partition(gm, split, report)
        return make(pieces)
    except Exception as error:
        is_whole = pieces is not None and len(pieces) < 2
        if is_whole or inductor.own_cause(error) is not None or inductor.asks_for_another_trace(error):
            raise
        reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
    del report.notes[notes:], report.misses[misses:]  # they tell of pieces that there will not be
    made = make(_partition(gm, "whole", report))
    report.notes.insert(notes, f"compiled uncut, because cutting the graph failed ({reason})")
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
