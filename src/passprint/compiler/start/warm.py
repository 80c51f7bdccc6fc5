"""The start without a trace: a stored program is looked up by what it depended on, and loaded.

Nothing of ``torch._dynamo`` or ``torch._inductor`` is imported here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from passprint.cache.entry import Entry
from passprint.cache.store import Store
from passprint.compiler.dependencies import environment
from passprint.compiler.dependencies.can_read import CanRead
from passprint.compiler.dependencies.row import Row, host_differences
from passprint.compiler.dependencies.state import State
from passprint.compiler.guards.refs import CannotRecordError
from passprint.compiler.record import CompileReport, PieceReport
from passprint.compiler.start import ambient
from passprint.compiler.start.key import ProgramKey
from passprint.compiler.start.manifest import FILE, LEDGER, Manifest, StoredCall, encode_rows
from passprint.compiler.start.passes_found import PassesFound
from passprint.compiler.start.program import Guards, Program, ProgramMismatch, Refused, load
from passprint.compiler.start.request import Request, request
from passprint.errors import CacheError
from passprint.identity import Fingerprint
from passprint.identity.tree import Part

CANDIDATES = 8
"""How many programs are kept for one key: for other sizes, other values of arguments. Torch's own limit."""

LISTS = 16
"""How many lists of what code can read are kept for one request: an edit that names something new needs another one."""

NAMES = "names"
"""The file of an entry that is a list."""


@dataclass(eq=False, repr=False)
class Lookup:
    """The answer to a look-up: a program, or what is needed to store one and to say why there is none.

    Attributes:
        program: what serves the call, loaded.
        unusable: why nothing may be stored, or None; then there is no ``request``.
        keys: the key for each list of the request, with what is there now.
        refused: programs that have such a key and do not serve all the same.
    """

    program: Program | None = None
    unusable: str | None = None
    request: Request | None = None
    environment: Sequence[Row] = ()
    passes: PassesFound = field(default_factory=PassesFound)
    keys: list[ProgramKey] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    free_list: int = 0
    """The number that a new list gets: a free one, or the oldest one's."""
    unreadable: str | None = None
    """Why a list could not be followed here."""

    def key_for(self, reads: CanRead, state: State) -> ProgramKey:
        """The key of a program that was traced now."""
        assert self.request is not None
        digest = sha256(reads.encode()).hexdigest()
        return ProgramKey(self.request, self.environment, self.passes, reads, digest, state)


