"""What a remote does, whatever keeps it: get, put, lock and walk named bytes. Everything else wraps it from outside."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

RECORDS = "records"
OBJECTS = "objects"


class RemoteError(Exception):
    """A request failed. Internal: a tier counts it, and what was asked for is a miss."""


class UnreachableError(RemoteError):
    """There is no connection: more requests would fail as this one did."""


class Listed(NamedTuple):
    """One name in a remote: its bytes, and seconds since it was written (where the remote knows it, last used)."""

    name: str
    size: int
    age: float


class Lease(Protocol):
    """A lock with an end: who does not renew it in time has lost it."""

    def renew(self) -> None:
        """Begin its time again. Raises ``RemoteError`` when it is lost or the remote fails."""

    def release(self) -> None:
        """Let go. Raises ``RemoteError`` when it is lost or the remote fails."""


class Transport(Protocol):
    """Named bytes elsewhere. Names are ``records/ab/abcd…`` and ``objects/12/1234…``.

    Every request has a limit in ``seconds`` and raises ``RemoteError`` when it fails. Absent names are no failure.
    """

    batches: bool
    """Whether one request asks for many names."""
    leases: bool
    """Whether :meth:`lock` locks."""
    notes_use: bool
    """Whether ages are those of the last use, and not of writing."""

    def check(self) -> None:
        """Raise ``CacheError`` where the remote can never work here: no credentials, no such bucket, not allowed."""

    def get(self, wanted: Mapping[str, int], seconds: float) -> dict[str, bytes]:
        """The bytes of these names, of each at most as many as given and one more: what is longer shows."""

    def has(self, names: Sequence[str], seconds: float) -> set[str]:
        """Which of these are there."""

    def put(self, blobs: Sequence[tuple[str, bytes]], seconds: float) -> None:
        """Write these, each whole or not at all."""

    def lock(self, name: str, lease_seconds: float, seconds: float) -> Lease | None:
        """A lease, or None where another has it."""

    def walk(self) -> Iterator[Listed]:
        """All names."""

    def remove(self, names: Iterable[str]) -> None:
        """Remove these."""


def place(room: str, digest: str) -> str:
    """The name of a record or an object."""
    return f"{room}/{digest[:2]}/{digest}"
