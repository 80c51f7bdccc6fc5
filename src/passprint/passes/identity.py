"""Who a pass is, for passes that do not inherit from passprint's."""

from __future__ import annotations

from typing import Any

from passprint.identity import default_memo
from passprint.passes.opaque import warn_opaque


def pass_uuid(pass_: Any) -> str | None:
    """The digest of a pass's fingerprint, for a ``uuid()`` of your own: ``return passprint.pass_uuid(self)``.

    None, torch's word for "do not cache", where something that it reaches cannot be identified; one warning names that.
    """
    digest: str | None = default_memo().digest(pass_)
    if digest is None:
        warn_opaque(pass_)
    return digest
