"""Which tests need which torch: what an older one does not have is skipped by name, with the reason."""

from __future__ import annotations

import pytest
import torch


def since(version: tuple[int, int], what: str) -> pytest.MarkDecorator:
    """Skip before torch ``version``, the first with ``what``."""
    number = ".".join(map(str, version))
    return pytest.mark.skipif(torch.__version__ < version, reason=f"{what} came with torch {number}")


READ = ((2, 13), (2, 14), (2, 15))
"""The torch releases whose whole suite passes."""


def is_read() -> bool:
    """Whether this torch is one of them."""
    major, minor = torch.__version__.split(".")[:2]
    return (int(major), int(minor)) in READ
