"""What code is: canonical bytes → discovery → tree → memo with guards. No torch is imported here."""

from __future__ import annotations

from passprint.identity.canonical import canonical
from passprint.identity.compose import compose
from passprint.identity.digests import code_digest
from passprint.identity.memo import Memo, default_memo, fingerprint, keep_sources
from passprint.identity.tree import Change, Fingerprint, Part

__all__ = [
    "Change",
    "Fingerprint",
    "Memo",
    "Part",
    "canonical",
    "code_digest",
    "compose",
    "default_memo",
    "fingerprint",
    "keep_sources",
]
