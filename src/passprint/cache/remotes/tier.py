"""One remote as a cache: signed records and their objects, within limits, with counts and never an exception."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from passprint.cache.folder import warn
from passprint.cache.record import Record, StoredFile
from passprint.cache.remotes.breaker import Allowance, Breaker
from passprint.cache.remotes.opening import check_installed, is_read_only, open_transport
from passprint.cache.remotes.packing import LONGEST_RECORD, RefusedError, compress, longest_packed, unpack
from passprint.cache.remotes.signed import seal, unseal
from passprint.cache.remotes.spec import Mode, RemoteSpec
from passprint.cache.remotes.transport import (
    OBJECTS,
    RECORDS,
    Lease,
    RemoteError,
    Transport,
    UnreachableError,
    place,
)
from passprint.cache.store import TierStats
from passprint.cache.trust import PrivateKey, TrustedKeys, private_key
from passprint.errors import CacheError

Result = TypeVar("Result")

LEASE_SECONDS: Final = 15.0
"""A lease that is not renewed for so long is another's to take."""

_AT_ONCE: Final = 64 << 20  # bytes that are held in memory at a time, on the way in or out
_MIB: Final = 1 << 20
_TOUCH_AFTER: Final = 86400.0


@dataclass(frozen=True, slots=True)
class Fetched:
    """An entry that came, checked: the bytes of ``record.objects`` in order, None for those that lie in the folder."""

    record: Record
    datas: tuple[bytes | None, ...]
    sealed: bytes


@dataclass(slots=True)
class Answer:
    """What a remote said of some keys. A key that is in none of the three was not answered."""

    entries: list[Fetched] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    absent: set[str] = field(default_factory=set)


