"""Why a key was not found: the nearest entry, and what differs, down to the function and the changed lines."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from passprint.cache.miss import Miss, without_moved
from passprint.cache.store import NoStore
from passprint.identity import Change, Fingerprint

if TYPE_CHECKING:
    from passprint.cache.entry import Entry
    from passprint.cache.store import Key, Store

_COMPILER: Final = "c++ compiler"
_NONE: Final = "no compiler"
_HOST: Final = {"host", "CPU", _COMPILER}
_VARIABLE: Final = re.compile(rf"(?:{re.escape(_COMPILER)} → )?environment\['(.+)'\]")


def with_sources(
    key: Key, objects: Iterable[object] = (), texts: Mapping[str, str] | None = None
) -> Fingerprint:
    """``key`` with the sources of what it is made of, so that a difference can be shown line by line.

    ``objects`` are those whose code is in the key (passes, a model), ``texts`` the whole texts of parts right
    below its root. The digest stays. Slow (``inspect`` reads whole files): only for storing and explaining.
    """
    from passprint.identity import keep_sources
    from passprint.identity.sources import pack

    together = list(objects)  # in one walk: passes share helpers
    sources = {**key.sources, **(keep_sources(together).sources if together else {})}
    for part in key.root.children:
        if texts and part.name in texts:
            sources[part.digest] = pack(texts[part.name])
    return Fingerprint(key.digest, key.root, key.opaque, sources)


def explain_miss(store: Store, key: Key, label: str = "") -> Miss:
    """Why the store has nothing for ``key``.

    Compared with the nearest entry: one of the same thing (the first part of a key says what it is of, such as the
    graph of a piece), or else one with the same ``label``. "No entry at all" is an answer as well.
    """
    kind, of = key.root.name, _first(key)
    if isinstance(store, NoStore):
        return Miss(kind, key.digest, label, store.reason)
    unusable = store.why_not(key.digest)
    if unusable is not None:
        return Miss(kind, key.digest, label, f"it was stored, but could not be used: {unusable}")
    found = store.nearest(key)
    if found is not None and found[0].parts.get(of) == _digests(key).get(of):
        return _compared(kind, key, label, *found)
    found = store.nearest(key, label) if label else None
    if found is None:
        return Miss(kind, key.digest, label, f"no entry at all: no {kind} like {label!r} is stored")
    entry, changes = found
    about = [change for change in changes if _part(change) == of] or changes
    reason = f"no entry has this {of}; the nearest of {label!r} has another one"
    return Miss(kind, key.digest, label, reason, entry.digest, tuple(about))


def _compared(kind: str, key: Key, label: str, entry: Entry, changes: list[Change]) -> Miss:
    of = _first(key)
    changes = without_moved(changes)
    if any(_part(change) == _COMPILER and _NONE in (change.after or "") for change in changes):
        # A host without a compiler loads what any compiler built: that was not the reason.
        changes = [change for change in changes if _part(change) != _COMPILER] or changes
    told = {_part(change) for change in changes}
    differing = [
        name
        for name, digest in _digests(key).items()
        if entry.parts.get(name) != digest and (name in told or name != _COMPILER)
    ]
    if set(differing) <= _HOST:
        told_of, detail = _hosts(changes)
        reason = f"the same {of} is stored, but for another {told_of}"
    else:
        reason, detail = f"the same {of} is stored, but not with the same {', '.join(differing)}", ""
    return Miss(kind, key.digest, label, reason, entry.digest, tuple(changes), detail)


def _hosts(changes: list[Change]) -> tuple[str, str]:
    """Of which other thing the entry is, and what it was built for and this host has or lacks."""
    lacks: list[str] = []
    has: list[str] = []
    other: list[str] = []
    variables: list[str] = []
    for change in changes:
        what = change.path.partition(" → ")[2].removeprefix("host → ").removeprefix("CPU → ")
        what = what.removesuffix(" → value").removesuffix(" → version")
        if what.startswith("cpu["):
            what = what[4:].partition("]")[0].strip("'\"")
            if change.kind != "changed":
                (lacks if change.kind == "removed" else has).append(what)
                continue
        before, after = change.before or "nothing", change.after or "nothing"
        variable = _VARIABLE.fullmatch(what)
        if variable is not None:
            was, now = change.before or "not set", change.after or "not set"
            variables.append(f"the variable {variable[1]} was {was} and is {now}")
        else:
            other.append(f"built for {what} {before}, this host has {after}")
    told = [*_lacks_and_has(lacks, has), *other]
    return "host" if told else "environment", "; ".join([*told, *variables])


def _lacks_and_has(lacks: list[str], has: list[str]) -> list[str]:
    told = [f"built for {', '.join(lacks)}, which this host lacks"] if lacks else []
    return told + ([f"this host has {', '.join(has)}, which it was built without"] if has else [])


def _first(key: Key) -> str:
    return key.root.children[0].name if key.root.children else "key"


def _digests(key: Key) -> dict[str, str]:
    return {part.name: part.digest for part in key.root.children}


def _part(change: Change) -> str:
    return change.path.partition(" → ")[2].partition(" → ")[0]
