"""What a store of compiled artifacts does, wherever it keeps them."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

from passprint.cache.counters import Kind, total
from passprint.cache.entry import Entry
from passprint.identity import Change, Fingerprint

if TYPE_CHECKING:
    from passprint.cache.miss import Miss

Key: TypeAlias = Fingerprint
"""A key is a fingerprint of named parts: ``compose("piece", {"graph": …, "passes": …, …})``."""

Payload: TypeAlias = bytes | os.PathLike[str]
"""One file of an entry: its bytes, or the path of a file to be copied."""

WAIT_SECONDS: Final = 600.0
"""How long a process waits for another one that compiles the same thing."""


class TierStats(NamedTuple):
    """What this process asked of one remote.

    ``hits`` are entries that came, ``misses`` keys that it does not have, ``refused`` entries that are not whole or not
    signed by a trusted key, ``stores`` entries that were sent. Bytes are those on the way, compressed; seconds are
    those that requests took.
    """

    name: str
    mode: str
    leases: bool | None
    requests: int = 0
    hits: int = 0
    misses: int = 0
    refused: int = 0
    stores: int = 0
    failures: int = 0
    skipped: int = 0
    bytes_received: int = 0
    bytes_sent: int = 0
    seconds: float = 0.0


class Stats(NamedTuple):
    """What a store holds and what was asked of it. Bytes are those of files, each equal file counted once."""

    place: str
    entries: int
    objects: int
    bytes: int
    limit_bytes: int | None
    counts: Mapping[Kind, Mapping[str, int]]
    tiers: tuple[TierStats, ...] = ()

    @property
    def hits(self) -> int:
        """How often an entry was found that serves."""
        return total(self.counts, "hit")

    @property
    def misses(self) -> int:
        """How often none was found, or one that could not be used or does not serve."""
        return total(self.counts, "miss")

    @property
    def bypasses(self) -> int:
        """How often the store was not asked, because something could not be identified or cached."""
        return total(self.counts, "bypass")

    @property
    def stores(self) -> int:
        """How often an entry was stored."""
        return total(self.counts, "store")

    @property
    def failures(self) -> int:
        """How often an entry could not be stored."""
        return total(self.counts, "fail")

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON data."""
        return {
            "place": self.place,
            "entries": self.entries,
            "objects": self.objects,
            "bytes": self.bytes,
            "limit_bytes": self.limit_bytes,
            "hits": self.hits,
            "misses": self.misses,
            "bypasses": self.bypasses,
            "stores": self.stores,
            "failures": self.failures,
            "reasons": {kind: dict(reasons) for kind, reasons in self.counts.items()},
            "tiers": [tier._asdict() for tier in self.tiers],
        }


class Exported(NamedTuple):
    """What an export wrote: entries, objects, and the bytes of the file; ``left_out`` entries are not whole.

    ``sha256`` is that of the file, ``signed`` whether it has a signature.
    """

    path: str
    entries: int
    objects: int
    bytes: int
    left_out: int
    sha256: str
    signed: bool


Signature: TypeAlias = Literal["checked", "not checked", "none"]
"""Of an archive that was imported: it has one that fits, one that nobody could check (there is no key), or none."""


class Imported(NamedTuple):
    """What an import brought: new entries (as ``(kind, label)``), and how many were there already.

    ``objects`` and ``bytes`` are those that were not there; ``sha256`` is that of the file.
    """

    entries: tuple[tuple[str, str], ...]
    present: int
    objects: int
    bytes: int
    sha256: str
    signature: Signature


