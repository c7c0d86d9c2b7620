"""How the admin pages write figures."""

import pytest
from django.utils.translation import override

from django_sse.templatetags.django_sse_admin import duration, number, percent, rate, seconds, size


def plain(text: str) -> str:
    return text.replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.04, "< 0.1"),
        (0.05, "0.1"),
        (0.449, "0.4"),
        (0.46, "0.5"),
        (9.94, "9.9"),
        (9.96, "10"),
        (1234.6, "1,235"),
    ],
)
def test_rate_has_a_decimal_where_it_is_small(value: float, text: str) -> None:
    """It is rounded, and nothing that is there is written as nothing."""
    assert rate(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (1260, "1.3 kB"),
        (99_940, "99.9 kB"),
        (99_960, "100 kB"),
        (999_600, "1.0 MB"),
        (3e9, "3.0 GB"),
        (5e15, "5,000 TB"),
    ],
)
def test_size_has_the_unit_that_keeps_it_short(value: float, text: str) -> None:
    """As the charts have it."""
    assert plain(size(value)) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0042, "4 ms"),
        (1, "1 s"),
        (59.4, "59 s"),
        (61, "1 min 1 s"),
        (3_700, "1 h 1 min"),
        (90_000, "1 day 1 h"),
        (180_000, "2 days 2 h"),
    ],
)
def test_duration_has_two_units(value: float, text: str) -> None:
    """The greatest, and the one below."""
    assert plain(duration(value)) == text


def test_numbers_are_in_the_language_of_the_page() -> None:
    """With its marks for thousands and decimals."""
    with override("de"):
        assert (number(5000.4), rate(2.5), plain(size(1500))) == ("5.000", "2,5", "1,5 kB")
    assert (plain(percent(0.256)), plain(seconds(7.6))) == ("26 %", "8 s")
