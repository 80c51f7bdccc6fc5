"""Testing a pass: `check_pass` does everything that a test of a pass should do; `capture_graphs` gives its graphs.

Importing this package imports no torch: pytest does so at every start, for the plug-in.
"""

from __future__ import annotations

import importlib

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any

    from passprint.testing.capture import Captured, capture_graphs
    from passprint.testing.kit import CheckedPass, CheckFailed, check_pass

__all__ = ["Captured", "CheckFailed", "CheckedPass", "capture_graphs", "check_pass"]

_MODULES = {
    "Captured": "capture",
    "capture_graphs": "capture",
    "CheckFailed": "kit",
    "CheckedPass": "kit",
    "check_pass": "kit",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
