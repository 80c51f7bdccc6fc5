"""Where compiled artifacts live: a content-addressed store that many processes share.

``open_store`` turns what a user says (None, a path, a URL, a ``Store``, False) into a ``Store``. Keys are
fingerprints of named parts. ``docs/cache.md`` tells how the folder is laid out and what is promised about it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from passprint.cache.entry import Entry
from passprint.cache.folder import CacheWarning, NoPlaceError, is_users_own, warn
from passprint.cache.local import LocalStore
from passprint.cache.remotes.config import configured
from passprint.cache.store import (
    Exported,
    Imported,
    Key,
    NoStore,
    Payload,
    Stats,
    Store,
    StoreSpec,
    TierStats,
)
from passprint.errors import CacheError

if TYPE_CHECKING:
    from passprint.cache.explain import explain_miss, with_sources
    from passprint.cache.maintenance import Problem, Row, Swept, Verified
    from passprint.cache.miss import Miss
    from passprint.cache.remotes.tiered import TieredStore

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
    "TierStats",
    "TieredStore",
    "Verified",
    "explain_miss",
    "open_store",
    "with_sources",
]


def open_store(spec: StoreSpec = None) -> Store:
    """The store that ``spec`` means.

    None is the user's cache folder and a path is a folder, each with the remotes behind it that
    ``PASSPRINT_CACHE_REMOTE`` or a file names (:func:`passprint.cache.remotes.config.configured`). A URL is
    the user's folder with that remote behind it, False is no caching, and a ``Store`` is itself.
    Raises ``CacheError`` for anything else, for a folder that cannot be used, and for a remote that cannot be set up.
    Where nobody has named a folder and there is no place for one (a service without a home), there is one warning and
    no cache.
    """
    if spec is False:
        return NoStore()
    if isinstance(spec, Store):
        return spec
    if spec is not None and not isinstance(spec, str | os.PathLike):
        raise CacheError(
            f"A cache must be None (your folder), a path, a URL, a Store or False (no caching), but {spec!r} was given."
        )
    is_url = isinstance(spec, str) and "://" in spec
    folder = None if is_url else spec
    try:
        local = LocalStore(folder)
    except NoPlaceError as error:
        if not is_users_own(folder):
            raise
        warn(f"There is no cache: {str(error)[0].lower()}{str(error)[1:]}")
        return NoStore("a folder for a cache is not to be had")
    urls = (str(spec),) if is_url else configured()
    if not urls:
        return local
    from passprint.cache.remotes.tiered import tiered  # nothing of it without a remote

    return tiered(local, urls)


_LATER = {
    "Miss": "miss",
    "explain_miss": "explain",
    "with_sources": "explain",
    "TieredStore": "remotes.tiered",
    **dict.fromkeys(("Problem", "Row", "Swept", "Verified"), "maintenance"),
}
"""Names that a warm start does not need, and the modules that have them."""


def __getattr__(name: str) -> Any:
    module = _LATER.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{module}"), name)
