"""The kinds of objects that are known, in the order in which they are asked for a type."""

from __future__ import annotations

from passprint.identity import (
    class_kinds,
    code_kinds,
    library_kinds,
    torch_kinds,
    triton_kinds,
    value_kinds,
)
from passprint.identity.walk import FINDERS

__all__ = ["class_kinds", "code_kinds", "library_kinds", "torch_kinds", "triton_kinds", "value_kinds"]

FINDERS.append(value_kinds.LAST_FINDER)
