"""What happened in a compile: the data behind ``compiled.report``. How it is shown is the report room's."""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from passprint.compiler.kept_reports import keep

if TYPE_CHECKING:
    from passprint.cache import Miss, Store

SCHEMA = 2
"""Raised when the form of :meth:`CompileReport.to_dict` changes; docs/report.md describes it."""

BUILT = "kernels"
"""The phase of spans in which kernels are built beside all else; no part of ``seconds``."""

Status = Literal["pending", "cold", "warm", "bypass"]
Origin = Literal["compiled", "store", "memory"]


class PieceReport(NamedTuple):
    """One piece of a graph. ``origin``: compiled now, found in the store, or the same as an earlier piece.

    ``matches``: by pass, how often it matched in this piece when the piece was compiled.

    ``sizes``: the sizes that it was compiled for, as ``"[8, 8]"``, where it belongs to a variant.

    ``bypass`` says why the store was not used for it, or is None. ``lookup_ms`` is the time for describing the
    piece, making its key and looking for it.
    """

    label: str
    digest: str
    nodes: int
    origin: Origin
    form: str
    bypass: str | None
    lookup_ms: float
    matches: Mapping[str, int]
    sizes: str | None = None


class GraphBreak(NamedTuple):
    """Where a model stopped being one graph: ``place`` is file, line and function, ``line`` the source there.

    ``reason`` is torch's.
    """

    place: str
    line: str
    reason: str

    def __str__(self) -> str:
        if not self.place:
            return self.reason
        return f"{self.place}: {self.line} ({self.reason})" if self.line else f"{self.place} ({self.reason})"


class Span(NamedTuple):
    """When a phase ran: ``start`` and ``end`` in seconds since the report was made, ``piece`` what it was spent on."""

    phase: str
    start: float
    end: float
    piece: str | None = None


