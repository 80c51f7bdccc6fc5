"""One warning for an identity that is incomplete."""

from __future__ import annotations

import weakref

from passprint.identity import default_memo
from passprint.warned import warn


class OpaqueWarning(UserWarning):
    """A pass cannot be identified, so what it compiles is not cached."""


class _Warned:
    """Which paths have been warned about, by class; a class that is gone is forgotten."""

    def __init__(self) -> None:
        self._paths: weakref.WeakKeyDictionary[type, set[str]] = weakref.WeakKeyDictionary()

    def new_ones(self, owner: type, paths: tuple[str, ...]) -> list[str]:
        """Those of ``paths`` that no one has been told about yet; now they are."""
        known = self._paths.setdefault(owner, set())
        new = [path for path in paths if path not in known]
        known.update(new)
        return new


_warned = _Warned()


def warn_opaque(pass_: object) -> None:
    """Warn of what keeps ``pass_`` from being identified: once per class and path, in one warning."""
    paths = _warned.new_ones(type(pass_), default_memo().opaque_paths(pass_))
    if not paths:
        return
    others = f" (and {len(paths) - 1} more)" if len(paths) > 1 else ""
    warn(
        f"{type(pass_).__qualname__} cannot be identified, so what is compiled with it is not cached: "
        f"{paths[0]} is opaque{others}. Replace it by plain data, a function or a class, or give the pass its "
        "own uuid().",
        OpaqueWarning,
    )
