"""Fingerprints that are remembered, and re-checked by pointer each time."""

from __future__ import annotations

import weakref
from _thread import allocate_lock
from collections.abc import Iterable

from passprint.errors import OpaqueError
from passprint.identity.origin import Origins
from passprint.identity.tree import Fingerprint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from passprint.identity.guards import Check
    from passprint.identity.known import Known
    from passprint.identity.node import Component, Node
    from passprint.identity.walk import Walk


def walk_object(obj: Any, origins: Origins, known: Known) -> tuple[Walk, Node]:
    """Walk an object; what does it is imported with the first walk."""
    from passprint.identity.engine import walk_object

    return walk_object(obj, origins, known)


def opaque_error(name: str, paths: tuple[str, ...]) -> OpaqueError:
    """The error for an identity that is incomplete."""
    listed = "\n".join([f"  {path}" for path in paths])
    return OpaqueError(
        f"{name} cannot be identified, because it reaches something whose content is not known:\n{listed}\n"
        "Three ways out: pass the value in as a plain field, or define __fingerprint__(self) on its class to "
        "say what counts, or name the attribute in __fingerprint_ignore__ where it cannot change a result.",
        paths,
    )


CHANGED = (KeyError, AttributeError, ValueError, TypeError, RuntimeError)
"""What a check may raise where things have changed so far that it cannot be made: a name is gone."""


class _Entry:
    """A remembered answer. The check is built when it is first needed: many objects are asked for once."""

    __slots__ = ("alive", "answer", "check", "components")

    def __init__(self, components: list[Component], answer: Any, alive: tuple[weakref.ref[Any], ...]) -> None:
        self.components = components
        self.answer = answer
        self.alive = alive
        self.check: Check = self._build

    def _build(self, objs: Any) -> bool:
        from passprint.identity.engine import check_together

        self.check = check_together(self.components)
        return self.check(objs)


