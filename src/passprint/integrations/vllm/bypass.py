"""What cannot be identified: one warning, and from then on this process neither loads nor stores compiled code."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from passprint.identity import default_memo
from passprint.integrations.vllm import VllmWarning
from passprint.warned import warn

if TYPE_CHECKING:
    from passprint.integrations.vllm.door import Door


class Bypass:
    """Whether this process may use compile caches. Once it is on, it stays on.

    ``reason`` is one sentence, or None. ``nonce`` stands in every key that is made while it is on: what was stored by
    another process is never found by it, whatever vLLM has read of its switches before.
    """

    # What a process found out about itself is no part of what its passes do.
    __fingerprint_ignore__ = ("reason", "nonce", "_door")

    def __init__(self, door: Door) -> None:
        self._door = door
        self.reason: str | None = None
        self.nonce = ""

    def is_on(self) -> bool:
        """Whether nothing may be loaded or stored."""
        return self.reason is not None

    def opaque(self, obj: object) -> None:
        """``obj`` cannot be identified."""
        if self.reason is not None:
            return
        kind = obj if isinstance(obj, type) else type(obj)
        paths = default_memo().opaque_paths(obj) or (kind.__qualname__,)
        more = f" (and {len(paths) - 1} more)" if len(paths) > 1 else ""
        self.begin(
            f"{kind.__qualname__} cannot be identified: {paths[0]} is opaque{more}",
            "Replace it by plain data, a function or a class, or say what counts with __fingerprint__",
        )

    def failed(self, what: str, error: Exception) -> None:
        """Something of passprint's failed: without it, vLLM's own keys could find what is stale."""
        self.begin(
            f"{what} failed with {type(error).__name__}: {error}",
            "PASSPRINT_VLLM=off gives vLLM's own keys back",
        )

    def begin(self, reason: str, advice: str) -> None:
        """Switch the caches of this process off, with one warning."""
        if self.reason is not None:
            return
        self.reason, self.nonce = reason, secrets.token_hex(16)
        self._door.switch_caches_off()
        warn(
            f"{reason}. Nothing that vLLM compiles in this process is cached. {advice}".rstrip(), VllmWarning
        )
