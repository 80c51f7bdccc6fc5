"""When a remote is asked and when it is left alone."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

FAILURES: Final = 3
REST_SECONDS: Final = 60.0


class Breaker:
    """Leaves a remote alone for a minute after three failures in a row, then lets one request try.

    A remote that cannot be connected to rests at once: the next request would wait as long again.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._rests_until: float | None = None
        self._probing = False

    def admits(self) -> bool:
        """Whether to make a request now. Who is told yes says with the other methods what came of it."""
        with self._lock:
            if self._rests_until is None:
                return True
            if self._probing or self._clock() < self._rests_until:
                return False
            self._probing = True
            return True

    def rests(self) -> bool:
        """Whether the remote is being left alone."""
        with self._lock:
            return self._rests_until is not None

    def succeeded(self) -> None:
        """The request was answered."""
        with self._lock:
            self._failures, self._rests_until, self._probing = 0, None, False

    def failed(self, *, unreachable: bool = False) -> None:
        """The request was not answered, or not rightly."""
        with self._lock:
            self._failures += 1
            if unreachable or self._probing or self._failures >= FAILURES:
                self._rests_until = self._clock() + REST_SECONDS
            self._probing = False


class Allowance:
    """How long a program may wait in any minute."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._spent: deque[tuple[float, float]] = deque()

    def left(self) -> float:
        """Seconds that are left."""
        begin = self._clock() - REST_SECONDS
        while self._spent and self._spent[0][0] < begin:
            self._spent.popleft()
        return self._seconds - sum(seconds for _, seconds in list(self._spent))

    def spend(self, seconds: float) -> None:
        """Count seconds that were waited."""
        self._spent.append((self._clock(), seconds))
