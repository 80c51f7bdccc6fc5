"""From a piece to something that runs: find an equal one, or an entry in the store, or compile it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.fx import GraphModule, Node

from passprint.cache import Entry, Miss, Store, explain_miss, with_sources
from passprint.compiler import inductor
from passprint.compiler.artifact import Runnable, boxed, pack, unpack
from passprint.compiler.builds import BackgroundBuilds
from passprint.compiler.key import COMPILER, Environment, environment, piece_key
from passprint.compiler.partition import Piece, extract, symbol_sources
from passprint.compiler.record import CompileReport, Origin, PieceReport
from passprint.compiler.structure import Structure, Texts, describe
from passprint.compiler.variants import CannotSpecialise, specialise
from passprint.errors import CacheError, CompileError
from passprint.identity import Fingerprint
from passprint.passes import CompileRange, pass_context
from passprint.pipeline import PassManager
from passprint.pipeline.alarm import alarm


@dataclass(frozen=True)
class Variant:
    """Code of its own for some sizes of one symbol of a graph."""

    symbol: str
    sizes: CompileRange


@dataclass
class _Ready:
    """A piece, and the guards on its symbols that its compilation relied on.

    ``run`` is None while its kernels are being built; ``finish`` then waits for them. ``bypass`` says why it was not
    stored, or is None.
    """

    run: Runnable | None
    form: str
    guards: str | None
    matches: Mapping[str, int]
    bypass: str | None = None
    finish: Callable[[], None] | None = None
    files: Mapping[str, bytes | Path] = field(default_factory=dict)


@dataclass
class PieceCompiler:
    """Compiles the pieces of one model's graphs; equal pieces share one result. Not for several threads."""

    manager: PassManager
    store: Store
    report: CompileReport
    _ready: dict[str, _Ready] = field(default_factory=dict)
    _found: dict[str, Entry | None] = field(default_factory=dict)
    _held: list[Entry] = field(default_factory=list)
    latest: list[tuple[PieceReport, Mapping[str, bytes | Path]]] = field(default_factory=list)
    """The pieces of the latest graph, in order, each with the files that it runs from (none if it is not stored)."""
    _sources: Mapping[str, str] | None = None
    _refused: dict[str, str] = field(default_factory=dict)

    def compile_all(self, gm: GraphModule, pieces: Sequence[Piece]) -> list[Runnable]:
        """One runnable per piece, in order."""
        return self.compile_variants(gm, pieces, ())[0]

    def compile_variants(
        self, gm: GraphModule, pieces: Sequence[Piece], variants: Sequence[Variant]
    ) -> list[list[Runnable]]:
        """One runnable per piece, in order, for all sizes and then for each variant.

        Kernels of a piece are built while the next pieces are lowered. A piece without the varying size, or one that
        cannot be specialised, is in a variant what it is for all sizes.
        """
        graph = _Graph(gm)
        self.latest.clear()
        with self.report.phase("identity"), inductor.timed("identity"):
            shared = environment(self.manager, graph.device_types)
            jobs = [[self._job(piece, graph, shared, v) for piece in pieces] for v in (None, *variants)]
        with alarm.compile() as compiled, self._compiling([job for row in jobs for job in row]):
            general = [self._one(job) for job in jobs[0]]
            rows = [
                general,
                *([self._variant(*pair) for pair in zip(r, general, strict=True)] for r in jobs[1:]),
            ]
            for ready, _ in (result for row in rows for result in row):
                if ready.finish is not None:
                    ready.finish()
            told = [
                [job.report(*result) for job, result in zip(*pair, strict=True)]
                for pair in zip(jobs, rows, strict=True)
            ]
            self.report.pieces_seen.extend(told[0])
            self.latest.extend((seen, ready.files) for seen, (ready, _) in zip(told[0], general, strict=True))
            self.report.variants_seen.extend(piece for row in told[1:] for piece in row)
            for seen in (*self.report.pieces_seen, *self.report.variants_seen):
                compiled.add_matches(seen.matches)
        return [[_runnable(ready) for ready, _ in row] for row in rows]

    def _job(self, piece: Piece, graph: _Graph, shared: Environment, variant: Variant | None) -> _Job:
        start = time.perf_counter()
        structure = describe(piece, graph.gm, graph.facts, graph.texts)
        sizes = None
        if variant is not None and variant.symbol in structure.symbols:
            sizes = f"d{structure.symbols.index(variant.symbol)} in {variant.sizes}"
        key = piece_key(structure, shared, sizes)
        opaque = (*structure.opaque, *shared.opaque, *key.opaque)
        bypass = f"cannot be identified: {opaque[0]}" if opaque else None
        symbols = [graph.symbol(name) for name in structure.symbols]
        took = (time.perf_counter() - start) * 1e3
        return _Job(
            piece, graph, structure, key, symbols, bypass, took, variant, specialised=sizes is not None
        )

    def _variant(self, job: _Job, general: tuple[_Ready, Origin]) -> tuple[_Ready, Origin]:
        """The piece for some sizes, or what it is for all."""
        if not job.specialised:
            return general[0], "memory"
        try:
            return self._one(job)
        except CannotSpecialise as error:
            self.report.notes.append(
                f"{job.piece.label} for sizes {job.sizes}: the general code serves, {error}"
            )
            return general[0], "memory"

    def _one(self, job: _Job) -> tuple[_Ready, Origin]:
        start = time.perf_counter()
        ready, origin = self._known(job)
        job.lookup_ms += (time.perf_counter() - start) * 1e3
        if ready is None:
            if not job.bypass:
                self._missed(job, self._explained(job))
            ready, origin = self._compile(job), "compiled"
        return ready, origin

    @contextmanager
    def _compiling(self, jobs: Sequence[_Job]) -> Iterator[None]:
        """Ask the store for what is not in memory, and be the only one of all processes that makes what it lacks.

        The locks are taken in the order of the keys, so that processes with pieces in common never wait in a circle.
        """
        asked = {job.key.digest: job for job in jobs if not job.bypass and job.key.digest not in self._ready}
        try:
            with ExitStack() as locks:
                with self.report.phase("lookup"), inductor.timed("lookup"):
                    for digest, job in asked.items():
                        self._found[digest] = self._ask(job)
                for digest in sorted(d for d in asked if self._found[d] is None):
                    self._found[digest] = locks.enter_context(self.store.compiling(digest))
                yield
        finally:
            for entry in self._found.values():
                if entry is not None:
                    entry.close()
            self._found.clear()

    def _ask(self, job: _Job) -> Entry | None:
        start = time.perf_counter()
        if inductor.has_compiler():
            entry = self.store.get(job.key.digest)
        else:
            entry = self.store.get_but_for(job.key, {COMPILER})
        job.lookup_ms += (time.perf_counter() - start) * 1e3
        return entry

    # -- found

    def _known(self, job: _Job) -> tuple[_Ready | None, Origin]:
        """The piece from memory or from the store, if its guards hold for these symbols as well."""
        ready = self._ready.get(job.key.digest)
        if ready is not None and job.accepts(ready.guards):
            return ready, "memory"
        entry = self._found.pop(job.key.digest, None)
        return (self._load(entry, job), "store") if entry is not None else (None, "compiled")

    def _load(self, entry: Entry, job: _Job) -> _Ready | None:
        """Make a stored entry runnable; one that cannot be is a miss with a reason, never a failure."""
        guards = entry.meta["guards"]
        if not job.accepts(guards):
            entry.close()
            self._refused[job.key.digest] = f"the stored piece was built for other sizes: {guards}"
            return None
        try:
            with self.report.phase("load"), inductor.timed("load"):
                run = unpack(entry.meta["form"], entry, job.label)
        except (CacheError, OSError, ImportError) as error:
            entry.close()
            self._refused[job.key.digest] = f"the stored piece could not be loaded: {error}"
            return None
        self._held.append(entry)
        files = {name: entry.path(name) for name in entry.files}
        ready = _Ready(run, entry.meta["form"], guards, entry.meta["matches"], files=files)
        self._ready[job.key.digest] = ready
        return ready

    # -- made

    def _compile(self, job: _Job) -> _Ready:
        """Lower a piece and start its builds; ``finish`` of the result waits for them and stores it."""
        builds = BackgroundBuilds()
        with self.report.phase("compile"), inductor.timed("compile"):
            artifact, matches = self._run_inductor(job, builds)
        guards = None
        if not job.specialised:
            guards = inductor.guards_since(job.graph.shape_env, job.graph.guards_before, job.symbols)
        ready = _Ready(None, "unstored", guards, matches)

        def finish() -> None:
            ready.finish = None
            with self.report.phase("build"), inductor.timed("build"):
                builds.wait()
            self._finish(job, artifact, ready)

        ready.finish = finish
        self._ready[job.key.digest] = ready
        return ready

    def _finish(self, job: _Job, artifact: inductor.Artifact, ready: _Ready) -> None:
        """Store the piece and run what was stored, so that a first start runs the same code as later ones."""
        if artifact.payload is None:
            reason = job.bypass or "torch cannot serialize what it compiled from this graph"
            self.store.bypass(reason)
            self._missed(job, Miss("bypass", job.key.digest, job.piece.label, f"not cached, {reason}"))
            ready.run, ready.bypass = boxed(artifact.call), reason
            return
        with self.report.phase("store"), inductor.timed("store"):
            packed = pack(artifact.payload)
            meta = {
                "form": packed.form,
                "guards": ready.guards,
                "matches": dict(ready.matches),
                "label": job.piece.label,
                "nodes": len(job.piece.nodes),
            }
            ready.files = packed.portable()
            self.store.put(self._with_sources(job), ready.files, meta)
        with self.report.phase("load"), inductor.timed("load"):
            ready.run, ready.form = unpack(packed.form, packed, job.label), packed.form

    def _run_inductor(self, job: _Job, builds: BackgroundBuilds) -> tuple[inductor.Artifact, dict[str, int]]:
        """Compile with the passes mounted; a second time where torch can compile but not serialize."""
        serializable = job.bypass is None
        while True:
            gm = extract(job.piece, job.graph.gm)
            inputs, fake_mode = job.inputs(gm)
            context = pass_context(job.compile_range)
            mounted = self.manager.mounted() if self.manager.passes else nullcontext()
            building = builds if job.graph.device_types == ["cpu"] else nullcontext()
            try:
                with context as ctx, mounted, building:
                    artifact = inductor.compile_graph(
                        gm, inputs, fake_mode=fake_mode, serializable=serializable
                    )
            except inductor.NotSerializable:
                serializable = False
                continue
            if job.specialised and inductor.guard_count(inductor.shape_env_of(inputs)):
                raise CannotSpecialise("its code holds for a part of the range only")
            if artifact.reused:
                self.report.notes.append(
                    f"{job.piece.label}: Inductor's own cache had it, so no pass ran and none is counted"
                )
            return artifact, dict(ctx.matches)

    # -- why

    def _explained(self, job: _Job) -> Miss:
        """Why a piece is compiled: the entry that was found cannot be used, or what differs from the nearest."""
        refused = self._refused.pop(job.key.digest, None)
        if refused is not None:
            return Miss("piece", job.key.digest, job.piece.label, refused)
        return explain_miss(self.store, self._with_sources(job), job.piece.label)

    def _missed(self, job: _Job, miss: Miss) -> None:
        """Say why a piece is compiled: in the report, and in the store for ``passprint explain``."""
        self.report.misses.append(miss)
        self.report.notes.append(f"{job.piece.label}: {miss}")
        self.store.missed(miss)

    def _with_sources(self, job: _Job) -> Fingerprint:
        """The key with the texts of its parts and the sources of the passes, so that lines can be compared."""
        if self._sources is None:
            with self.report.phase("sources"):
                self._sources = with_sources(job.key, self.manager.passes).sources
        known = Fingerprint(job.key.digest, job.key.root, job.key.opaque, self._sources)
        structure = job.structure
        texts = {"graph": structure.graph, "inputs": structure.inputs, "symbols": structure.facts}
        return with_sources(known, texts=texts)