class Memo:
    """Remembers digests and checks, each time it is asked, that nothing that was read has changed.

    Objects are held weakly: an entry goes when its object does. At most ``limit`` entries are kept; then
    the oldest go. Any number of threads may ask at once.

    ``first_party`` names packages or modules whose content counts although a distribution owns them.
    """

    def __init__(self, *, first_party: Iterable[str] = (), limit: int = 1024) -> None:
        self.origins = Origins(first_party)
        self._limit = limit
        self._tensor_values = True
        self._without_values: Memo | None = None
        self._known: Known | None = None
        # By ids, which are the objects' own as long as the entry's weak references have not fired.
        self._entries: dict[int, _Entry] = {}
        self._groups: dict[tuple[int, ...], _Entry] = {}
        # Objects that what they reach keeps alive (a closure that names itself) go only when others come.
        self._held: list[int] = []
        self._lock = allocate_lock()

    def __fingerprint__(self) -> str:
        return "memo"

    def without_values(self) -> Memo:
        """The memo beside this one in which a tensor counts by dtype, sizes, device and whether it requires gradients.

        For code that is traced: tensors are inputs of a graph there, and new weights need no new graph.
        """
        if self._without_values is None:
            memo = Memo(limit=self._limit)
            memo.origins, memo._tensor_values = self.origins, False
            self._without_values = memo
        return self._without_values

    def fingerprint(self, obj: Any) -> Fingerprint:
        """The whole fingerprint, parts and opaque paths included; always walked."""
        from passprint.identity.engine import make_fingerprint

        return make_fingerprint(self._walk_anew(obj)[1])

    def opaque_paths(self, obj: Any) -> tuple[str, ...]:
        """The paths to what cannot be identified, without the parts (at most a hundred); always walked."""
        from passprint.identity.engine import find_opaque

        return find_opaque(obj, self.origins, self._known_nodes())

    def digest(self, obj: Any) -> str | None:
        """The digest, or None where the identity is incomplete."""
        entry = self._entries.get(id(obj))
        if entry is not None:
            try:
                if entry.check((obj,)):
                    return entry.answer  # type: ignore[no-any-return]
            except CHANGED:
                pass
        return self._walk(obj)

    def digests(self, objs: Iterable[Any]) -> tuple[str | None, ...]:
        """The digests of several objects, their slots checked as one set."""
        members = tuple(objs)
        entry = self._groups.get(tuple(map(id, members)))
        if entry is not None:
            try:
                if entry.check(members):
                    return entry.answer  # type: ignore[no-any-return]
            except CHANGED:
                pass
        answer = tuple([self.digest(obj) for obj in members])
        self._remember_group(members, answer)
        return answer

    def _known_nodes(self) -> Known:
        if self._known is None:
            from passprint.identity.engine import Known

            self._known = Known(tensor_values=self._tensor_values)
        return self._known

    def _walk_anew(self, obj: Any) -> tuple[Walk, Node]:
        return walk_object(obj, self.origins, self._known_nodes())

    def _walk(self, obj: Any) -> str | None:
        walk, root = self._walk_anew(obj)
        digest = None if walk.is_opaque else root.digest
        component = root.component
        if component is None or component.is_volatile:
            return digest
        key = id(obj)
        try:
            alive = weakref.ref(obj, lambda _: self._entries.pop(key, None))
        except TypeError:  # a kind that cannot be referred to weakly is walked each time
            return digest
        with self._lock:
            _put(self._entries, key, _Entry([component], digest, (alive,)), self._limit)
            if walk.reaches_root and walk.slots.root is not None:
                self._held.append(key)
                if len(self._held) > _HELD_LIMIT:
                    self._entries.pop(self._held.pop(0), None)
        return digest

    def _remember_group(self, members: tuple[Any, ...], answer: tuple[str | None, ...]) -> None:
        entries = [self._entries.get(id(member)) for member in members]
        components = [component for entry in entries if entry is not None for component in entry.components]
        if len(components) < len(members):
            return
        key = tuple(map(id, members))

        def forget(_: weakref.ref[Any]) -> None:
            self._groups.pop(key, None)

        alive = tuple([weakref.ref(member, forget) for member in members])
        with self._lock:
            _put(self._groups, key, _Entry(components, answer, alive), _GROUP_LIMIT)


_GROUP_LIMIT = 64
_HELD_LIMIT = 32


def _put(entries: dict[Any, _Entry], key: Any, entry: _Entry, limit: int) -> None:
    """Add an entry as the newest; the oldest go where there are too many."""
    entries.pop(key, None)
    while len(entries) >= limit:
        entries.pop(next(iter(entries)), None)
    entries[key] = entry


def keep_sources(obj: object, *, first_party: Iterable[str] = ()) -> Fingerprint:
    """The fingerprint of an object with the sources of its code, compressed, for diffs by line.

    Slow (milliseconds to seconds): meant for writing beside an artifact, not for keys. Nothing is raised for
    what is opaque.
    """
    origins = Origins(first_party) if first_party else _DEFAULT.origins
    from passprint.identity.engine import Known, make_fingerprint
    from passprint.identity.sources import read_sources

    root = walk_object(obj, origins, Known())[1]
    found = make_fingerprint(root)
    return Fingerprint(found.digest, found.root, found.opaque, read_sources(root, obj))


_DEFAULT = Memo()


def default_memo() -> Memo:
    """The process's one memo."""
    return _DEFAULT


def fingerprint(obj: object, *, strict: bool = True, first_party: Iterable[str] = ()) -> Fingerprint:
    """The identity of an object: everything that can change what it does, as the interpreter holds it.

    ``first_party`` names packages or modules whose content counts although a distribution owns them.

    Raises :class:`~passprint.OpaqueError` when something reached cannot be identified, naming the paths to
    it; ``strict=False`` returns a fingerprint whose ``opaque`` lists them.
    """
    memo = Memo(first_party=first_party) if first_party else _DEFAULT
    found = memo.fingerprint(obj)
    if strict and found.opaque:
        from passprint.identity.engine import name_of

        raise opaque_error(name_of(obj), found.opaque)
    return found
