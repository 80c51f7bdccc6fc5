import pytest

from passprint.report import format as figures


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0.0, "0 s"),
        (134.4, "134 s"),
        (59.06, "59.1 s"),
        (1.234, "1.23 s"),
        (0.0123, "12.3 ms"),
        (0.99, "990 ms"),
        (4.2e-06, "4.20 µs"),
    ],
)
def test_duration_has_three_digits_and_a_fitting_unit(seconds: float | None, text: str) -> None:
    assert figures.duration(seconds) == text


def test_ratio_is_value_by_base() -> None:
    assert figures.ratio(15.0, 60.0) == "0.25×"
    assert figures.ratio(90.0, 60.0) == "1.50×"
    assert figures.ratio(1.0, None) == "–"
    assert figures.ratio(None, 1.0) == "–"


def test_share_is_in_percent() -> None:
    assert figures.share(0.05, 20.0) == "0.25%"
    assert figures.share(5.0, 20.0) == "25%"
    assert figures.share(5.0, None) == "–"


def test_difference_tells_none_from_small() -> None:
    assert figures.difference(0.0) == "0"
    assert figures.difference(7.15e-07) == "7.2e-07"
    assert figures.difference(float("nan")) == "nan"


def test_count_rate_and_yes_no() -> None:
    assert figures.count(1288) == "1,288"
    assert figures.rate(17.24) == "17.2"
    assert [figures.yes_no(value) for value in (True, False, None)] == ["yes", "no", "–"]


def test_sizes() -> None:
    assert [figures.size(count) for count in (0, 1023, 1536, 5 << 30, 1 << 42, None)] == [
        "0 B",
        "1023 B",
        "1.5 KiB",
        "5.0 GiB",
        "4.0 TiB",
        "–",
    ]
