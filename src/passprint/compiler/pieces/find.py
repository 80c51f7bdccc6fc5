"""From a piece to something that runs: find an equal one, or an entry in the store, or compile it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch.fx import GraphModule

from passprint.cache import Entry, Miss, NoStore, Store, explain_miss, with_sources
from passprint.compiler.artifacts.artifact import boxed, pack, unpack
from passprint.compiler.lowering import builds, host, inductor, toolchain
from passprint.compiler.lowering.builds import BackgroundBuilds
from passprint.compiler.pieces import symbols, workers
from passprint.compiler.pieces.job import Job, Ready, TracedGraph, Variant
from passprint.compiler.pieces.key import COMPILER, CPU, Environment, environment, piece_key
from passprint.compiler.pieces.lower import Lowered, explained_without_compiler, lower
from passprint.compiler.pieces.pending import PendingPieces
from passprint.compiler.pieces.piece import Piece
from passprint.compiler.pieces.structure import describe
from passprint.compiler.pieces.variants import CannotSpecialise
from passprint.compiler.record import CompileReport, Origin
from passprint.errors import CacheError
from passprint.identity import Fingerprint
from passprint.pipeline import PassManager
from passprint.pipeline.alarm import alarm
from passprint.pipeline.running import is_followed


@dataclass
class PieceCompiler:
    """Compiles the pieces of one model's graphs; equal pieces share one result. Not for several threads."""

    manager: PassManager
    store: Store
    report: CompileReport
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Inductor's, for these pieces."""
    _ready: dict[str, Ready] = field(default_factory=dict)
    _found: dict[str, tuple[Entry | None, str | None]] = field(default_factory=dict)
    """By key, what the store has, and how it was found; a look-up counts once it is known what came of it."""
    _held: list[Entry] = field(default_factory=list)
    _sources: Mapping[str, str] | None = None
    _refused: dict[str, str] = field(default_factory=dict)
    _pending: PendingPieces | None = None
    _made: dict[str, Ready] = field(default_factory=dict)
    _elsewhere: set[str] = field(default_factory=set)
    _told: set[str] = field(default_factory=set)

    def start(
        self, gm: GraphModule, pieces: Sequence[Piece], variants: Sequence[Variant] = ()
    ) -> PendingPieces:
        """Find or lower each piece, for all sizes and then for each variant; their kernels are being built meanwhile.

        A piece without the varying size, or one that cannot be specialised, is in a variant what it is for all sizes.
        """
        with inductor.configured(self.settings):
            return self._start(gm, pieces, variants)

    def _start(self, gm: GraphModule, pieces: Sequence[Piece], variants: Sequence[Variant]) -> PendingPieces:
        if self._pending is not None and self._pending.is_waiting:
            # Nobody has called what was made of the last graph; who does meets the error again.
            with suppress(Exception):
                self._pending.finish()
        # What the last graph did not finish is made anew when it is asked for.
        for left in (self._made, self._elsewhere, self._told):
            left.clear()
        self._ready = {digest: ready for digest, ready in self._ready.items() if ready.run is not None}
        self.report.pipeline = str(self.manager)
        graph = TracedGraph(gm)
        with self.report.phase("identity"), inductor.timed("identity"):
            shared = environment(self.manager, graph.device_types)
            jobs = [[self._job(piece, graph, shared, v) for piece in pieces] for v in (None, *variants)]
        with ExitStack() as until_finished:
            with alarm.compile() as compiled:
                everything = [job for row in jobs for job in row]
                until_finished.enter_context(self._compiling(everything))
                self._share_out(everything, graph.device_types)
                general = [self._one(job) for job in jobs[0]]
                rows = [
                    general,
                    *([self._variant(*pair) for pair in zip(r, general, strict=True)] for r in jobs[1:]),
                ]
                for seen in (*self.report.pieces_seen, *self.report.variants_seen):
                    compiled.add_matches(seen.matches)
                for ready, _ in (result for row in rows for result in row):
                    compiled.add_matches(ready.matches)
            self._pending = PendingPieces(self.report, jobs, rows, until_finished.pop_all())
        return self._pending

    def give_up(self) -> None:
        """Let others make what is not finished, if anything is."""
        if self._pending is not None:
            self._pending.give_up()

    def _job(self, piece: Piece, graph: TracedGraph, shared: Environment, variant: Variant | None) -> Job:
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
        return Job(
            piece, graph, structure, key, symbols, bypass, took, variant, specialised=sizes is not None
        )

    def _variant(self, job: Job, general: tuple[Ready, Origin]) -> tuple[Ready, Origin]:
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

    def _one(self, job: Job) -> tuple[Ready, Origin]:
        start = time.perf_counter()
        digest = job.key.digest
        made = self._made.pop(digest, None)
        ready, origin = (made, "compiled") if made is not None else self._known(job)
        job.lookup_ms += (time.perf_counter() - start) * 1e3
        if ready is None:
            self._tell_missing(job)
            ready, origin = self._compile(job), "compiled"
        elif digest in self._elsewhere:
            self._elsewhere.discard(digest)
            self._told.discard(digest)
            origin = "compiled"
        job.check_strides(ready.strides)
        return ready, origin

    # -- several processes

    def _share_out(self, jobs: Sequence[Job], device_types: Sequence[str]) -> None:
        """Where the user wants it, make some of the missing pieces in processes beside this one, and the rest here."""
        count = workers.wanted() if not isinstance(self.store, NoStore) else 0
        missing: dict[str, Job] = {}
        for job in jobs:
            if job.key.digest in self._found and self._found[job.key.digest][0] is None:
                missing.setdefault(job.key.digest, job)
        if not count or len(missing) < 2 or device_types != ["cpu"] or is_followed(self.manager):
            return
        builds.wait_until_prepared()
        for digest, job in missing.items():
            self._tell_missing(job)  # before the others store theirs, which would be the nearest
            self._told.add(digest)
        own, *others = workers.shares(
            {digest: len(job.piece.nodes) for digest, job in missing.items()}, count + 1
        )
        start = time.monotonic()
        with workers.beside(
            [partial(self._make, [missing[d] for d in part]) for part in others]
        ) as processes:
            for digest in own:
                with suppress(CannotSpecialise):  # said where the variant is put together
                    self._made[digest] = self._one(missing[digest])[0]
            took = time.monotonic() - start
            with self.report.phase("workers"), inductor.timed("workers"):
                for part, process in zip(others, processes, strict=True):
                    problem = process.wait(took)
                    if problem is not None:
                        self.report.notes.append(
                            f"A process beside this one {problem}; what it has not stored is compiled here"
                        )
                    for digest in part:
                        entry = self.store.get(digest, counted=False)
                        self._found[digest] = entry, None
                        if entry is not None:
                            self._elsewhere.add(digest)

    def _make(self, jobs: Sequence[Job]) -> None:
        """Compile and store these pieces; for a process that ends after it."""
        for ready in [self._compile(job) for job in jobs]:
            if ready.finish is not None:
                ready.finish()
        self.store.flush()

    def _tell_missing(self, job: Job) -> None:
        """Count and explain a look-up that is a miss, once."""
        if job.key.digest in self._told:
            self._told.discard(job.key.digest)
        elif not job.bypass:
            self.store.looked_up(self._why_none(job))
            self._missed(job, self._explained(job))

    @contextmanager
    def _compiling(self, jobs: Sequence[Job]) -> Iterator[None]:
        """Ask the store for what is not in memory, and be the only one of all processes that makes what it lacks.

        The locks are taken in the order of the keys, so that processes with pieces in common never wait in a circle.
        """
        asked = {job.key.digest: job for job in jobs if not job.bypass and job.key.digest not in self._ready}
        try:
            with ExitStack() as locks:
                with self.report.phase("lookup"), inductor.timed("lookup"):
                    self.store.expect(list(asked))
                    for digest, job in asked.items():
                        self._found[digest] = self._ask(job)
                with self.report.phase("wait"):
                    for digest in sorted(d for d in asked if self._found[d][0] is None):
                        made = locks.enter_context(self.store.compiling(digest, counted=False))
                        self._found[digest] = made, "compiled meanwhile by another"
                yield
        finally:
            for entry, _ in self._found.values():
                if entry is not None:
                    entry.close()
            self._found.clear()

    def _ask(self, job: Job) -> tuple[Entry | None, str]:
        start = time.perf_counter()
        ignored = {CPU} if toolchain.has_compiler() else {CPU, COMPILER}
        entry = self.store.get_but_for(job.key, ignored, host.runs_here, counted=False)
        job.lookup_ms += (time.perf_counter() - start) * 1e3
        is_near = entry is not None and entry.digest != job.key.digest
        return entry, f"without regard to {', '.join(sorted(ignored))}" if is_near else ""

    # -- found

    def _known(self, job: Job) -> tuple[Ready | None, Origin]:
        """The piece from memory or from the store, if its guards hold for these symbols as well."""
        ready = self._ready.get(job.key.digest)
        if ready is not None:
            if job.accepts(ready.guards):
                return ready, "memory"
            self._refused[job.key.digest] = _other_sizes("the piece in memory", ready.guards)
        entry, how = self._found.pop(job.key.digest, (None, ""))
        return (self._load(entry, job, how), "store") if entry is not None else (None, "compiled")

    def _load(self, entry: Entry, job: Job, how: str | None) -> Ready | None:
        """Make a stored entry runnable; one that cannot be is a miss with a reason, never a failure.

        ``how`` it was found is counted with the hit; None for one that was made for this look-up, which is no hit.
        """
        guards = entry.meta["guards"]
        if not job.accepts(guards):
            entry.close()
            self._refused[job.key.digest] = _other_sizes("the stored piece", guards)
            return None
        try:
            with self.report.phase("load", job.piece.label), inductor.timed("load"):
                run = unpack(entry.meta["form"], entry, job.label)
        except (CacheError, OSError, ImportError) as error:
            entry.close()
            self._refused[job.key.digest] = f"the stored piece could not be loaded: {error}"
            return None
        self._held.append(entry)
        if how is not None:
            self.store.looked_up(how=how)
        files = {name: entry.path(name) for name in entry.files}
        meta = entry.meta
        ready = Ready(
            run, meta["form"], guards, meta["matches"], meta["writes"], meta["strides"], files=files
        )
        self._ready[job.key.digest] = ready
        return ready

    # -- made

    def _compile(self, job: Job) -> Ready:
        """Lower a piece and start its builds; ``finish`` of the result waits for them and stores it."""
        builds = BackgroundBuilds()
        with (
            self.report.phase("compile", job.piece.label),
            inductor.timed("compile"),
            explained_without_compiler(job),
        ):
            lowered = lower(job, self.manager, builds)
        self.report.pass_runs.extend({"piece": job.key.digest, **run} for run in lowered.pass_runs)
        artifact = lowered.artifact
        if artifact.reused:
            self.report.notes.append(
                f"{job.piece.label}: Inductor's own cache had it, so no pass ran and none is counted"
            )
        guards = None
        if not job.specialised:
            guards = symbols.guards_since(job.graph.shape_env, job.graph.guards_before, job.symbols)
        ready = Ready(None, "unstored", guards, lowered.matches, artifact.writes, artifact.strides)

        def finish() -> None:
            ready.finish = None
            try:
                with inductor.configured(self.settings):
                    waiting = self.report.phase("build", job.piece.label)
                    with waiting, inductor.timed("build"), explained_without_compiler(job):
                        builds.wait()
                    self.report.built(builds.times, job.piece.label)
                    self._finish(job, lowered, ready)
            except BaseException:
                self._ready.pop(job.key.digest, None)  # the next call tries again
                raise

        ready.finish = finish
        self._ready[job.key.digest] = ready
        return ready

    def _finish(self, job: Job, lowered: Lowered, ready: Ready) -> None:
        """Store the piece and run what was stored, so that a first start runs the same code as later ones."""
        artifact, reason = lowered.artifact, lowered.bypass
        if artifact.payload is None:
            assert reason is not None
            self.store.bypass(reason)
            self._missed(job, Miss("bypass", job.key.digest, job.piece.label, f"not cached, {reason}"))
            ready.run, ready.bypass = boxed(artifact.call), reason
            return
        with self.report.phase("store", job.piece.label), inductor.timed("store"):
            packed = pack(artifact.payload, grad=artifact.grad, cpp=artifact.cpp)
            meta = {
                "form": packed.form,
                "guards": ready.guards,
                "writes": ready.writes,
                "strides": ready.strides,
                "matches": dict(ready.matches),
                "label": job.piece.label,
                "nodes": len(job.piece.nodes),
                "cpu": host.cpu(),
            }
            ready.files = packed.portable()
            self.store.put(self._with_sources(job), ready.files, meta)
        with self.report.phase("load", job.piece.label), inductor.timed("load"):
            ready.run, ready.form = unpack(packed.form, packed, job.label), packed.form

    # -- why

    def _why_none(self, job: Job) -> str:
        """Why a look-up is a miss, as the store counts it."""
        digest = job.key.digest
        return self._refused.get(digest) or self.store.why_not(digest) or "no entry"

    def _explained(self, job: Job) -> Miss:
        """Why a piece is compiled: the entry that was found cannot be used, or what differs from the nearest."""
        refused = self._refused.pop(job.key.digest, None)
        if refused is not None:
            return Miss("piece", job.key.digest, job.piece.label, refused)
        return explain_miss(self.store, self._with_sources(job), job.piece.label)

    def _missed(self, job: Job, miss: Miss) -> None:
        """Say why a piece is compiled: in the report, and in the store for ``passprint explain``."""
        self.report.misses.append(miss)
        self.report.notes.append(f"{job.piece.label}: {miss}")
        self.store.missed(miss)

    def _with_sources(self, job: Job) -> Fingerprint:
        """The key with the texts of its parts and the sources of the passes, so that lines can be compared."""
        if self._sources is None:
            with self.report.phase("sources"):
                self._sources = with_sources(job.key, self.manager.passes).sources
        known = Fingerprint(job.key.digest, job.key.root, job.key.opaque, self._sources)
        structure = job.structure
        texts = {"graph": structure.graph, "inputs": structure.inputs, "symbols": structure.facts}
        return with_sources(known, texts=texts)


def _other_sizes(what: str, guards: str | None) -> str:
    """Why a piece is refused: torch's guards, with the piece's sizes by number."""
    told = re.sub(r"L\['t([0-9]+)'\]", r"size \1", guards or "")
    return f"{what} was built for other sizes: {told}"
