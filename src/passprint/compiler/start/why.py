"""Why a model was traced and not loaded: the nearest stored program and what differs, by line where it is code."""

from __future__ import annotations

from passprint.cache import Entry, Miss, Store
from passprint.cache.miss import and_more
from passprint.compiler.dependencies.environment import compiler_difference, machine
from passprint.compiler.dependencies.row import differences, host_differences
from passprint.compiler.start.key import CODE, ProgramKey, code_of
from passprint.compiler.start.manifest import FILE, LEDGER, Manifest, decode_rows
from passprint.compiler.start.warm import Lookup
from passprint.errors import CacheError
from passprint.identity import Change, Fingerprint

STORED = "a program of it is stored, but "
"""How the reason of a miss begins that names what differs from a program."""

_NOT_COMPARED = ("candidate", CODE, "environment", "passes", "functions", "values")


def why_none(store: Store, lookup: Lookup) -> str:
    """Why a look-up is a miss, in one sentence: what differs from the nearest program, or that there is none."""
    if not lookup.keys:
        assert lookup.request is not None
        return store.why_not(lookup.request.list_digest(0)) or lookup.unreadable or "no entry"
    miss = model_miss(store, lookup)
    if not miss.nearest:
        return miss.reason
    return f"a stored program does not serve: {miss.reason.removeprefix(STORED)}"


def model_miss(store: Store, lookup: Lookup) -> Miss:
    """Why no stored program serves a call."""
    assert lookup.request is not None
    label = lookup.request.label
    if lookup.refused:
        entry, reason = lookup.refused[-1]
        said = f"{STORED}{reason}"
        return Miss("model", entry.digest, label, said, entry.digest, tuple(code_changes(entry)))
    if not lookup.keys:
        return _miss_of_request(store, lookup)
    nearest = _nearest(store, lookup)
    if nearest is None:
        digest = lookup.keys[-1].digest(0)
        unusable = store.why_not(digest) or lookup.unreadable
        said = (
            f"it was stored, but could not be used: {unusable}"
            if unusable
            else "no entry at all for this model"
        )
        return Miss("model", digest, label, said)
    key, entry, changes = nearest
    told = _differences(key, entry)
    if not told:
        return _other_request(key.tree(0), entry, changes, label)
    code = tuple(code_changes(entry))
    return Miss("model", key.digest(0), label, f"{STORED}{told}", entry.digest, code)


def _nearest(store: Store, lookup: Lookup) -> tuple[ProgramKey, Entry, list[Change]] | None:
    """The program that is stored under the key from which this one's differs least."""
    best: tuple[int, ProgramKey, Entry, list[Change]] | None = None
    for key in lookup.keys:
        found = store.nearest(key.tree(0), key.request.label)
        if found is not None and (best is None or len(found[1]) < best[0]):
            best = (len(found[1]), key, *found)
    return None if best is None else best[1:]


def _differences(key: ProgramKey, entry: Entry) -> str | None:
    """What differs between a stored ledger and the present one, in words."""
    try:
        recorded, manifest = decode_rows(entry.read(LEDGER)), Manifest.decode(entry.read(FILE))
    except CacheError as error:
        return str(error)
    present = key.rows
    told = [and_more(rows)] if (rows := differences(recorded, present)) else []
    told += host_differences(manifest.machine, machine())
    other = [key.passes.difference(manifest.passes), compiler_difference(manifest.machine)]
    return "; ".join([*told, *[reason for reason in other if reason is not None]]) or None


def _miss_of_request(store: Store, lookup: Lookup) -> Miss:
    """No list is stored for the request, or none that can be followed: another build, other arguments or modes."""
    assert lookup.request is not None
    asked, label = lookup.request, lookup.request.label
    from passprint.cache import with_sources
    from passprint.identity.tree import Part

    digest = asked.list_digest(0)
    root = Part("model", "parts", digest, tuple(asked.tree()))
    key = with_sources(Fingerprint(digest, root), texts=asked.parts)
    unusable = store.why_not(digest) or lookup.unreadable
    if unusable is not None:
        return Miss("model", digest, label, f"it was stored, but could not be used: {unusable}")
    found = store.nearest(key, label)
    if found is None:
        return Miss("model", digest, label, "no entry at all for this model")
    return _other_request(key, *found, label)


def _other_request(key: Fingerprint, entry: Entry, changes: list[Change], label: str) -> Miss:
    """The nearest program is of another request."""
    parts = {part.name: part.digest for part in key.root.children if part.name not in _NOT_COMPARED}
    differing = [name for name, digest in parts.items() if entry.parts.get(name) != digest]
    said = f"{STORED}not for the same {', '.join(differing) or 'arguments'}"
    about = tuple([c for c in changes if c.path.partition(" → ")[2].partition(" → ")[0] in differing])
    return Miss("model", key.digest, label, said, entry.digest, about)


def code_changes(entry: Entry) -> list[Change]:
    """What has changed of the code that a stored program inlined, by line."""
    try:
        rows, older = decode_rows(entry.read(LEDGER)), entry.key
    except CacheError:  # what cannot be read any more cannot be compared; the reason says as much
        return []
    before = next((part for part in older.root.children if part.name == CODE), None)
    after = code_of(rows)
    if before is None or after is None:
        return []
    changes = after.diff(Fingerprint(before.digest, before, (), older.sources))
    return [Change(f"model → {c.path}", c.kind, c.before, c.after, c.lines) for c in changes]