class Tier:
    """A remote. Its library is imported, and a connection made, when it is first asked.

    Raises ``CacheError`` for what can be seen to be wrong at once: an extra that is not installed, no trusted key to
    read with, no private key to write with where that was asked for. What only the remote knows (it lets nobody in
    without a password) is a ``CacheError`` of the first request. Later failures are counted, with one warning.
    """

    def __init__(self, spec: RemoteSpec) -> None:
        check_installed(spec)
        self.spec = spec
        self._trusted = TrustedKeys()
        self._key = _signing_key(spec)
        self.mode: Mode = _mode(spec, self._key)
        self.reads, self.writes = self.mode != "writeonly", self.mode != "readonly"
        if self.reads and not self._trusted:
            raise CacheError(
                f"The remote cache {spec.name} cannot be read: no key is trusted here ({self._trusted.path}). "
                f"Run: passprint trust add 'passprint-public-key ed25519 NAME HEX', with the line that "
                f"`passprint key new` printed where the cache is written."
            )
        self._allowance = Allowance(spec.start)
        self._ever_asked = False
        self._begin()
        forked = weakref.WeakMethod(self._begin)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=lambda: (begin := forked()) and begin())
        self._counts: dict[str, Any] = {}
        self._warned: set[str] = set()
        self._damaged: set[str] = set()

    def _begin(self) -> None:
        """Begin without a connection; also in a forked child, where other threads of its parent may hold locks."""
        self.breaker = Breaker()
        self._opened: Transport | None = None
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """The URL, without secrets."""
        return self.spec.name

    # -- read

    def fetch(
        self,
        digests: Sequence[str],
        held: Callable[[StoredFile], bool],
        chosen: Callable[[Record], bool] = lambda record: True,
    ) -> Answer:
        """The entries of these keys, every byte checked. Objects that the folder has (``held``) are not sent again.

        Of entries that are not ``chosen`` nothing but the record is looked at.
        """
        answer = Answer()
        names = {place(RECORDS, digest): digest for digest in digests}
        sealed = self._ask(lambda at, seconds: at.get(dict.fromkeys(names, LONGEST_RECORD), seconds), 0)
        if sealed is None:
            return answer
        received = sum(map(len, sealed.values()))
        records: list[tuple[Record, bytes]] = []
        for name, digest in names.items():
            if name not in sealed:
                answer.absent.add(digest)
                continue
            try:
                record = unseal(sealed[name], digest, self._trusted)
            except RefusedError as error:
                answer.refused[digest] = self._refuse(digest, str(error))
                continue
            if chosen(record):
                records.append((record, sealed[name]))
        self._count(misses=len(answer.absent), bytes_received=received)
        for batch in _batches(records):
            self._fetch_objects(batch, held, answer)
        return answer

    def _fetch_objects(
        self, records: Sequence[tuple[Record, bytes]], held: Callable[[StoredFile], bool], answer: Answer
    ) -> None:
        wanted = {stored.sha256: stored for record, _ in records for stored in record.objects}
        wanted = {sha256: stored for sha256, stored in wanted.items() if not held(stored)}
        packed: dict[str, bytes] | None = {}
        if wanted:
            longest = {place(OBJECTS, name): longest_packed(stored.size) for name, stored in wanted.items()}
            size = sum(stored.size for stored in wanted.values())
            packed = self._ask(lambda at, seconds: at.get(longest, seconds), size)
        if packed is None:
            return
        self._count(bytes_received=sum(map(len, packed.values())))
        for record, sealed in records:
            try:
                datas: list[bytes | None] = []
                for stored in record.objects:
                    if stored.sha256 not in wanted:
                        datas.append(None)
                        continue
                    data = packed.get(place(OBJECTS, stored.sha256))
                    try:
                        if data is None:
                            raise RefusedError(f"the object {stored.sha256[:16]}… is not there")
                        datas.append(unpack(stored, data))
                    except RefusedError:
                        self._damaged.add(stored.sha256)
                        raise
            except RefusedError as error:
                answer.refused[record.key] = self._refuse(record.key, str(error))
                continue
            self._count(hits=1)
            answer.entries.append(Fetched(record, tuple(datas), sealed))

    # -- write

    def send(self, entries: Iterable[tuple[Record, Callable[[StoredFile], bytes]]]) -> bool:
        """Send entries: the objects that are not there, then the records. Whether all went."""
        assert self._key is not None
        whole = True
        for batch in _batches([(record, load) for record, load in entries]):
            whole = self._send(batch) and whole
        return whole

    def _send(self, batch: Sequence[tuple[Record, Callable[[StoredFile], bytes]]]) -> bool:
        assert self._key is not None
        objects = {place(OBJECTS, s.sha256): (s, load) for record, load in batch for s in record.objects}
        names = list(objects)
        there = self._ask(lambda at, seconds: at.has(names, seconds), 0, waits=False)
        if there is None:
            return False
        blobs = [
            (name, compress(load(stored)))
            for name, (stored, load) in objects.items()
            if name not in there or stored.sha256 in self._damaged
        ]
        blobs += [(place(RECORDS, record.key), seal(record, self._key)) for record, _ in batch]
        size = sum(len(data) for _, data in blobs)
        done = self._ask(lambda at, seconds: _put(at, blobs, seconds), size, waits=False)
        if done is None:
            return False
        self._damaged.difference_update(stored.sha256 for stored, _ in objects.values())
        self._count(stores=len(batch), bytes_sent=size)
        return True

    def touch(self, fetched: Fetched) -> None:
        """Note that an entry was used, for a sweep by age: its record is written again, of an old one only."""
        if not self.writes or time.time() - fetched.record.created < _TOUCH_AFTER:
            return
        blobs = [(place(RECORDS, fetched.record.key), fetched.sealed)]
        self._ask(lambda at, seconds: _put(at, blobs, seconds), 0, waits=False)

    def not_sent(self, reason: str) -> None:
        """Count an entry that could not be read from the folder when it was its turn."""
        self._failed(f"an entry could not be sent, {reason}")

    @property
    def batches(self) -> bool:
        """Whether many keys are one request."""
        return self._transport().batches

    @property
    def touches(self) -> bool:
        """Whether use has to be noted by writing: where the remote does not know when something was last read."""
        return self.writes and not self._transport().notes_use

    # -- leases

    @property
    def leases(self) -> bool:
        """Whether one machine compiles while others wait."""
        transport = self._transport() if self.writes and self.reads else None
        return transport is not None and transport.leases

    def lease(self, digest: str) -> tuple[bool, Lease | None]:
        """Whether the remote answered, and the lease of this key, or None where another machine has it."""
        answer = self._ask(lambda at, seconds: (at.lock(digest, LEASE_SECONDS, seconds),), 0, waits=False)
        return (False, None) if answer is None else (True, answer[0])

    # -- asking

    def _ask(
        self, call: Callable[[Transport, float], Result], size: int, *, waits: bool = True
    ) -> Result | None:
        """The answer of the remote, or None where it failed or is left alone. ``size`` bytes are on the way.

        With ``waits``, a program waits for it, and may do so for ``start`` seconds in a minute.
        """
        seconds = self.spec.request + size / _MIB
        if waits:
            seconds = min(seconds, self._allowance.left())
        if seconds <= 0 or not self.breaker.admits():
            self._count(skipped=1)
            return None
        begin = time.monotonic()
        try:
            transport = self._transport()
            if not self._ever_asked:
                transport.check()
                self._ever_asked = True
            answer = call(transport, seconds)
        except CacheError as error:
            self.breaker.failed()
            if not self._ever_asked and waits:
                raise
            self._failed(str(error))
            return None
        except RemoteError as error:
            self.breaker.failed(unreachable=isinstance(error, UnreachableError))
            self._failed(str(error))
            return None
        except Exception as error:  # noqa: BLE001  (what a library raises must not stop a program)
            self.breaker.failed()
            self._failed(f"{type(error).__name__}: {error}")
            return None
        else:
            self.breaker.succeeded()
            return answer
        finally:
            spent = time.monotonic() - begin
            self._count(requests=1, seconds=spent)
            if waits:
                self._allowance.spend(spent)

    def transport(self) -> Transport:
        """What the remote is asked through, for work on all of it. Raises ``CacheError`` and ``RemoteError``."""
        return self._transport()

    def _transport(self) -> Transport:
        with self._lock:
            if self._opened is None:
                self._opened = open_transport(self.spec)
            return self._opened

    def load(self) -> None:
        """Import what sending needs. Some of it cannot be imported any more while the interpreter ends."""
        import cryptography.hazmat.primitives.asymmetric.ed25519  # noqa: F401
        import zstandard  # noqa: F401

        try:
            self._transport()
        except CacheError as error:
            self._failed(str(error))

    # -- counting

    def stats(self) -> TierStats:
        """What this process asked of it."""
        leases = self._opened.leases if self._opened is not None else None
        return TierStats(self.name, self.mode, leases, **self._counts)

    def _count(self, **more: float) -> None:
        with self._lock:
            for name, count in more.items():
                self._counts[name] = self._counts.get(name, 0) + count

    def _refuse(self, digest: str, reason: str) -> str:
        self._count(refused=1)
        self._warn_once(
            "refused", f"An entry of the remote cache {self.name} is left out ({digest[:16]}…): {reason}."
        )
        return f"found in {self.name}, but {reason}"

    def _failed(self, reason: str) -> None:
        self._count(failures=1)
        self._warn_once(
            "failed",
            f"The remote cache {self.name} failed: {reason.rstrip('.')}. Compiling goes on without it.",
        )

    def _warn_once(self, what: str, message: str) -> None:
        if what not in self._warned:
            self._warned.add(what)
            warn(message)


