"""Every error that passprint raises on purpose. Each message says what was given, what was expected, what to do."""

from __future__ import annotations

from collections.abc import Sequence


class PassprintError(Exception):
    """The base of all errors of this package."""


class OpaqueError(PassprintError):
    """An identity is incomplete: something reached cannot be identified.

    ``paths`` lists where, as ``MyPass.run → helper → CONFIG.handle: TextIOWrapper``.
    """

    def __init__(self, message: str, paths: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.paths = tuple(paths)


class PassError(PassprintError):
    """A graph pass went wrong.

    ``pass_name`` is the pass to blame, ``node`` the name of the graph node where it shows (or None),
    ``reason`` one sentence without the advice that the message adds.
    """

    def __init__(self, message: str, *, pass_name: str, node: str | None = None, reason: str = "") -> None:
        super().__init__(message)
        self.pass_name = pass_name
        self.node = node
        self.reason = reason or message


class PipelineError(PassprintError):
    """A pipeline's text, order or membership is not valid."""


class CacheError(PassprintError):
    """A cache cannot be used as asked (it cannot be written, it is unsafe, it is not a cache)."""


class CompileError(PassprintError):
    """A model could not be compiled; torch's own reason is kept as the cause."""
