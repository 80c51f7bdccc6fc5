"""Small words in messages."""

from __future__ import annotations


def many(count: int, noun: str) -> str:
    """A number with its noun: ``1 entry``, ``2 entries``."""
    if noun.endswith("ss"):
        return f"{count:,} {noun if count == 1 else noun + 'es'}"
    plural = noun if count == 1 else f"{noun.removesuffix('y')}ies" if noun.endswith("y") else f"{noun}s"
    return f"{count:,} {plural}"
