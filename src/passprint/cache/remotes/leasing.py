"""One machine compiles a key, the others wait: leases that are renewed while they are held."""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from typing import Final

from passprint.cache.remotes.tier import LEASE_SECONDS, Tier
from passprint.cache.remotes.transport import Lease, RemoteError

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 0.5


class Leases:
    """The leases that this process holds in one remote. A process that dies stops renewing them."""

    def __init__(self, tier: Tier) -> None:
        self._tier = tier
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._held: dict[str, Lease] = {}
        self._thread: threading.Thread | None = None

    def wait(self, digest: str, until: float) -> bool:
        """Wait for the lease of a key until ``time.monotonic()`` is ``until``; whether it is held now.

        False where the time is up or the remote fails: who asked compiles as well.
        """
        if self._pid != os.getpid():  # the leases of a parent are renewed by the parent
            self._begin()
        pause = _FIRST_PAUSE
        while True:
            answered, lease = self._tier.lease(digest)
            if lease is not None:
                self._hold(digest, lease)
                return True
            rest = until - time.monotonic()
            if not answered or rest <= 0:
                return False
            time.sleep(min(rest, pause * random.uniform(0.5, 1.5)))
            pause = min(pause * 2, _LONGEST_PAUSE)

    def release(self, digest: str) -> None:
        """Let go of a lease. Where that fails, it ends by itself."""
        with self._lock:
            lease = self._held.pop(digest, None)
        if lease is not None:
            with contextlib.suppress(RemoteError):
                lease.release()

    def _hold(self, digest: str, lease: Lease) -> None:
        with self._lock:
            self._held[digest] = lease
            if self._thread is None:
                self._thread = threading.Thread(target=self._renew, name="passprint-leases", daemon=True)
                self._thread.start()

    def _renew(self) -> None:
        while True:
            time.sleep(LEASE_SECONDS / 3)
            with self._lock:
                held = list(self._held.items())
                if not held:
                    self._thread = None
                    return
            for digest, lease in held:
                try:
                    lease.renew()
                except RemoteError:  # lost: another may compile it as well, and both store the same
                    with self._lock:
                        self._held.pop(digest, None)
