"""Calls that may hang, made side by side in threads that nobody waits for longer than agreed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from passprint.cache.remotes.transport import RemoteError

Result = TypeVar("Result")

_THREADS: Final = 16


def side_by_side(calls: Sequence[Callable[[], Result]], seconds: float) -> list[Result]:
    """The results of ``calls``, in order. Raises the first error, ``RemoteError`` when ``seconds`` have passed.

    A thread that hangs is left to itself; it is a daemon, so the process ends without it.
    """
    results: dict[int, Result] = {}
    errors: list[BaseException] = []
    numbers = iter(range(len(calls)))
    state = threading.Condition()
    given_up = False

    def work() -> None:
        while True:
            with state:
                number = None if errors or given_up else next(numbers, None)
            if number is None:
                return
            try:
                result = calls[number]()
            except BaseException as error:  # noqa: BLE001  (raised by who waits)
                with state:
                    errors.append(error)
                    state.notify()
                return
            with state:
                results[number] = result
                state.notify()

    for _ in range(min(_THREADS, len(calls))):
        try:
            threading.Thread(target=work, name="passprint-remote", daemon=True).start()
        except (
            RuntimeError
        ):  # the interpreter ends and begins no more threads: what is still to be sent goes from here
            work()
    with state:
        done = state.wait_for(lambda: errors or len(results) == len(calls), seconds)
        given_up = True
    if errors:
        raise errors[0]
    if not done:
        raise RemoteError(f"no answer within {seconds:.1f} s")
    return [results[number] for number in range(len(calls))]
