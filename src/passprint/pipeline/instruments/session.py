"""Which instruments are listening now, and how they are told."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from contextvars import ContextVar, Token
from time import perf_counter
from typing import Any

from passprint.pipeline.instruments.base import EVENTS, Instrument, PipelineRun

#: Where an instrument measures from and to.
_CLOCKED = frozenset({"before_pipeline", "after_pipeline"})


class Session:
    """The instruments that listen to one run of a pipeline on a graph, the ones of nested managers included.

    ``seconds``: how long the instruments themselves took so far. ``newcomers``: those that no outer session has.
    """

    def __init__(self, instruments: Sequence[Instrument], outer: Session | None = None) -> None:
        heard: tuple[Instrument, ...] = outer.instruments if outer is not None else ()
        self.newcomers: tuple[Instrument, ...] = tuple(one for one in instruments if one not in heard)
        self.instruments: tuple[Instrument, ...] = (*heard, *self.newcomers)
        self.within: tuple[PipelineRun, ...] = outer.within if outer is not None else ()
        self.seconds = 0.0
        self.position = 0
        self._outer = outer
        self._callbacks = {event: _callbacks(self.instruments, event) for event in EVENTS}

    def hears(self, event: str) -> bool:
        """Whether any instrument wants to know of ``event``."""
        return bool(self._callbacks[event])

    def notify(self, event: str, *details: Any) -> None:
        """Tell every instrument that listens to ``event``."""
        callbacks = self._callbacks[event]
        if not callbacks:
            return
        start = perf_counter()
        try:
            for callback in callbacks:
                callback(*details)
                if event in _CLOCKED:  # one after another, as the next may look at the clock
                    start = self._spent_since(start)
        finally:
            self._spent_since(start)

    def _spent_since(self, start: float) -> float:
        now = perf_counter()
        self.spent(now - start)
        return now

    def spent(self, seconds: float) -> None:
        """Count time as the instruments' own, here and in the sessions around."""
        self.seconds += seconds
        if self._outer is not None:
            self._outer.spent(seconds)

    def next_position(self) -> int:
        """The number of the pass that is about to run on this graph."""
        root = self
        while root._outer is not None:
            root = root._outer
        root.position += 1
        return root.position - 1


def _callbacks(instruments: Sequence[Instrument], event: str) -> tuple[Callable[..., None], ...]:
    """The callbacks that instruments really define; what comes after something goes the other way round."""
    base = getattr(Instrument, event)
    found = [getattr(one, event) for one in instruments if getattr(type(one), event) is not base]
    return tuple(reversed(found) if event.startswith("after") else found)


class _Active:
    """The session of this thread (or task); every thread starts without one."""

    # Who listens is no part of what a pass does.
    __fingerprint_ignore__ = ("_variable", "_graphs", "get")

    def __init__(self) -> None:
        self._variable: ContextVar[Session | None] = ContextVar("passprint_session", default=None)
        self._graphs = itertools.count()
        self.get = self._variable.get  # every pipeline asks, for every graph

    def enter(self, session: Session) -> Token[Session | None]:
        return self._variable.set(session)

    def leave(self, token: Token[Session | None]) -> None:
        self._variable.reset(token)

    def next_graph(self) -> int:
        return next(self._graphs)


active = _Active()
"""The one place that knows who is listening."""
