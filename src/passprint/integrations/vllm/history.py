"""Why an artifact of vLLM's was not loaded, for ``passprint explain``.

Each key that was compiled is kept as named parts, in passprint's own cache. The artifacts themselves stay where vLLM
puts them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from passprint.integrations.vllm import VllmWarning
from passprint.warned import warn

if TYPE_CHECKING:
    from passprint.cache import Key, Store
    from passprint.integrations.vllm.bypass import Bypass
    from passprint.integrations.vllm.keys import Keys


class History:
    """Notes misses, and what was stored after them. Fails soft: no history is no reason to stop an engine."""

    __fingerprint_ignore__ = ("_compiling", "_store")

    def __init__(self, keys: Keys, bypass: Bypass) -> None:
        self._keys = keys
        self._bypass = bypass
        self._store: Store | None = None
        self._compiling: tuple[Key, str] | None = None

    def missed(self, path: str) -> None:
        """The artifact at ``path`` was not there, or could not be loaded: the model is about to be compiled."""
        try:
            self._note(path)
        except Exception as error:  # noqa: BLE001  (the engine goes on without a history)
            warn(f"passprint keeps no history of this start: {type(error).__name__}: {error}", VllmWarning)

    def stored(self) -> None:
        """What was compiled after the last miss is being stored."""
        if self._compiling is None or self._store is None:
            return
        key, label = self._compiling
        self._compiling = None
        self._store.put(key, {}, {"label": label, "form": "history"})

    def _note(self, path: str) -> None:
        from passprint.cache import explain_miss, open_store, with_sources
        from passprint.cache.miss import Miss

        last = self._keys.last()
        if last is None:
            return
        tree, label, passes = last
        self._store = self._store or open_store(None)
        if self._bypass.reason is not None:
            self._store.bypass(self._bypass.reason)
            self._store.missed(Miss("bypass", tree.digest, label, self._bypass.reason))
            return
        key = with_sources(tree, passes)
        self._compiling = (key, label)
        known = self._store.get(key.digest, counted=False)
        if os.path.exists(path):
            reason = (
                "it is stored, but vLLM could not load it, most often as a file that was traced has changed"
            )
        elif known is not None:
            reason = "it was compiled before, but vLLM's cache no longer has it"
        else:
            self._store.missed(explain_miss(self._store, key, label))
            return
        self._store.missed(Miss("vllm", key.digest, label, reason))
