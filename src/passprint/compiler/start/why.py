"""Why a model was traced and not loaded: the nearest stored program and what differs, by line where it is code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from passprint.cache import Entry, Miss, Store, with_sources
from passprint.compiler.guards.refs import find, unwrapped
from passprint.compiler.start.manifest import FILE, Manifest
from passprint.compiler.start.program import Refused
from passprint.compiler.start.request import Request
from passprint.errors import CacheError
from passprint.identity import Change, Fingerprint, Part, compose

CODE = "code"
"""The part of a stored program's key that only explains: the user's functions and classes that were inlined."""

_NOT_COMPARED = ("candidate", CODE)
_BY_CONTENT = 4  # the length of a reference of a class or function whose content counts


def program_key(request: Request, place: int, manifest: Manifest) -> Fingerprint:
    """The key of a program as it is stored: with the code that was inlined, its sources, and the whole texts."""
    key = with_sources(request.key(place), texts=request.parts)
    code = _code(manifest)
    if code is None:
        return key
    root = Part(key.root.name, key.root.kind, key.root.digest, (*key.root.children, code.root))
    return Fingerprint(key.digest, root, key.opaque, {**key.sources, **code.sources})


def model_miss(store: Store, request: Request, place: int, refused: Sequence[Refused]) -> Miss:
    """Why no stored program serves a call. ``refused`` are those that were looked at, the nearest last."""
    key = with_sources(request.key(place), texts=request.parts)
    if refused:
        entry, reason = refused[-1].entry, refused[-1].reason
        said = f"a program of it is stored, but {reason}"
        return Miss("model", entry.digest, request.label, said, entry.digest, tuple(code_changes(entry)))
    unusable = store.why_not(key.digest)
    if unusable is not None:
        said = f"it was stored, but could not be used: {unusable}"
        return Miss("model", key.digest, request.label, said)
    found = store.nearest(key, request.label)
    if found is None:
        return Miss("model", key.digest, request.label, "no entry at all for this model")
    entry, changes = found
    parts = {part.name: part.digest for part in key.root.children if part.name not in _NOT_COMPARED}
    differing = [name for name, digest in parts.items() if entry.parts.get(name) != digest]
    said = f"a program of it is stored, but not for the same {', '.join(differing) or 'arguments'}"
    about = tuple([c for c in changes if c.path.partition(" → ")[2].partition(" → ")[0] in differing])
    return Miss("model", key.digest, request.label, said, entry.digest, about)


def code_changes(entry: Entry) -> list[Change]:
    """What has changed of the code that a stored program inlined."""
    try:
        manifest, older = Manifest.decode(entry.read(FILE)), entry.key
    except CacheError:  # what cannot be read any more cannot be compared; the reason says as much
        return []
    before = next((part for part in older.root.children if part.name == CODE), None)
    after = _code(manifest)
    if before is None or after is None:
        return []
    changes = after.diff(Fingerprint(before.digest, before, (), older.sources))
    return [Change(f"model → {c.path}", c.kind, c.before, c.after, c.lines) for c in changes]


def _code(manifest: Manifest) -> Fingerprint | None:
    """The functions and classes that a manifest names and whose content counts, as they are now, with sources."""
    named = dict(_named(manifest))
    if not named:
        return None
    code = compose(CODE, named)
    return with_sources(code, named.values())


def _named(manifest: Manifest) -> Iterator[tuple[str, object]]:
    references: list[tuple[Any, ...]] = [
        (kind, module, path) for kind, module, path, _ in manifest.functions if kind == "function"
    ]
    references += [
        ref[:3] for ref in manifest.refs if ref[0] in ("class", "function") and len(ref) == _BY_CONTENT
    ]
    for _, module, path in references:
        try:
            yield f"{module}.{path}", unwrapped(find(module, path))
        except LookupError:  # it has no name any more, or never had one
            continue
