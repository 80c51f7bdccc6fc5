"""What is sent to remotes while the program goes on, in the order in which it was stored."""

from __future__ import annotations

import atexit
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from passprint.cache.entry import Entry
from passprint.cache.files import DamagedError
from passprint.cache.remotes.tier import Tier

Work: TypeAlias = "Entry | Callable[[], object]"

_MOST_TOGETHER: Final = 64


class Sender:
    """A thread, begun with the first entry, that sends entries to ``tiers``; many that wait go together.

    At its end the process waits up to ``exit_seconds`` for it.
    """

    def __init__(self, tiers: Sequence[Tier], exit_seconds: float) -> None:
        self._tiers = tiers
        self._exit_seconds = exit_seconds
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._waiting: deque[Work] = deque()
        self._state = threading.Condition()
        self._busy = False
        self._thread: threading.Thread | None = None

    def add(self, work: Work) -> None:
        """Send an entry, which stays open until then; or call something after all that was added before."""
        if (
            self._pid != os.getpid()
        ):  # a forked child has no thread, and what its parent sends is its parent's
            self._begin()
        with self._state:
            self._waiting.append(work)
            self._state.notify_all()
            if self._thread is None:
                for tier in self._tiers:
                    tier.load()
                self._thread = threading.Thread(target=self._run, name="passprint-sender", daemon=True)
                self._thread.start()
                atexit.register(self.flush, self._exit_seconds)

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until nothing is waiting any more, up to ``timeout`` seconds; whether that was reached."""
        if self._pid != os.getpid():
            return True
        with self._state:
            return self._state.wait_for(lambda: not self._waiting and not self._busy, timeout)

    def _run(self) -> None:
        while True:
            with self._state:
                self._busy = False
                self._state.notify_all()
                self._state.wait_for(lambda: self._waiting)
                self._busy = True
                entries: list[Entry] = []
                call: Callable[[], object] | None = None
                while self._waiting and call is None and len(entries) < _MOST_TOGETHER:
                    work = self._waiting.popleft()
                    if isinstance(work, Entry):
                        entries.append(work)
                    else:
                        call = work
            self._send(entries)
            if call is not None:
                call()

    def _send(self, entries: Sequence[Entry]) -> None:
        try:
            for tier in self._tiers:
                try:
                    if entries:
                        tier.send((entry.record, entry.load) for entry in entries)
                except (DamagedError, OSError) as error:  # the folder was changed by somebody
                    tier.not_sent(str(error))
        finally:
            for entry in entries:
                entry.close()