@runtime_checkable
class Store(Protocol):
    """Where artifacts are kept. Nothing here raises for what a cache can meet: that is a miss or a False."""

    @property
    def here(self) -> Store:
        """The part of it that answers at once: this machine's folder, without the remotes behind it."""

    def expect(self, digests: Sequence[str], *, certain: bool = True) -> None:
        """These keys are about to be asked for, so a remote can answer for all of them together.

        Not ``certain``: perhaps; then only a remote to which many keys are one request is asked.
        """

    def flush(self, timeout: float | None = None) -> bool:
        """Wait up to ``timeout`` seconds (None: no limit) for what is sent in the background; whether all was."""

    def get(self, digest: str, *, counted: bool = True) -> Entry | None:
        """The entry of the key with this digest, whole and checked, or None (counted as a miss).

        Without ``counted``, the caller says with :meth:`looked_up` what came of it.
        """

    def looked_up(self, refused: str | None = None, *, how: str = "") -> None:
        """Count one look-up whose entries were asked for uncounted: a hit, or a miss with the reason ``refused``.

        ``how`` says of a hit how it was found.
        """

    def get_but_for(
        self,
        key: Key,
        ignored: Collection[str],
        serves: Callable[[Mapping[str, Any]], bool] | None = None,
        *,
        counted: bool = True,
    ) -> Entry | None:
        """The same for a key, or else an entry whose key has the same parts right below its root but those ignored.

        ``serves`` is asked whether such another entry will do, by its meta.
        """

    def put(self, key: Key, files: Mapping[str, Payload], meta: Mapping[str, Any] | None = None) -> bool:
        """Store an entry, in place of one with this key; whether it was stored."""

    def compiling(
        self, digest: str, timeout: float = WAIT_SECONDS, *, counted: bool = True
    ) -> AbstractContextManager[Entry | None]:
        """One process compiles, the others wait: yields the entry if it is there by now (a hit), or else None."""

    def bypass(self, reason: str) -> None:
        """Count that something was compiled without asking the store."""

    def why_not(self, digest: str) -> str | None:
        """Why this process found an entry of this key but could not use it, or None where there was none."""

    def missed(self, miss: Miss) -> None:
        """Remember why something had to be compiled."""

    def nearest(self, key: Key, label: str | None = None) -> tuple[Entry, list[Change]] | None:
        """The entry whose key has most in common with this one, and the parts that differ."""

    def stats(self) -> Stats:
        """What is held, and what was asked."""


class NoStore:
    """A store that keeps nothing (``cache=False``). What is asked of it counts as bypassed, with the ``reason``."""

    def __init__(self, reason: str = "caching is turned off") -> None:
        self.reason = reason
        self._bypassed: Counter[str] = Counter()

    @property
    def here(self) -> Store:
        """Itself."""
        return self

    def expect(self, digests: Sequence[str], *, certain: bool = True) -> None:
        """Nothing to be asked."""

    def flush(self, timeout: float | None = None) -> bool:
        """Always True."""
        return True

    def get(self, digest: str, *, counted: bool = True) -> Entry | None:
        """Always None."""
        if counted:
            self.bypass(self.reason)
        return None

    def looked_up(self, refused: str | None = None, *, how: str = "") -> None:
        """Counted as a bypass."""
        self.bypass(self.reason)

    def get_but_for(
        self,
        key: Key,
        ignored: Collection[str],
        serves: Callable[[Mapping[str, Any]], bool] | None = None,
        *,
        counted: bool = True,
    ) -> Entry | None:
        """Always None."""
        return self.get(key.digest, counted=counted)

    def put(self, key: Key, files: Mapping[str, Payload], meta: Mapping[str, Any] | None = None) -> bool:
        """Always False."""
        return False

    @contextlib.contextmanager
    def compiling(
        self, digest: str, timeout: float = WAIT_SECONDS, *, counted: bool = True
    ) -> Iterator[Entry | None]:
        """Never waits."""
        yield None

    def bypass(self, reason: str) -> None:
        """Counted for this process only."""
        self._bypassed[reason] += 1

    def why_not(self, digest: str) -> str | None:
        """Always None."""
        return None

    def missed(self, miss: Miss) -> None:
        """Not remembered."""

    def nearest(self, key: Key, label: str | None = None) -> tuple[Entry, list[Change]] | None:
        """Always None."""
        return None

    def stats(self) -> Stats:
        """Nothing held; the bypasses of this process."""
        return Stats("(off)", 0, 0, 0, None, {"bypass": dict(self._bypassed)})


StoreSpec: TypeAlias = "str | os.PathLike[str] | Store | Literal[False] | None"
