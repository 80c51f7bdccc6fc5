"""Which tests need which torch: what an older one does not have is skipped by name, with the reason."""

from __future__ import annotations

import pytest
import torch


def since(version: tuple[int, int], what: str) -> pytest.MarkDecorator:
    """Skip before torch ``version``, the first with ``what``."""
    number = ".".join(map(str, version))
    return pytest.mark.skipif(torch.__version__ < version, reason=f"{what} came with torch {number}")


KNOWN = ((2, 11), (2, 12), (2, 13), (2, 14), (2, 15))
"""The torch releases that were read: the smoke tests pass on all, the whole suite on the last three."""


def is_read() -> bool:
    """Whether this torch is one of them."""
    major, minor = torch.__version__.split(".")[:2]
    return (int(major), int(minor)) in KNOWN
