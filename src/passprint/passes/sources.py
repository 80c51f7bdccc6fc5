"""Digests of source text: the drop-in for passes that identify themselves by hashing their source.

A call that was answered before is answered from a table without looking at any source: the first argument by
its ``id``, the others as a tuple. The table never keeps a function, class or instance alive.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import types
import weakref
from collections.abc import Callable
from typing import Any

#: How many first arguments, argument lists after one first argument, and single sources are remembered.
HEADS, TAILS, SOURCES = 1024, 64, 1024

_NOTHING = object()


class _Tail(tuple[Any, ...]):
    """The arguments after the first: strings as they are, everything else as a weak proxy.

    It equals and hashes like the plain tuple of the same arguments, so a dictionary finds it by that one.
    Equality is the tuple's own and runs in C: a proxy compares as what it stands for. Only the hash is kept
    beside it, because a proxy has none; a dictionary asks for it once, when the key is stored.
    """

    kept_hash: int
    watches: list[weakref.ref[Any]]

    def __hash__(self) -> int:
        return self.kept_hash


class SourceMemo:
    """Two layers: digests of argument lists (the hot path), and each object's source, read once for all.

    ``heads`` maps the id of a first argument to the digests by the arguments that follow it. A string cannot
    be held weakly and is kept itself, so that its id stays its own. All is bounded; the oldest goes first.
    """

    def __init__(self, heads: int = HEADS, tails: int = TAILS, sources: int = SOURCES) -> None:
        self.heads: dict[int, dict[tuple[Any, ...], str]] = {}
        self._owners: dict[int, weakref.ref[Any] | str] = {}
        self._sources: dict[int, tuple[weakref.ref[Any], bytes]] = {}
        self._limits = (heads, tails, sources)

    def __len__(self) -> int:
        return sum(map(len, self.heads.values())) + len(self._sources)

    def digest(self, *srcs: Any) -> str:
        """sha256 (hex) over the sources of ``srcs``, one after another; remembered from now on."""
        hasher = hashlib.sha256()
        for src in srcs:
            hasher.update(self._source(src))
        digest = hasher.hexdigest()
        if srcs:
            self._remember(srcs[0], srcs[1:], digest)
        return digest

    def _source(self, src: Any) -> bytes:
        if isinstance(src, str):
            return src.encode("utf-8")
        owner = src if isinstance(src, types.FunctionType | type) else src.__class__
        known = self._sources.get(id(owner))
        if known is not None and known[0]() is owner:
            return known[1]
        text = inspect.getsource(owner).encode("utf-8")
        key, sources = id(owner), self._sources
        sources[key] = (weakref.ref(owner, lambda _: sources.pop(key, None)), text)
        _shorten(sources, self._limits[2])
        return text

    def _remember(self, head: Any, tail: tuple[Any, ...], digest: str) -> None:
        key = id(head)
        digests = self.heads.get(key)
        if digests is None:
            digests = {}
            if not self._keep_head(key, head, digests):
                return
        if all(map(_equal_only_to_itself, tail)):
            _keep_tail(digests, tail, digest)
            _shorten(digests, self._limits[1])

    def _keep_head(self, key: int, head: Any, digests: dict[tuple[Any, ...], str]) -> bool:
        if type(head) is str:
            self._owners[key] = head
        else:
            heads, owners = self.heads, self._owners

            def forget(_: object) -> None:
                heads.pop(key, None)
                owners.pop(key, None)
                digests.clear()

            try:
                self._owners[key] = weakref.ref(head, forget)
            except TypeError:  # an instance with __slots__ and no room for a weak reference
                return False
        self.heads[key] = digests
        while len(self.heads) > self._limits[0]:
            oldest = next(iter(self.heads))
            self.heads.pop(oldest).clear()
            self._owners.pop(oldest, None)
        return True


def _keep_tail(digests: dict[tuple[Any, ...], str], tail: tuple[Any, ...], digest: str) -> None:
    """Store ``digest`` under ``tail`` without keeping alive what stands in it."""
    if all(type(member) is str for member in tail):
        digests[tail] = digest
        return
    key = _Tail(member if type(member) is str else weakref.proxy(member) for member in tail)
    key.kept_hash = hash(tail)

    def forget(_: object) -> None:
        digests.pop(key, None)

    key.watches = [weakref.ref(member, forget) for member in tail if type(member) is not str]
    digests[key] = digest


def _equal_only_to_itself(member: Any) -> bool:
    """Whether a table may find ``member`` by ``==``: nothing with another source is equal to it."""
    kind: type = type(member)
    if kind is str:
        return True
    compares: tuple[object, object] = (kind.__eq__, kind.__hash__)
    return compares == (object.__eq__, object.__hash__) and kind.__weakrefoffset__ != 0


def _shorten(table: dict[Any, Any], limit: int) -> None:
    while len(table) > limit:
        table.pop(next(iter(table)), None)


def make_hash_source(memo: SourceMemo) -> Callable[..., str]:
    """The function that answers from ``memo``; the table is in its closure, which is the quickest place."""
    heads = memo.heads

    def hash_source(src: Any = _NOTHING, /, *more: Any) -> str:
        """sha256 (hex) over the UTF-8 sources of the arguments, one after another.

        A string counts as it is, a function or class by its source, an instance by the source of its class:
        the digests that vLLM's ``InductorPass.hash_source`` gives. Answers are remembered as long as the
        arguments live.

        Its limits, which `fingerprint` does not have: it sees neither bases, helpers, closures, globals nor
        field values; comments and formatting count; ``("ab", "c")`` equals ``("a", "bc")``; the text is read
        from the file, which may have changed since it was loaded. Raises OSError where there is no source,
        and TypeError for a built-in class.
        """
        try:
            return heads[id(src)][more]
        except (KeyError, TypeError, ReferenceError):
            return memo.digest() if src is _NOTHING else memo.digest(src, *more)

    return hash_source


hash_source = make_hash_source(SourceMemo())


def hash_dict(dict_: dict[Any, Any]) -> str:
    """sha256 (hex) of ``dict_`` as JSON with sorted keys; raises TypeError for what JSON cannot say."""
    return hashlib.sha256(json.dumps(dict_, sort_keys=True).encode("utf-8")).hexdigest()
