"""A Redis server: one request for many names, and leases."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

from passprint.cache.remotes.deadline import side_by_side
from passprint.cache.remotes.spec import RemoteSpec
from passprint.cache.remotes.transport import Lease, Listed, RemoteError, UnreachableError
from passprint.errors import CacheError

Result = TypeVar("Result")

_PREFIX: Final = "passprint/1/"
_SCANNED: Final = 1000


class RedisRemote:
    """The keys ``passprint/1/…`` of a database. Raises ``CacheError`` where redis-py is missing or refuses the URL."""

    batches = True
    leases = True
    notes_use = True

    def __init__(self, spec: RemoteSpec) -> None:
        self._spec = spec
        try:
            import redis
        except ImportError as error:
            raise CacheError(
                f"The remote cache {spec.name} needs redis-py, which is not installed. "
                f"Run: pip install 'passprint[redis]'"
            ) from error
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        self._redis = redis
        try:
            self._client = redis.Redis.from_url(
                spec.url,
                socket_connect_timeout=spec.connect,
                socket_timeout=spec.request,
                retry=Retry(NoBackoff(), 0),
            )
        except ValueError as error:
            raise CacheError(
                f"The remote cache {spec.name} is not a URL of Redis: {error}. Expected redis://host:6379/0."
            ) from error

    def check(self) -> None:
        refusing = (self._redis.AuthenticationError, self._redis.ResponseError)  # the latter: NOAUTH, NOPERM
        try:
            self._ask(self._client.ping, self._spec.connect)
        except RemoteError as error:
            if isinstance(error.__cause__, refusing):
                raise CacheError(
                    f"The Redis server {self._spec.name} does not let this machine in: {error}. Set user and password "
                    f"in the URL, redis://USER:PASSWORD@host:6379/0, or take the remote away."
                ) from error
            raise

    def get(self, wanted: Mapping[str, int], seconds: float) -> dict[str, bytes]:
        def ask() -> list[Any]:
            with self._client.pipeline(transaction=False) as pipe:
                for name, most in wanted.items():
                    pipe.getrange(_PREFIX + name, 0, most)
                found: list[Any] = pipe.execute()
                return found

        found = self._ask(ask, seconds)
        return {name: data for name, data in zip(wanted, found, strict=True) if data}

    def has(self, names: Sequence[str], seconds: float) -> set[str]:
        def ask() -> list[Any]:
            with self._client.pipeline(transaction=False) as pipe:
                for name in names:
                    pipe.exists(_PREFIX + name)
                found: list[Any] = pipe.execute()
                return found

        found = self._ask(ask, seconds)
        return {name for name, there in zip(names, found, strict=True) if there}

    def put(self, blobs: Sequence[tuple[str, bytes]], seconds: float) -> None:
        def ask() -> None:
            with self._client.pipeline(transaction=False) as pipe:
                for name, data in blobs:
                    pipe.set(_PREFIX + name, data)
                pipe.execute()

        self._ask(ask, seconds)

    def lock(self, name: str, lease_seconds: float, seconds: float) -> Lease | None:
        lock = self._client.lock(f"{_PREFIX}locks/{name}", timeout=lease_seconds, thread_local=False)
        taken = self._ask(lambda: lock.acquire(blocking=False), seconds)
        return _RedisLease(self, lock, lease_seconds, seconds) if taken else None

    def walk(self) -> Iterator[Listed]:
        for room in ("records", "objects"):
            keys = self._client.scan_iter(match=f"{_PREFIX}{room}/*", count=_SCANNED)
            while batch := self._ask(lambda: list(itertools.islice(keys, _SCANNED)), self._spec.request * 2):  # noqa: B023
                yield from self._described(batch)

    def remove(self, names: Iterable[str]) -> None:
        rest = iter(names)
        while batch := [_PREFIX + name for name in itertools.islice(rest, _SCANNED)]:
            self._ask(lambda: self._client.unlink(*batch), self._spec.request)

    def _described(self, keys: Sequence[bytes]) -> Iterator[Listed]:
        def ask() -> list[Any]:
            with self._client.pipeline(transaction=False) as pipe:
                for key in keys:
                    pipe.object("idletime", key)
                    pipe.memory_usage(key)  # unlike STRLEN, it is no use of the key
                found: list[Any] = pipe.execute(raise_on_error=False)
                return found

        facts = self._ask(ask, self._spec.request)
        for key, idle, size in zip(keys, facts[::2], facts[1::2], strict=True):
            if isinstance(size, int) and isinstance(idle, int):  # else it went meanwhile
                yield Listed(key.decode().removeprefix(_PREFIX), size, float(idle))

    def _ask(self, call: Callable[[], Result], seconds: float) -> Result:
        try:
            return side_by_side([call], seconds)[0]
        except RemoteError:  # a reply that drips: closing its connection ends the thread that reads it
            self._client.connection_pool.disconnect(inuse_connections=True)
            raise
        except self._redis.RedisError as error:
            connecting = "connecting to" in str(error)
            kind = UnreachableError if connecting else RemoteError
            raise kind(" ".join(str(error).split())[:200]) from error


class _RedisLease:
    """redis-py's lock: ``SET NX PX`` with a token of its own, renewed and released only by who has the token."""

    def __init__(self, remote: RedisRemote, lock: Any, lease_seconds: float, seconds: float) -> None:
        self._remote, self._lock = remote, lock
        self._lease_seconds, self._seconds = lease_seconds, seconds

    def renew(self) -> None:
        self._remote._ask(lambda: self._lock.extend(self._lease_seconds, replace_ttl=True), self._seconds)

    def release(self) -> None:
        self._remote._ask(self._lock.release, self._seconds)
