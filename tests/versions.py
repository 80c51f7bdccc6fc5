"""Which tests need which torch: what an older one does not have is skipped by name, with the reason."""

from __future__ import annotations

import pytest
import torch


def since(version: tuple[int, int], what: str) -> pytest.MarkDecorator:
    """Skip before torch ``version``, the first with ``what``."""
    number = ".".join(map(str, version))
    return pytest.mark.skipif(torch.__version__ < version, reason=f"{what} came with torch {number}")