@dataclass(eq=False, repr=False)
class WarmStart:
    """Looks for stored programs of one model, and stores new ones."""

    store: Store
    report: CompileReport
    how: Callable[[], str]
    passes: Callable[[], PassesFound]

    def find(self, model: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Lookup:
        """A program that serves this call, checked and loaded, or why there is none."""
        unusual = ambient.unusual()
        if unusual is not None:
            return Lookup(unusable=unusual)
        try:
            with self.report.phase("identity"):
                asked = request(model, args, kwargs, self.how(), ambient.snapshot())
            with self.report.phase("manifest"):
                passes = self.passes()
                rows = environment.environment(users_passes=passes.users)
                lookup = Lookup(request=asked, environment=rows, passes=passes)
        except CannotRecordError as error:
            return Lookup(unusable=str(error))
        self._look_through(lookup, asked, model, args, kwargs, self.store.here)
        if lookup.program is None and self.store.here is not self.store:
            for refused in lookup.refused:
                refused.entry.close()
            lookup = Lookup(request=asked, environment=rows, passes=passes)
            self._look_through(lookup, asked, model, args, kwargs, self.store)
        self.store.looked_up(None if lookup.program is not None else self.why_none(lookup))
        return lookup

    def _look_through(
        self, lookup: Lookup, asked: Request, model: Any, args: Any, kwargs: Any, store: Store
    ) -> None:
        """Load the first program that serves, the newest list first. All together are one look-up.

        This machine's folder is looked through by itself first, so that no remote is asked where it serves.
        """
        for entry in self._lists(lookup, asked, store):
            with entry:
                try:
                    data = entry.read(NAMES)
                    with self.report.phase("identity"):
                        reads = CanRead.decode(data)
                        state = State(reads, model)
                except (CannotRecordError, CacheError, OSError) as error:
                    lookup.unreadable = str(error)
                    continue
            key = ProgramKey(asked, lookup.environment, lookup.passes, reads, sha256(data).hexdigest(), state)
            lookup.keys.append(key)
            with self.report.phase("lookup"):
                store.expect([key.digest(number) for number in range(CANDIDATES)], certain=False)
            for number in range(CANDIDATES):
                with self.report.phase("lookup"):
                    found = store.get(key.digest(number), counted=False)
                if found is None:
                    break
                try:
                    lookup.program = self._load(found, lookup, key, model, args, kwargs)
                    return
                except ProgramMismatch as error:
                    lookup.refused.append(Refused(found, str(error)))
                except (CacheError, OSError, ImportError) as error:
                    lookup.refused.append(Refused(found, f"a stored program could not be loaded: {error}"))
                found.close()

    def _lists(self, lookup: Lookup, asked: Request, store: Store) -> list[Entry]:
        found: list[Entry] = []
        with self.report.phase("lookup"):
            store.expect([asked.list_digest(number) for number in range(LISTS)], certain=False)
            for number in range(LISTS):
                entry = store.get(asked.list_digest(number), counted=False)
                if entry is None:
                    lookup.free_list = number
                    break
                found.append(entry)
            else:
                lookup.free_list = min(range(LISTS), key=lambda number: found[number].created)
        return sorted(found, key=lambda entry: -entry.created)

    def _load(
        self, entry: Entry, lookup: Lookup, key: ProgramKey, model: Any, args: Any, kwargs: Any
    ) -> Program:
        report = self.report
        with report.phase("manifest"):
            manifest = Manifest.decode(entry.read(FILE))
            _check_machine(manifest, lookup)
        with report.phase("identity"):
            guards = Guards(manifest, key.state, model, args, kwargs)
        with report.phase("load"):
            run = load(manifest, key.state, entry)
        self._tell(manifest)
        spent = entry.meta.get("seconds")
        report.spared = spent if report.spared is None else report.spared + (spent or 0.0)
        return Program(manifest, guards, run, entry)

    def _tell(self, manifest: Manifest) -> None:
        seen: set[int] = set()
        self.report.pieces_seen.extend(_seen(manifest, manifest.calls, None, seen))
        for first, last, calls in manifest.variants:
            from passprint.passes import CompileRange

            sizes = str(CompileRange(first, last))
            self.report.variants_seen.extend(_seen(manifest, calls, sizes, seen))
        self.report.graphs += 1
        self.report.loaded += 1

    # -- why

    def why_none(self, lookup: Lookup) -> str:
        """Why a look-up is a miss, as the store counts it."""
        from passprint.compiler.start.why import why_none  # only a miss needs it

        return why_none(self.store, lookup)

    def explain(self, lookup: Lookup) -> str:
        """Why nothing that is stored serves the call that was looked up."""
        if lookup.unusable is not None:
            return lookup.unusable
        from passprint.compiler.start.why import STORED, model_miss

        said = model_miss(self.store, lookup).in_short()
        return said.removeprefix(STORED) if lookup.keys else said

    # -- store

    def keep(
        self, lookup: Lookup, key: ProgramKey, manifest: Manifest, files: Mapping[str, bytes | Path]
    ) -> None:
        """Store a new program: its list, if that is new, and what runs. The program comes last."""
        with self.report.phase("store"):
            label = key.request.label
            if all(known.list_digest != key.list_digest for known in lookup.keys):
                place = key.request.list_digest(lookup.free_list)
                parts = (*key.request.tree(), Part("list", "text", key.list_digest))
                tree = Fingerprint(place, Part("list", "parts", place, parts))
                self.store.put(tree, {NAMES: key.reads.encode()}, {"label": label, "form": "list"})
            meta = {"label": label, "pieces": len(manifest.calls), "form": "program", "list": key.list_digest}
            meta["seconds"] = round(self.report.seconds["total"], 3)
            number = self._free_place(key)
            ledger = encode_rows(key.rows)
            self.store.put(key.with_code(number), {FILE: manifest.encode(), LEDGER: ledger, **files}, meta)

    def _free_place(self, key: ProgramKey) -> int:
        """The number of a new candidate: a free one, or the oldest one's."""
        made: list[float] = []
        for number in range(CANDIDATES):
            entry = self.store.here.get(key.digest(number), counted=False)
            if entry is None:
                return number
            with entry:
                made.append(entry.created)
        return made.index(min(made))


def _check_machine(manifest: Manifest, lookup: Lookup) -> None:
    """Raise :class:`ProgramMismatch` where this machine cannot run the program, or the default passes were changed."""
    told = host_differences(manifest.machine, environment.machine())
    compiler = environment.compiler_difference(manifest.machine)
    passes = lookup.passes.difference(manifest.passes)
    told += [reason for reason in (passes, compiler) if reason is not None]
    if told:
        raise ProgramMismatch("; ".join(told))


def _seen(
    manifest: Manifest, calls: Sequence[StoredCall], sizes: str | None, known: set[int]
) -> Iterator[PieceReport]:
    """What is told of the pieces of a loaded program; ``known`` are the numbers of those that were told before."""
    for number, label, nodes, matches in calls:
        piece = manifest.pieces[number]
        yield PieceReport(
            label=label,
            digest=piece.digest,
            nodes=nodes,
            origin="memory" if number in known else "store",
            form=piece.form,
            bypass=None,
            lookup_ms=0.0,
            matches=matches,
            sizes=sizes,
        )
        known.add(number)
