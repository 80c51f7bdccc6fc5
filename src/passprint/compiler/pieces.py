"""From a piece to something that runs: find an equal one, or an entry in the store, or compile it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.fx import GraphModule, Node

from passprint.cache import Entry, Miss, Store, explain_miss, with_sources
from passprint.compiler import inductor
from passprint.compiler.artifact import Packed, Runnable, boxed, pack, unpack
from passprint.compiler.key import COMPILER, Environment, environment, piece_key
from passprint.compiler.partition import Piece, extract, symbol_sources
from passprint.compiler.record import CompileReport, Origin, PieceReport
from passprint.compiler.structure import Structure, describe
from passprint.errors import CacheError
from passprint.identity import Fingerprint
from passprint.passes import CompileRange, pass_context
from passprint.pipeline import PassManager
from passprint.pipeline.alarm import alarm


@dataclass(frozen=True)
class _Ready:
    """A piece that can run, and the guards on its symbols that its compilation relied on.

    ``bypass`` says why it was not stored, or is None.
    """

    run: Runnable
    form: str
    guards: str | None
    matches: Mapping[str, int]
    bypass: str | None = None
    files: Mapping[str, bytes | Path] = field(default_factory=dict)


@dataclass
class PieceCompiler:
    """Compiles the pieces of one model's graphs; equal pieces share one result. Not for several threads."""

    manager: PassManager
    store: Store
    report: CompileReport
    _ready: dict[str, _Ready] = field(default_factory=dict)
    _held: list[Entry] = field(default_factory=list)
    latest: list[tuple[PieceReport, Mapping[str, bytes | Path]]] = field(default_factory=list)
    """The pieces of the latest graph, in order, each with the files that it runs from (none if it is not stored)."""
    _sources: Mapping[str, str] | None = None
    _refused: dict[str, str] = field(default_factory=dict)

    def compile_all(self, gm: GraphModule, pieces: Sequence[Piece]) -> list[Runnable]:
        """One runnable per piece, in order."""
        graph = _Graph(gm)
        self.latest.clear()
        with self.report.phase("identity"), inductor.timed("identity"):
            shared = environment(self.manager, graph.device_types)
        with alarm.compile() as compiled:
            runnables = [self._one(piece, graph, shared) for piece in pieces]
            for seen in self.report.pieces_seen:
                compiled.add_matches(seen.matches)
        return runnables

    def _one(self, piece: Piece, graph: _Graph, shared: Environment) -> Runnable:
        start = time.perf_counter()
        with self.report.phase("identity"):
            structure = describe(piece, graph.gm, inductor.symbol_facts(graph.shape_env))
            key = piece_key(structure, shared)
        opaque = (*structure.opaque, *shared.opaque, *key.opaque)
        bypass = f"cannot be identified: {opaque[0]}" if opaque else None
        symbols = [graph.symbol(name) for name in structure.symbols]
        job = _Job(piece, graph, structure, key, symbols, bypass)
        ready, origin = self._known(job)
        lookup_ms = (time.perf_counter() - start) * 1e3
        if ready is None:
            ready, origin = self._make(job)
        seen = PieceReport(
            label=piece.label,
            digest=key.digest,
            nodes=len(piece.nodes),
            origin=origin,
            form=ready.form,
            bypass=ready.bypass,
            lookup_ms=lookup_ms,
            matches=ready.matches,
        )
        self.report.pieces_seen.append(seen)
        self.latest.append((seen, ready.files))
        return ready.run

    # -- found

    def _known(self, job: _Job) -> tuple[_Ready | None, Origin]:
        """The piece from memory or from the store, if its guards hold for these symbols as well."""
        ready = self._ready.get(job.key.digest)
        if ready is not None and job.accepts(ready.guards):
            return ready, "memory"
        if job.bypass:
            return None, "compiled"
        with self.report.phase("lookup"), inductor.timed("lookup"):
            if inductor.has_compiler():
                entry = self.store.get(job.key.digest)
            else:
                entry = self.store.get_but_for(job.key, {COMPILER})
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

    def _make(self, job: _Job) -> tuple[_Ready, Origin]:
        if job.bypass:
            return self._compile(job), "compiled"
        waiting = self.store.compiling(job.key.digest)
        with waiting as entry:
            ready = self._load(entry, job) if entry is not None else None
            if ready is not None:
                return ready, "store"
            self._missed(job, self._explained(job))
            return self._compile(job), "compiled"

    def _compile(self, job: _Job) -> _Ready:
        guards_before = inductor.guard_count(job.graph.shape_env)
        with self.report.phase("compile"), inductor.timed("compile"):
            artifact, matches = self._run_inductor(job)
        guards = inductor.guards_since(job.graph.shape_env, guards_before, job.symbols)
        if artifact.payload is None:
            reason = job.bypass or "torch cannot serialize what it compiled from this graph"
            self.store.bypass(reason)
            self._missed(job, Miss("bypass", job.key.digest, job.piece.label, f"not cached, {reason}"))
            ready = _Ready(boxed(artifact.call), "unstored", guards, matches, reason)
        else:
            ready = self._store(job, pack(artifact.payload), guards, matches)
        self._ready[job.key.digest] = ready
        return ready

    def _run_inductor(self, job: _Job) -> tuple[inductor.Artifact, dict[str, int]]:
        """Compile with the passes mounted; a second time where torch can compile but not serialize."""
        serializable = job.bypass is None
        while True:
            gm = extract(job.piece, job.graph.gm)
            inputs = [node.meta["example_value"] for node in job.piece.inputs]
            context = pass_context(job.compile_range)
            mounted = self.manager.mounted() if self.manager.passes else nullcontext()
            try:
                with context as ctx, mounted:
                    artifact = inductor.compile_graph(
                        gm, inputs, fake_mode=job.graph.fake_mode, serializable=serializable
                    )
            except inductor.NotSerializable:
                serializable = False
                continue
            if artifact.reused:
                self.report.notes.append(
                    f"{job.piece.label}: Inductor's own cache had it, so no pass ran and none is counted"
                )
            return artifact, dict(ctx.matches)

    def _store(self, job: _Job, packed: Packed, guards: str | None, matches: dict[str, int]) -> _Ready:
        """Store the piece and run what was stored, so that a first start runs the same code as later ones."""
        with self.report.phase("store"), inductor.timed("store"):
            meta = {
                "form": packed.form,
                "guards": guards,
                "matches": matches,
                "label": job.piece.label,
                "nodes": len(job.piece.nodes),
            }
            stored = packed.portable()
            self.store.put(self._with_sources(job), stored, meta)
        with self.report.phase("load"), inductor.timed("load"):
            run = unpack(packed.form, packed, job.label)
        return _Ready(run, packed.form, guards, matches, files=stored)

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
        self._symbols = symbol_sources(gm.graph)

    def symbol(self, name: str) -> torch.SymInt | None:
        """The symbolic size of this name as a value, or None where no input carries it by itself."""
        node: Node | None = self._symbols.get(name)
        return None if node is None else node.meta["example_value"]


@dataclass(frozen=True)
class _Job:
    """One piece on its way."""

    piece: Piece
    graph: _Graph
    structure: Structure
    key: Fingerprint
    symbols: Sequence[Any]
    bypass: str | None

    @property
    def label(self) -> str:
        return f"piece {self.key.digest[:12]}"

    @property
    def compile_range(self) -> CompileRange:
        """The sizes that this piece is compiled for: the range of its first symbol, or all sizes."""
        return inductor.size_range(self.symbols)

    def accepts(self, guards: str | None) -> bool:
        """Whether guards that were recorded for an equal piece hold here; they become guards of this trace."""
        return guards is None or inductor.assume_guards(self.graph.shape_env, guards, self.symbols)
