"""Where compiled artifacts live: a content-addressed store that many processes share.

``open_store`` turns what a user says (None, a path, a ``Store``, False) into a ``Store``. Keys are
fingerprints of named parts. ``docs/cache.md`` tells how the folder is laid out and what is promised about it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from passprint.cache.entry import Entry
from passprint.cache.folder import CacheWarning, NoPlaceError, is_users_own, warn
from passprint.cache.local import LocalStore
from passprint.cache.store import Exported, Imported, Key, NoStore, Payload, Stats, Store, StoreSpec
from passprint.errors import CacheError

if TYPE_CHECKING:
    from passprint.cache.explain import explain_miss, with_sources
    from passprint.cache.maintenance import Problem, Row, Swept, Verified
    from passprint.cache.miss import Miss

__all__ = [
    "CacheWarning",
    "Entry",
    "Exported",
    "Imported",
    "Key",
    "LocalStore",
    "Miss",
    "NoStore",
    "Payload",
    "Problem",
    "Row",
    "Stats",
    "Store",
    "StoreSpec",
    "Swept",
    "Verified",
    "explain_miss",
    "open_store",
    "with_sources",
]


def open_store(spec: StoreSpec = None) -> Store:
    """The store that ``spec`` means.

    None is the user's cache folder, a path is a folder, False is no caching, and a ``Store`` is itself.
    Raises ``CacheError`` for anything else, and for a folder that cannot be used. Where nobody has named a folder and
    there is no place for one (a service without a home), there is one warning and no cache.
    """
    if spec is None:
        try:
            return LocalStore()
        except NoPlaceError as error:
            if not is_users_own(spec):
                raise
            warn(f"There is no cache: {str(error)[0].lower()}{str(error)[1:]}")
            return NoStore("a folder for a cache is not to be had")
    if spec is False:
        return NoStore()
    if isinstance(spec, str) and "://" in spec:
        raise CacheError(
            f"A cache must be a folder, but {spec!r} was given. A cache is not read over the network: fetch "
            f"an archive that `passprint cache export` wrote and bring it in with `passprint cache import`."
        )
    if isinstance(spec, str | os.PathLike):
        return LocalStore(spec)
    if isinstance(spec, Store):
        return spec
    raise CacheError(
        f"A cache must be None (your folder), a path, a Store or False (no caching), but {spec!r} was given."
    )


_LATER = {
    "Miss": "miss",
    "explain_miss": "explain",
    "with_sources": "explain",
    **dict.fromkeys(("Problem", "Row", "Swept", "Verified"), "maintenance"),
}
"""Names that a warm start does not need, and the modules that have them."""


def __getattr__(name: str) -> Any:
    module = _LATER.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{module}"), name)
