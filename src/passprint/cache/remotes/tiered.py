"""A store of tiers: this machine's folder, and remotes behind it in order."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache, partial
from typing import TYPE_CHECKING, Any, Final

from passprint.cache.entry import Entry
from passprint.cache.local import LocalStore
from passprint.cache.remotes.leasing import Leases
from passprint.cache.remotes.sending import Sender
from passprint.cache.remotes.spec import RemoteSpec
from passprint.cache.remotes.tier import Tier
from passprint.cache.store import WAIT_SECONDS, Key, Payload, Stats
from passprint.cache.trust import PRIVATE_ENVIRONMENT, TRUSTED_ENVIRONMENT
from passprint.errors import CacheError
from passprint.identity import Change

if TYPE_CHECKING:
    from passprint.cache.miss import Miss

_ABSENT_SECONDS: Final = 60.0
"""How long a key that no remote has, or has rightly signed, is not asked for again."""

_TOGETHER: Final = 256
"""How many records are asked for together when all are."""


class TieredStore:
    """``local``, and remotes that are asked in order for what it lacks.

    What a remote has is written to the folder and loaded from there. What is stored goes to the folder at once and to
    the remotes in the background: see :meth:`flush`, which is also called when the process ends, with a time limit.
    Raises ``CacheError`` where a remote cannot be set up (see :class:`passprint.cache.remotes.tier.Tier`).
    """

    def __init__(self, local: LocalStore, specs: Sequence[RemoteSpec]) -> None:
        self._local = local
        self._specs = tuple(specs)
        self._tiers = [Tier(spec) for spec in specs]
        last = max((spec.exit for spec in specs), default=0.0)
        self._sender = Sender([tier for tier in self._tiers if tier.writes], last)
        self._absent: dict[str, float] = {}
        self._refused: dict[str, str] = {}
        self._from: dict[str, str] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """In another process, or copied: the same folder and remotes."""
        return type(self), (self._local, self._specs)

    def __repr__(self) -> str:
        return f"TieredStore({str(self._local.root)!r}, {[tier.name for tier in self._tiers]!r})"

    @property
    def here(self) -> LocalStore:
        """The folder alone."""
        return self._local

    @cached_property
    def _leases(self) -> Leases | None:
        """Of the first remote that has them."""
        for tier in self._tiers:
            if tier.leases:
                return Leases(tier)
        return None

    def expect(self, digests: Sequence[str], *, certain: bool = True) -> None:
        """Ask for these keys together; see ``Store``."""
        self._bring([digest for digest in digests if not self._local.has_record(digest)], certain=certain)

    def flush(self, timeout: float | None = None) -> bool:
        """Wait up to ``timeout`` seconds until all is sent; whether it was."""
        return self._sender.flush(timeout)

    def get(self, digest: str, *, counted: bool = True) -> Entry | None:
        """The entry of the key with this digest: the folder's, or the first remote's that has it whole and signed."""
        entry = self._local.get(digest, counted=False)
        if entry is None:
            self._bring([digest])
            entry = self._local.get(digest, counted=False)
        if counted:
            self.looked_up(
                None if entry is not None else self.why_not(digest) or "no entry", how=self._how(digest)
            )
        return entry

    def get_but_for(
        self,
        key: Key,
        ignored: Collection[str],
        serves: Callable[[Mapping[str, Any]], bool] | None = None,
        *,
        counted: bool = True,
    ) -> Entry | None:
        """The folder's answer, as there; a remote is asked for ``key`` itself only."""
        entry = self._local.get_but_for(key, ignored, serves, counted=False)
        if entry is None:
            return self.get(key.digest, counted=counted)
        if counted:
            near = "" if entry.digest == key.digest else f"without regard to {', '.join(sorted(ignored))}"
            self.looked_up(how=near or self._how(key.digest))
        return entry

    def put(self, key: Key, files: Mapping[str, Payload], meta: Mapping[str, Any] | None = None) -> bool:
        """Store in the folder now and in the remotes soon; whether it is in the folder. Raises as the folder's."""
        if not self._local.put(key, files, meta):
            return False
        self._absent.pop(key.digest, None)
        self.send(key.digest)
        return True

    def send(self, digest: str) -> bool:
        """Send an entry of the folder to the remotes in the background; whether there is one, and who takes it."""
        if not any(tier.writes for tier in self._tiers):
            return False
        entry = self._local.get(digest, counted=False)
        if entry is not None:
            self._sender.add(entry)
        return entry is not None

    @contextlib.contextmanager
    def compiling(
        self, digest: str, timeout: float = WAIT_SECONDS, *, counted: bool = True
    ) -> Iterator[Entry | None]:
        """Be the only one that compiles this key: of this machine, and of all where a remote has leases.

        As ``LocalStore.compiling``; the lease is held until what was stored has been sent.
        """
        until = time.monotonic() + timeout
        with self._local.compiling(digest, timeout, counted=counted) as entry:
            if entry is not None or self._leases is None:
                yield entry
                return
            leases = self._leases
            if leases.wait(digest, until):
                self._absent.pop(digest, None)
                self._bring([digest])
                entry = self._local.get(digest, counted=False)
                if entry is not None and counted:
                    self.looked_up(how="compiled meanwhile by another machine")
            try:
                yield entry
            finally:
                self._sender.add(partial(leases.release, digest))

    def looked_up(self, refused: str | None = None, *, how: str = "") -> None:
        """Counted with the folder's."""
        self._local.looked_up(refused, how=how)

    def bypass(self, reason: str) -> None:
        """Counted with the folder's."""
        self._local.bypass(reason)

    def why_not(self, digest: str) -> str | None:
        """Why an entry of this key, in the folder or in a remote, could not be used, or None where there was none."""
        return self._local.why_not(digest) or self._refused.get(digest)

    def missed(self, miss: Miss) -> None:
        """Remembered in the folder."""
        self._local.missed(miss)

    def nearest(self, key: Key, label: str | None = None) -> tuple[Entry, list[Change]] | None:
        """The nearest entry of the folder."""
        return self._local.nearest(key, label)

    def stats(self) -> Stats:
        """The folder's, and what this process asked of each remote."""
        return self._local.stats()._replace(tiers=tuple(tier.stats() for tier in self._tiers))

    def push(self, labels: Sequence[str] = ()) -> int:
        """Send all entries of the folder, or those of these ``labels`` with what they need; how many were sent.

        Raises ``CacheError`` for a label that no entry has, and where no remote may be written.
        """
        from passprint.cache.moving import select

        if not any(tier.writes for tier in self._tiers):
            raise CacheError(
                f"Nothing can be sent to {self._tiers[0].name}: it is only read here. Writing needs a private key "
                f"(passprint key new NAME) and a mode other than readonly."
            )
        before = sum(tier.stats().stores for tier in self._tiers)
        for digest, _ in select(self._local.entries(), (), labels):
            self.send(digest)
        self.flush()
        return sum(tier.stats().stores for tier in self._tiers) - before

    def pull(self, labels: Sequence[str] = ()) -> int:
        """Bring all entries of the remotes, or those of these ``labels`` with what they need; how many came.

        Raises ``CacheError`` for a remote that cannot list what it has.
        """
        from passprint.cache.moving import needs
        from passprint.cache.remotes.sweeping import records_of

        count = 0
        for tier in self._tiers:
            if not tier.reads:
                continue
            waiting, asked = list(records_of(tier)), set[str]()
            label_counts = bool(labels)
            while waiting:
                below: list[str] = []
                for first in range(0, len(waiting), _TOGETHER):
                    batch = [d for d in waiting[first : first + _TOGETHER] if not self._local.has_record(d)]
                    answer = tier.fetch(
                        batch,
                        self._local.has_object,
                        lambda record: not label_counts or record.meta.get("label") in labels,  # noqa: B023
                    )
                    for fetched in answer.entries:
                        count += self._local.bring(fetched.record, fetched.datas, f"from {tier.name}")
                        below += [digest for digest in needs(fetched.record.meta) if digest not in asked]
                asked.update(below)
                waiting, label_counts = (below if labels else []), False
        return count

    def _how(self, digest: str) -> str:
        name = self._from.get(digest)
        return f"from {name}" if name else ""

    def _bring(self, digests: Sequence[str], *, certain: bool = True) -> None:
        """Write to the folder what the remotes have of these keys."""
        now = time.monotonic()
        wanted = [digest for digest in digests if self._absent.get(digest, 0.0) <= now]
        answered: set[str] = set()
        for tier in self._tiers:
            if not wanted:
                return
            if not tier.reads or not (certain or tier.batches):
                continue
            answer = tier.fetch(wanted, self._local.has_object)
            answered |= answer.absent | answer.refused.keys()
            self._refused.update(answer.refused)
            for fetched in answer.entries:
                if self._local.bring(fetched.record, fetched.datas, f"from {tier.name}"):
                    self._from[fetched.record.key] = tier.name
                    self._refused.pop(fetched.record.key, None)
                    if tier.touches:
                        self._sender.add(partial(tier.touch, fetched))
            came = {fetched.record.key for fetched in answer.entries}
            wanted = [digest for digest in wanted if digest not in came]
        for digest in wanted:
            if digest in answered:
                self._absent[digest] = now + _ABSENT_SECONDS


def tiered(local: LocalStore, urls: Sequence[str]) -> TieredStore:
    """``local`` with these remotes behind it: one store for a process, so that all its models know what failed."""
    specs = tuple(RemoteSpec.parse(url) for url in urls)
    keys = (os.environ.get(TRUSTED_ENVIRONMENT), os.environ.get(PRIVATE_ENVIRONMENT))
    return _shared(str(local.root), local.limit_bytes, specs, keys)


@lru_cache(maxsize=32)
def _shared(
    root: str, limit_bytes: int, specs: tuple[RemoteSpec, ...], keys: tuple[str | None, ...]
) -> TieredStore:
    return TieredStore(LocalStore(root, limit_bytes=limit_bytes), specs)