class _Graph:
    """A graph module with what its pieces need to know of it."""

    def __init__(self, gm: GraphModule) -> None:
        self.gm = gm
        values = [n.meta.get("example_value") for n in gm.graph.nodes]
        self.fake_mode = inductor.fake_mode_of(values)
        self.shape_env = inductor.shape_env_of(values)
        devices = {v.device.type for v in values if isinstance(v, torch.Tensor)}
        self.device_types = sorted(devices or {"cpu"})
        self.guards_before = inductor.guard_count(self.shape_env)
        self.facts = inductor.symbol_facts(self.shape_env)
        self.texts = Texts()
        self._symbols = symbol_sources(gm.graph)

    def symbol(self, name: str) -> torch.SymInt | None:
        """The symbolic size of this name as a value, or None where no input carries it by itself."""
        node: Node | None = self._symbols.get(name)
        return None if node is None else node.meta["example_value"]


@dataclass
class _Job:
    """One piece on its way."""

    piece: Piece
    graph: _Graph
    structure: Structure
    key: Fingerprint
    symbols: Sequence[Any]
    bypass: str | None
    lookup_ms: float
    variant: Variant | None
    specialised: bool

    @property
    def label(self) -> str:
        return f"piece {self.key.digest[:12]}"

    @property
    def compile_range(self) -> CompileRange:
        """The sizes that this piece is compiled for: the variant's, the range of its first symbol, or all sizes."""
        if self.variant is not None and self.specialised:
            return self.variant.sizes
        return inductor.size_range(self.symbols)

    @property
    def sizes(self) -> str | None:
        """The variant that this piece belongs to, or None for the graph that serves all sizes."""
        return None if self.variant is None else str(self.variant.sizes)

    def inputs(self, gm: GraphModule) -> tuple[list[Any], Any]:
        """The inputs to compile ``gm``, the extracted piece, for, and their fake mode.

        Raises :class:`CannotSpecialise` for inputs that a variant cannot have.
        """
        values = [node.meta["example_value"] for node in self.piece.inputs]
        if self.variant is None or not self.specialised:
            return values, self.graph.fake_mode
        made, fake_mode = specialise(values, self.variant.symbol, self.variant.sizes)
        # Inner nodes keep the general graph's example values: torch asks them only whether they are tensors.
        for node, value in zip(gm.graph.find_nodes(op="placeholder"), made, strict=True):
            node.meta["example_value"] = value
        return made, fake_mode

    def accepts(self, guards: str | None) -> bool:
        """Whether guards that were recorded for an equal piece hold here; they become guards of this trace."""
        return guards is None or inductor.assume_guards(self.graph.shape_env, guards, self.symbols)

    def report(self, ready: _Ready, origin: Origin) -> PieceReport:
        """What is told of this piece."""
        return PieceReport(
            label=self.piece.label,
            digest=self.key.digest,
            nodes=len(self.piece.nodes),
            origin=origin,
            form=ready.form,
            bypass=ready.bypass,
            lookup_ms=self.lookup_ms,
            matches=ready.matches,
            sizes=self.sizes,
        )


def _runnable(ready: _Ready) -> Runnable:
    if ready.run is None:
        raise CompileError("A piece was lowered, but its builds were never waited for. Please report this.")
    return ready.run
