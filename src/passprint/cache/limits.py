"""How large a cache may grow, and the names that its sweeps and its writers share. Every start imports this."""

from __future__ import annotations

import os
from typing import Final

from passprint.errors import CacheError

SWEEP: Final = "sweep"
REPLACED: Final = ".old-"
LIMIT_ENVIRONMENT: Final = "PASSPRINT_CACHE_LIMIT"
DEFAULT_LIMIT: Final = 5 << 30

_SIZE: Final = r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?\s*"


def size_limit(given: int | None) -> int:
    """A limit in bytes (0: none): the given one, or ``PASSPRINT_CACHE_LIMIT`` (as ``2G``), or 5 GiB."""
    if given is not None:
        return given
    text = os.environ.get(LIMIT_ENVIRONMENT)
    return DEFAULT_LIMIT if not text else parse_size(text)


def parse_size(text: str) -> int:
    """``500M``, ``2.5G``, ``1024`` as bytes (binary units). Raises ``CacheError`` for anything else."""
    import re

    match = re.fullmatch(_SIZE, text, re.IGNORECASE)
    number, unit = match.groups() if match is not None else ("inf", "")
    size = float(number) * 1024 ** " KMGT".index(unit.upper() or " ")
    if size == float("inf"):  # no number, or one that is longer than any disk
        shown = text if len(text) <= 40 else f"{text[:40]}…"
        raise CacheError(f"A size must be like 500M, 2G or 1048576, but {shown!r} was given.")
    return int(size)


def parse_age(text: str) -> float:
    """``30d``, ``12h``, ``90min``, ``45s`` in seconds. Raises ``CacheError`` for anything else."""
    import re

    match = re.fullmatch(r"\s*(\d{1,9}(?:\.\d+)?)\s*(d|h|min|s)\s*", text)
    if match is None:
        raise CacheError(f"An age must be like 30d, 12h, 90min or 45s, but {text[:40]!r} was given.")
    return float(match[1]) * {"d": 86400.0, "h": 3600.0, "min": 60.0, "s": 1.0}[match[2]]
