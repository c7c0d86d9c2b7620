"""The verdict itself."""

import pytest

from tests.faults.readers import RESET, judge

PUBLISHED = range(1, 11)
ALL = list(PUBLISHED)


def test_nothing_is_wrong_with_each_number_once_in_order() -> None:
    assert judge(PUBLISHED, ALL)


@pytest.mark.parametrize(
    ("received", "says"),
    [
        ([1, 2, 3, 4, 5, 6, 7, 8, 10], "lost: 9"),
        ([1, 5, 6, 7, 8, 9], "lost: 2-4, 10"),
        ([], "lost: 1-10"),
        ([1, 2, 3, 3, *range(4, 11)], "repeated: 3"),
        ([*ALL, 1, 2, 3], "repeated: 1-3"),
        ([1, 3, 2, *range(4, 11)], "reordered: 2"),
        ([10, *range(1, 10)], "reordered: 1-9"),
        ([*ALL, 11, 12], "unknown: 11-12"),
        ([1, 2, 4, 4, 3, *range(6, 11)], "lost: 5; repeated: 4; reordered: 3"),
        ([*ALL, RESET], "resets: 1 instead of 0"),
    ],
)
def test_verdict_names_what_is_lost_repeated_and_out_of_order(
    received: list[int | None], says: str
) -> None:
    """It tells the numbers, as ranges."""
    verdict = judge(PUBLISHED, received)
    assert not verdict
    assert str(verdict) == says


@pytest.mark.parametrize(
    "received",
    [
        [1, 2, 3, 4, 5, RESET, 6, 7, 8, 9, 10],
        [1, 2, 3, 4, 5, RESET, 8, 9, 10],
        [1, 2, 3, 4, 5, RESET],
    ],
)
def test_reset_stands_for_what_came_since_the_break(received: list[int | None]) -> None:
    """The history went before 6 was published; the page has loaded its state at the reset."""
    assert judge(PUBLISHED, received, breaks=[6])


@pytest.mark.parametrize(
    ("received", "says"),
    [
        ([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], "resets: 0 instead of 1"),
        ([1, 2, 3, 4, 5, RESET, RESET, 6, 7, 8, 9, 10], "resets: 2 instead of 1"),
        ([1, 2, 3, 4, RESET, 6, 7, 8, 9, 10], "lost: 5"),
        ([1, 2, 3, 4, RESET, 5, 6, 7, 8, 9, 10], "resets: the one for 6 came too early"),
        ([1, 2, 3, 4, 5, 6, RESET, 7, 8, 9, 10], "resets: the one for 6 came too late"),
        ([1, 2, 3, 4, 5, RESET, 6, 8, 9, 10], "lost: 7"),
        ([1, 2, 3, 4, 5, RESET, 8, 7, 9, 10], "reordered: 7"),
    ],
)
def test_reset_excuses_nothing_else(received: list[int | None], says: str) -> None:
    """Nothing from before the break, nothing behind the reset; and it has to come."""
    verdict = judge(PUBLISHED, received, breaks=[6])
    assert not verdict
    assert str(verdict) == says


def test_each_break_has_its_own_reset() -> None:
    received = [1, 2, RESET, 4, 5, 6, RESET, 9, 10]
    assert judge(PUBLISHED, received, breaks=[3, 7])
    assert str(judge(PUBLISHED, received, breaks=[3, 8])) == "lost: 7"