def _signing_key(spec: RemoteSpec) -> PrivateKey | None:
    return None if spec.mode == "readonly" or is_read_only(spec) else private_key()


def _mode(spec: RemoteSpec, key: PrivateKey | None) -> Mode:
    if is_read_only(spec):
        if spec.mode in ("readwrite", "writeonly"):
            raise CacheError(
                f"The remote cache {spec.name} got mode={spec.mode!r}, and a web server is only read. "
                f"Leave the mode out, and write to what is behind the server: s3://…, file://…"
            )
        return "readonly"
    if spec.mode is not None and spec.mode != "readonly" and key is None:
        raise CacheError(
            f"The remote cache {spec.name} got mode={spec.mode!r}, and this machine has no private key to sign with. "
            f"Run: passprint key new NAME, or set PASSPRINT_PRIVATE_KEY, or ask for mode=readonly."
        )
    return spec.mode or ("readwrite" if key is not None else "readonly")


def _put(at: Transport, blobs: Sequence[tuple[str, bytes]], seconds: float) -> bool:
    at.put(blobs, seconds)
    return True


def _batches(records: Sequence[tuple[Record, Any]]) -> Iterator[list[tuple[Record, Any]]]:
    """Records together as far as their objects fit into memory at a time."""
    batch: list[tuple[Record, Any]] = []
    size = 0
    for record, more in records:
        if batch and size + record.size > _AT_ONCE:
            yield batch
            batch, size = [], 0
        batch.append((record, more))
        size += record.size
    if batch:
        yield batch
