"""Figures as short text: durations, ratios, shares, differences. One place, so that all reports read
alike."""

from __future__ import annotations

ABSENT = "–"


def duration(seconds: float | None) -> str:
    """Seconds with three digits and the unit that fits: ``'59.1 s'``, ``'4.20 ms'``, ``'12.0 µs'``."""
    if seconds is None:
        return ABSENT
    for scale, unit in ((1.0, "s"), (1e3, "ms")):
        if abs(seconds) * scale >= 1.0:
            return f"{_three_digits(seconds * scale)} {unit}"
    return f"{_three_digits(seconds * 1e6)} µs" if seconds else "0 s"


def ratio(value: float | None, base: float | None) -> str:
    """How many times ``base`` the value is: ``'0.25×'``."""
    if value is None or not base:
        return ABSENT
    return f"{_three_digits(value / base) if value >= base else f'{value / base:.2f}'}×"


def share(part: float | None, whole: float | None) -> str:
    """The part in percent of the whole: ``'0.31%'``."""
    if part is None or not whole:
        return ABSENT
    percent = 100.0 * part / whole
    return f"{percent:.2f}%" if percent < 10 else f"{percent:.0f}%"


def rate(per_second: float | None) -> str:
    """A rate with three digits: ``'17.2'``."""
    return ABSENT if per_second is None else _three_digits(per_second)


def difference(value: float | None) -> str:
    """A numeric difference: ``'0'`` when there is none at all, else two digits: ``'7.2e-07'``."""
    if value is None:
        return ABSENT
    return "0" if value == 0 else f"{value:.1e}"


def count(value: int | None) -> str:
    """A whole number with thousands apart: ``'1,288'``."""
    return ABSENT if value is None else f"{value:,}"


def size(count: float | None) -> str:
    """Bytes: ``'1.5 MiB'``."""
    if count is None:
        return ABSENT
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def yes_no(value: bool | None) -> str:
    """``'yes'``, ``'no'``, or a dash when the question does not arise."""
    if value is None:
        return ABSENT
    return "yes" if value else "no"


def _three_digits(value: float) -> str:
    size = abs(value)
    if size >= 99.95:
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 9.995 else f"{value:.2f}"
