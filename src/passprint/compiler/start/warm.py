"""The start without a trace: stored programs are looked up, checked against what is here, and loaded.

Nothing of ``torch._dynamo`` or ``torch._inductor`` is imported here.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from passprint.cache.entry import Entry
from passprint.cache.store import Store
from passprint.compiler.guards.refs import CannotRecordError, Refs
from passprint.compiler.record import CompileReport, PieceReport
from passprint.compiler.start import ambient, surroundings
from passprint.compiler.start.manifest import FILE, Manifest, StoredCall
from passprint.compiler.start.program import (
    DoesNotServe,
    Guards,
    Program,
    Refused,
    check_dependencies,
    load,
)
from passprint.compiler.start.request import Request, request
from passprint.errors import CacheError, PipelineError
from passprint.identity import Change, Fingerprint

if TYPE_CHECKING:
    from passprint.pipeline import PassManager

CANDIDATES = 8
"""How many programs are kept for one request: for other sizes, other values of arguments. Torch's own limit."""


class PassesFound(NamedTuple):
    """Which passes a model is compiled with: a digest, and the tree behind it (None: the default, not looked at).

    Where nothing has imported the default pipeline, it is what passprint's own files say, and they are checked apart.
    """

    default: bool = True
    digest: str | None = None
    tree: Fingerprint | None = None

    @classmethod
    def of(cls, manager: PassManager, *, default: bool) -> PassesFound:
        """The passes of a manager. Raises :class:`CannotRecordError` where they cannot be identified."""
        try:
            tree = manager.identity()
        except PipelineError as error:
            raise CannotRecordError(str(error)) from error
        if tree.opaque:
            raise CannotRecordError(f"a pass cannot be identified: {tree.opaque[0]}")
        return cls(default, tree.digest, tree)

    def record(self) -> tuple[bool, str, str]:
        """As a manifest keeps it."""
        assert self.tree is not None
        return (self.default, self.tree.digest, json.dumps(self.tree.to_dict()))

    def difference(self, recorded: tuple[bool, str, str]) -> tuple[str, int] | None:
        """Why what was recorded is something else, and in how many parts; or None."""
        default, digest, text = recorded
        if self.digest == digest or (self.digest is None and default):
            return None
        older = Fingerprint.from_dict(json.loads(text))
        if self.tree is None:
            return "the program was compiled with other passes than the default", len(older.root.children)
        from passprint.cache.miss import and_more, without_moved  # only a miss needs it

        changes = without_moved(self.tree.diff(older))
        return f"the passes differ: {and_more([_told(change) for change in changes])}", len(changes)


_CODE = re.compile(r"[a-z ]+ [0-9a-f]{12}")
"""What a change shows of a part that has no text: its kind and digest."""


def _told(change: Change) -> str:
    """A change in words: of code, that it is another; of a value, which it was and is."""
    if (
        change.kind == "changed"
        and _CODE.fullmatch(change.before or "")
        and _CODE.fullmatch(change.after or "")
    ):
        return f"{change.path.partition(' → ')[2] or change.path} has changed"
    from passprint.cache.miss import change_text  # only a miss needs it

    return change_text(change)


@dataclass(eq=False, repr=False)
class Found:
    """The answer to a look-up: a program, or why there is none.

    ``request`` is None where nothing may be stored; ``known`` is what a new manifest records of the surroundings.
    ``place`` is the number of the candidate that a new one becomes; ``refused`` are the programs that do not serve, and
    ``reasons`` why; those that differ least stand last: a miss is explained with the last.
    """

    program: Program | None = None
    reasons: list[str] = field(default_factory=list)
    request: Request | None = None
    known: Mapping[str, Any] = field(default_factory=dict)
    passes: PassesFound = field(default_factory=PassesFound)
    place: int = 0
    refused: list[Refused] = field(default_factory=list)

    def rank(self, refused: Sequence[Refused]) -> None:
        """Note the programs that do not serve, by how much they differ: of equals, only in code before in others."""
        ranked = list(refused)
        if len(ranked) > 1:
            from passprint.compiler.start.why import code_changes  # only a miss needs it

            def nearness(one: Refused) -> tuple[float, bool]:
                return -max(1, one.differing + len(code_changes(one.entry))), not one.differing

            ranked.sort(key=nearness)
        self.refused = ranked
        self.reasons = [one.reason for one in ranked]


