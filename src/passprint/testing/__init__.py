"""Testing a pass: `check_pass` does everything that a test of a pass should do; `capture_graphs` gives its graphs."""

from passprint.testing.capture import Captured, capture_graphs
from passprint.testing.kit import CheckedPass, CheckFailed, check_pass

__all__ = ["Captured", "CheckFailed", "CheckedPass", "capture_graphs", "check_pass"]