@dataclass(eq=False, repr=False)
class CompileReport:
    """Everything that ``passprint.compile`` did for one model, over all graphs that were compiled so far.

    Attributes:
        graphs: how many graphs serve the model (one, unless a call needed another).
        traced: how many of them Dynamo traced in this process.
        loaded: how many were loaded whole, without any trace.
        pieces_seen: one record per piece, in order.
        variants_seen: the same for each variant of ``compile_sizes`` and ``ranges``.
        seconds: by phase, in seconds: ``manifest`` (what a stored program was compiled with), ``identity`` (of the
            model, of code, keys and passes), ``lookup`` (asking the store), ``prepare`` (importing the compiler),
            ``wait`` (for another process that compiles the same), ``trace`` (Dynamo, up to the hand-over),
            ``partition``, ``compile``, ``build`` (waiting for kernels), ``store``, ``load``, ``total``.
        notes: reasons worth reading: why a piece was compiled, why the cache was bypassed.
        traced_because: for each trace that a stored program could have spared, why none of them served.
        misses: why each was compiled, with what differs from the nearest that was stored.
        graph_breaks: where the model is not one graph; it is then traced in every process, in parts.
        spans: when each phase ran, in the order of their ends.
        pipeline: the passes as text, as far as one was made in this process.
        pass_runs: what each pass did to each graph, where the instrument ``record`` listened.
        spared: seconds that the compile took which stored the loaded programs; None where nothing was loaded whole.
        store: where pieces and programs were looked for; None until that is known.
        began: when the report was made, in seconds since 1970.
    """

    graphs: int = 0
    traced: int = 0
    loaded: int = 0
    pieces_seen: list[PieceReport] = field(default_factory=list)
    variants_seen: list[PieceReport] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    notes: list[str] = field(default_factory=list)
    traced_because: list[str] = field(default_factory=list)
    misses: list[Miss] = field(default_factory=list)
    graph_breaks: list[GraphBreak] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    pipeline: str = ""
    pass_runs: list[dict[str, Any]] = field(default_factory=list)
    spared: float | None = None
    store: Store | None = None
    began: float = field(default_factory=time.time)
    _zero: float = field(default_factory=time.perf_counter)
    _number: int = field(default_factory=itertools.count().__next__)

    @property
    def status(self) -> Status:
        """``cold`` if anything was compiled, ``bypass`` if anything could not be cached, else ``warm``.

        ``pending`` before the first call: compiling starts when the inputs are known. ``bypass`` also where graph
        breaks leave nothing to compile.
        """
        if not self.pieces_seen:
            return "warm" if self.graphs else "bypass" if self.graph_breaks else "pending"
        every = (*self.pieces_seen, *self.variants_seen)
        if any(p.bypass for p in every):
            return "bypass"
        return "cold" if any(p.origin == "compiled" for p in every) else "warm"

    @property
    def why(self) -> str | None:
        """The first reason for a status other than ``warm``, or None: why it was traced, and why compiled.

        A ``warm`` start has one where it had to trace although every piece was found.
        """
        traced = self._traced()
        if self.status == "bypass":
            bypass = next((p.bypass for p in (*self.pieces_seen, *self.variants_seen) if p.bypass), None)
            return bypass or f"nothing was compiled, it runs as Python: {'; '.join(traced)}"
        if self.status == "warm":
            missed = [
                miss.reason for miss in self.misses if miss.kind == "model"
            ]  # also that there is none at all
            return next(iter([*traced, *missed]), None)
        return "; ".join([*traced, *self.notes[:1]]) if self.status == "cold" and self.notes else None

    def _traced(self) -> list[str]:
        """The first reason for a trace, with what differs from the program that is stored; none where there is none."""
        missed = next((miss for miss in self.misses if miss.kind == "model"), None)
        if not self.traced_because:
            return [missed.in_short()] if missed is not None and missed.nearest else []
        reason = self.traced_because[0]
        if missed is None or not missed.changes or not missed.reason.endswith(reason) or " and is " in reason:
            return [reason]
        from passprint.cache.miss import and_more, change_text  # only a miss needs it

        return [f"{reason}: {and_more([change_text(change) for change in missed.changes])}"]

    @property
    def pieces(self) -> int:
        return len(self.pieces_seen)

    @property
    def distinct_pieces(self) -> int:
        return len({p.digest for p in self.pieces_seen})

    @property
    def variants(self) -> dict[str, list[PieceReport]]:
        """By sizes, as ``"[8, 8]"``, the pieces of each variant in order; those that are general code are in memory."""
        by_sizes: dict[str, list[PieceReport]] = {}
        for piece in self.variants_seen:
            by_sizes.setdefault(str(piece.sizes), []).append(piece)
        return by_sizes

    @property
    def lookups(self) -> int:
        """Pieces that were looked up, in memory or in the store."""
        return self.pieces

    @property
    def lookup_ms(self) -> float:
        """Milliseconds for all lookups together."""
        return sum(p.lookup_ms for p in self.pieces_seen)

    @property
    def repeated_piece_ms(self) -> float | None:
        """Milliseconds per piece that equals an earlier one (the median), or None where there is none."""
        times = sorted(p.lookup_ms for p in self.pieces_seen if p.origin == "memory")
        return times[len(times) // 2] if times else None

    @property
    def matches(self) -> Counter[str]:
        """By pass, how often it matched in the whole model; a piece that stands thirty times counts thirty times.

        Pieces that were loaded bring their counts from the store. A pattern pass also counts by pattern, as
        ``"pass/pattern"``.
        """
        counted: Counter[str] = Counter()
        for piece in self.pieces_seen:
            counted.update(piece.matches)
        return counted

    @contextmanager
    def phase(self, name: str, piece: str | None = None) -> Iterator[None]:
        """Add the time of a block to ``seconds[name]``, and its span; ``piece``: what it was spent on."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.spent(name, start, time.perf_counter(), piece)

    def spent(self, name: str, start: float, end: float, piece: str | None = None) -> None:
        """Add a span of time (``time.perf_counter``) to ``seconds[name]``."""
        self.seconds[name] += end - start
        self.spans.append(Span(name, start - self._zero, end - self._zero, piece))

    def built(self, times: Iterable[tuple[float, float]], piece: str) -> None:
        """Kernels of a piece were built beside all else at these times (``time.perf_counter``)."""
        self.spans.extend(Span(BUILT, start - self._zero, end - self._zero, piece) for start, end in times)

    @property
    def name(self) -> str:
        """A name for files: when it began, the process, and which report of the process it is."""
        at = time.strftime("%Y%m%dT%H%M%S", time.gmtime(self.began))
        return f"{at}-{os.getpid()}-{self._number}"

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON data, without what only the store knows (:meth:`to_json` has that as well)."""
        program = os.path.basename(sys.argv[0]) if sys.argv and sys.argv[0] else "python"
        return {
            "schema": SCHEMA,
            "name": self.name,
            "began": self.began,
            "process": {"id": os.getpid(), "program": program},
            "status": self.status,
            "why": self.why,
            "graphs": self.graphs,
            "traced": self.traced,
            "loaded": self.loaded,
            "pieces": self.pieces,
            "distinct_pieces": self.distinct_pieces,
            "lookups": self.lookups,
            "lookup_ms": self.lookup_ms,
            "repeated_piece_ms": self.repeated_piece_ms,
            "seconds": dict(self.seconds),
            "spared": self.spared,
            "spans": [span._asdict() for span in self.spans],
            "pipeline": self.pipeline,
            "pass_runs": list(self.pass_runs),
            "matches": dict(self.matches),
            "notes": list(self.notes),
            "traced_because": list(self.traced_because),
            "misses": [miss.to_dict() for miss in self.misses],
            "graph_breaks": [one._asdict() for one in self.graph_breaks],
            "each_piece": [{**p._asdict(), "matches": dict(p.matches)} for p in self.pieces_seen],
            "variants": [{**p._asdict(), "matches": dict(p.matches)} for p in self.variants_seen],
        }

    def to_json(self) -> str:
        """The report as the JSON text that docs/report.md describes, with keys, graphs and code from the store."""
        from passprint.compiler.details import document

        return json.dumps(document(self.to_dict(), self.store), indent=1)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the report to a file: ``.html``, a page; ``.json``, the same as data.

        ``trace.json`` and other names that end so, as in ``start.trace.json``, are for Perfetto.

        Raises :class:`passprint.PassprintError` for another ending, and where jinja2 is missing for a page;
        OSError where the file cannot be written.
        """
        from passprint.shown import save

        save(json.loads(self.to_json()), path)

    def _repr_html_(self) -> str | None:
        """For a notebook."""
        from passprint.shown import snippet

        return snippet("report", self.to_dict())

    def __str__(self) -> str:
        total = self.seconds.get("total", 0.0)
        pieces = "1 piece" if self.pieces == 1 else f"{self.pieces} pieces"
        said = f"{self.status}: {pieces}, {self.distinct_pieces} distinct, {total:.2f} s"
        return f"{said} ({self.why})" if self.why else said


def finished(report: CompileReport) -> None:
    """A start of this report's model is over, warm or cold: keep the report for ``passprint report``."""
    if FOLDER in os.environ:
        from passprint.shown import keep_page

        keep_page(report, os.environ[FOLDER])
    keep(report)


FOLDER = "PASSPRINT_REPORT"
"""The variable that names the folder for pages, one for each compile."""

_latest: list[CompileReport] = []


def tell(report: CompileReport) -> None:
    """A model of this report begins to start: from now on it is the last one."""
    _latest[:] = [report]


def last_report() -> CompileReport | None:
    """The report of the model that was traced or loaded last in this process, through any door; None before the first.

    For doors that give back an object of torch's: ``torch.compile(model, backend="passprint")``,
    ``model.compile(backend="passprint")``, a library that compiles by itself.
    """
    return _latest[0] if _latest else None
