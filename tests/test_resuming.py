"""Where a client begins: by its last event id, or by the option start."""

from collections.abc import Sequence
from typing import Any

import pytest

from django_sse.places import Place
from django_sse.positions import START, Position, encode
from django_sse.reasons import ResetReason
from django_sse.resuming import Resumption, check_start

HERE = {"a": Position(9, "a" * 8), "b": Position(4, "b" * 8)}
BEFORE = Position(3, "c" * 8)


class Past:
    """What is asked of a Following."""

    def __init__(self) -> None:
        self.asked: list[tuple[list[str], int | None]] = []

    async def past(self, groups: Sequence[str], back: int | None) -> dict[str, Position]:
        self.asked.append((list(groups), back))
        return dict.fromkeys(groups, BEFORE)


async def positions(resumption: Resumption, *groups: str) -> tuple[Any, Any]:
    """Return where to begin, and what the store was asked."""
    past = Past()
    found = await resumption.positions(past, groups)  # type: ignore[arg-type]
    return found, past.asked


@pytest.mark.parametrize("start", ["new", 0])
@pytest.mark.parametrize("id", [None, ""])
async def test_a_new_client_begins_with_what_is_new(id: str | None, start: Any) -> None:
    """The store is not asked for it, and nothing is told."""
    resumption = Resumption(id, start)
    assert resumption.is_plain
    assert await positions(resumption, "a", "b") == ({}, [])
    assert resumption.take_reset() is None


@pytest.mark.parametrize(("start", "back"), [("all", None), (7, 7)])
async def test_a_new_client_begins_in_the_past(start: Any, back: int | None) -> None:
    """Where the store says that so many events follow."""
    resumption = Resumption(None, start)
    assert not resumption.is_plain
    found, asked = await positions(resumption, "a", "b")
    assert found == {"a": BEFORE, "b": BEFORE}
    assert asked == [(["a", "b"], back)]
    assert resumption.take_reset() is None


@pytest.mark.parametrize("start", ["new", "all", 7])
async def test_an_id_goes_before_start(start: Any) -> None:
    """Of the groups that it knows; the others begin with what is new."""
    resumption = Resumption(encode({"a": BEFORE, "x": BEFORE}), start)
    assert not resumption.is_plain
    assert await positions(resumption, "a", "b") == ({"a": BEFORE}, [])
    assert resumption.take_reset() is None


async def test_an_id_of_no_group_is_unknown() -> None:
    """The page is told, once."""
    resumption = Resumption(encode({"x": BEFORE}))
    assert await positions(resumption, "a", "b") == ({}, [])
    assert resumption.take_reset() is ResetReason.UNKNOWN
    assert resumption.take_reset() is None


async def test_an_id_is_known_by_any_group() -> None:
    """A handler may name its groups one after the other."""
    resumption = Resumption(encode({"a": BEFORE}))
    await positions(resumption, "a")
    await positions(resumption, "b")
    assert resumption.take_reset() is None


@pytest.mark.parametrize("start", ["new", "all"])
async def test_a_malformed_id(start: Any) -> None:
    """The page is told, once; the stream goes on with what is new, since the page loads anew."""
    resumption = Resumption("not one", start)
    assert not resumption.is_plain
    assert await positions(resumption, "a") == ({}, [])
    assert resumption.take_reset() is ResetReason.MALFORMED
    assert resumption.take_reset() is None


def test_place_is_where_the_client_was() -> None:
    """And where its audience is in the groups that the client does not know."""
    place = Resumption(encode({"a": BEFORE})).place(Place(HERE), {"a": BEFORE})
    assert place.positions == {"a": BEFORE, "b": HERE["b"]}


def test_place_knows_what_the_client_has_from_another_group() -> None:
    """The id tells the marks, and the groups in which they are still to come."""
    id = encode({"a": BEFORE, "b": START, "x": START}, {"m" * 8: ["b", "x"], "n" * 8: ["x"]})
    place = Resumption(id).place(Place(HERE), {"a": BEFORE, "b": START})
    assert place._ahead == {"m" * 8: frozenset("b")}


def test_place_knows_what_the_audience_has_where_the_client_begins_with_it() -> None:
    """Not so in a group in which the client goes back: there it has not had the event yet."""
    here = Place(HERE, {"m" * 8: frozenset("ab")})
    place = Resumption(encode({"a": BEFORE})).place(here, {"a": BEFORE})
    assert place._ahead == {"m" * 8: frozenset("b")}


@pytest.mark.parametrize("start", ["new", "all", 0, 1, 10_000])
def test_check_start_takes_what_it_names(start: object) -> None:
    """Two words, and numbers."""
    check_start(start)


@pytest.mark.parametrize("start", ["", "old", "1", -1, 1.5, True, False, None, ["all"]])
def test_check_start_refuses_what_says_no_place(start: object) -> None:
    """The message has the value and the rule."""
    with pytest.raises(ValueError, match=r"start=.* must be 'new', 'all', or a number of past"):
        check_start(start)
