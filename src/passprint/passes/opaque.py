"""One warning for an identity that is incomplete."""

from __future__ import annotations

import warnings
import weakref

from passprint.identity import fingerprint


class OpaqueWarning(UserWarning):
    """A pass cannot be identified, so what it compiles is not cached."""


class _Warned:
    """Which paths have been warned about, by class; a class that is gone is forgotten."""

    def __init__(self) -> None:
        self._paths: weakref.WeakKeyDictionary[type, set[str]] = weakref.WeakKeyDictionary()

    def is_new(self, owner: type, path: str) -> bool:
        known = self._paths.setdefault(owner, set())
        if path in known:
            return False
        known.add(path)
        return True


_warned = _Warned()


def warn_opaque(pass_: object) -> None:
    """Warn, once per class and path, of what keeps ``pass_`` from being identified."""
    for path in fingerprint(pass_, strict=False).opaque:
        if _warned.is_new(type(pass_), path):
            warnings.warn(
                f"{type(pass_).__qualname__} cannot be identified, so what is compiled with it is not "
                f"cached: {path} is opaque. Replace it by plain data, a function or a class, or give the "
                "pass its own uuid().",
                OpaqueWarning,
                stacklevel=3,
            )