@dataclass(eq=False, repr=False)
class WarmStart:
    """Looks for stored programs of one model, and stores new ones."""

    store: Store
    report: CompileReport
    how: str
    passes: Callable[[], PassesFound]

    def find(self, model: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Found:
        """A program that serves this call, checked and loaded, or the reasons why there is none."""
        unusual = ambient.unusual()
        if unusual is not None:
            return Found(reasons=[unusual])
        with self.report.phase("identity"):
            modes = ambient.snapshot()
            asked = request(model, args, kwargs, self.how, modes)
        try:
            with self.report.phase("manifest"):
                known = {"surroundings": surroundings.surroundings(), "modes": modes}
                passes = self.passes()
        except CannotRecordError as error:
            return Found(reasons=[str(error)])
        found = Found(request=asked, known=known, passes=passes)
        self._look_through(found, asked, model, args, kwargs)
        self.store.looked_up(None if found.program is not None else self._why_none(found, asked))
        return found

    def _why_none(self, found: Found, asked: Request) -> str:
        """Why a look-up is a miss, as the store counts it."""
        if found.reasons:
            return f"a stored program does not serve: {found.reasons[-1]}"
        return self.store.why_not(asked.candidate(0)) or "no entry"

    def _look_through(self, found: Found, asked: Request, model: Any, args: Any, kwargs: Any) -> None:
        """Load the first candidate that serves; of the others, note why they do not. All together are one look-up."""
        oldest = math.inf
        refused: list[Refused] = []
        for number in range(CANDIDATES):
            with self.report.phase("lookup"):
                entry = self.store.get(asked.candidate(number), counted=False)
            if entry is None:
                found.place = number
                break
            if entry.created < oldest:
                oldest, found.place = entry.created, number
            try:
                found.program = self._load(entry, found, model, args, kwargs)
                return
            except DoesNotServe as error:
                refused.append(Refused(entry, str(error), error.differing))
            except (CacheError, OSError, ImportError) as error:
                reason = f"a stored program could not be loaded: {error}"
                refused.append(Refused(entry, reason, math.inf))
            entry.close()
        with self.report.phase("manifest"):
            found.rank(refused)

    def _load(self, entry: Entry, found: Found, model: Any, args: Any, kwargs: Any) -> Program:
        report = self.report
        with report.phase("manifest"):
            manifest = Manifest.decode(entry.read(FILE))
            self._check_surroundings(manifest, found)
        with report.phase("identity"):
            refs = Refs()
            check_dependencies(manifest, model, refs)
            guards = Guards(manifest, refs, model, args, kwargs)
        with report.phase("load"):
            run = load(manifest, entry)
        self._tell(manifest)
        return Program(manifest, guards, run, entry)

    def _check_surroundings(self, manifest: Manifest, found: Found) -> None:
        """Raise :class:`DoesNotServe` for a program of other surroundings or passes, or by another compiler."""
        told = surroundings.differences(manifest.surroundings, found.known["surroundings"])
        passes = found.passes.difference(manifest.passes)
        compiler = surroundings.compiler_difference(*manifest.compiler)
        differing = len(told) + (passes[1] if passes else 0) + (compiler is not None)
        if told:
            from passprint.cache.miss import and_more

            told = [and_more(told)]
        told += [passes[0]] if passes else []
        told += [compiler] if compiler else []
        if told:
            raise DoesNotServe("; ".join(told), differing=differing)

    def _tell(self, manifest: Manifest) -> None:
        seen: set[int] = set()
        self.report.pieces_seen.extend(_seen(manifest, manifest.calls, None, seen))
        for first, last, calls in manifest.variants:
            from passprint.passes import CompileRange

            sizes = str(CompileRange(first, last))
            self.report.variants_seen.extend(_seen(manifest, calls, sizes, seen))
        self.report.graphs += 1
        self.report.loaded += 1

    def explain(self, found: Found) -> str:
        """Why nothing that is stored serves the call that was looked up."""
        if found.reasons:
            return found.reasons[-1]
        assert found.request is not None
        from passprint.compiler.start.why import model_miss

        return model_miss(self.store, found.request, found.place, found.refused).in_short()

    # -- store

    def keep(self, found: Found, manifest: Manifest, files: Mapping[str, bytes | Path]) -> None:
        """Store a new program where the look-up found room."""
        from passprint.compiler.start.why import program_key

        assert found.request is not None
        with self.report.phase("store"):
            meta = {"label": found.request.label, "pieces": len(manifest.calls), "form": "program"}
            key = program_key(found.request, found.place, manifest)
            self.store.put(key, {FILE: manifest.encode(), **files}, meta)


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


def compiler_known() -> tuple[str | None, str | None]:
    """The C++ compiler as a manifest records it: a mark of the file, and its version."""
    found = surroundings.compiler_found()
    return (found.mark(), found.identity()) if found else (None, None)
