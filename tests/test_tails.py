"""Tails: the events of a group in order, whatever the channel layer makes of them."""

import random

from hypothesis import given
from hypothesis import strategies as st

from django_sse import tails
from django_sse.envelope import Delivery
from django_sse.history import Entry
from django_sse.positions import START, Position
from django_sse.tails import Tail


def mark(number: int, history: str = "") -> str:
    return f"{history}{number:0{8 - len(history)}}" if number else START.mark


def event(number: int, history: str = "", data: str = "x") -> Delivery:
    """Return the event of that number; *history* tells one history from another."""
    message = {"data": data, "mark": mark(number, history)}
    return Delivery.of(
        Entry("a", number, mark(number, history), mark(number - 1, history), message)
    )


def tail_at(number: int) -> Tail:
    tail = Tail("a")
    tail.jump(Position(number, mark(number)))
    return tail


@given(
    numbers=st.lists(st.integers(1, 20), max_size=60),
    start=st.integers(0, 10),
)
def test_a_prefix_is_handed_out_in_order(numbers: list[int], start: int) -> None:
    """Whatever comes twice, early, late or not at all, nobody sees it."""
    tail = tail_at(start)
    handed_out = [d.number for number in numbers for d in tail.accept(event(number))]
    end = start
    while end + 1 in numbers:
        end += 1
    assert handed_out == list(range(start + 1, end + 1))
    assert tail.position == Position(end, mark(end))
    assert tail.has_gap == any(number > end for number in numbers)
    assert not tail.is_broken


@given(seed=st.integers(0, 2**32), count=st.integers(1, 200))
def test_every_order_of_all_events_is_the_same(seed: int, count: int) -> None:
    """Once all have come, all have been handed out, each once."""
    order = [*range(1, count + 1), *range(1, count + 1)]
    random.Random(seed).shuffle(order)
    tail = tail_at(0)
    assert [d.number for number in order for d in tail.accept(event(number))] == list(
        range(1, count + 1)
    )
    assert not tail.has_gap


def test_nothing_is_handed_out_before_the_position_is_known() -> None:
    """The store is asked for it."""
    tail = Tail("a")
    assert tail.accept(event(1)) == ()
    assert tail.position is None


def test_event_of_another_history_is_not_handed_out() -> None:
    """Its number fits, and the one that it follows is not the one that was handed out."""
    tail = tail_at(5)
    assert tail.accept(event(6, "new")) == ()
    assert tail.is_broken
    assert tail.position == Position(5, mark(5))


def test_early_event_of_another_history_is_not_handed_out() -> None:
    """Nor where it has waited for the one before."""
    tail = tail_at(5)
    tail.accept(event(7, "new"))
    assert [d.number for d in tail.accept(event(6))] == [6]
    assert tail.is_broken
    assert tail.position == Position(6, mark(6))


def test_jump_begins_anew() -> None:
    """What waited belonged to what is lost."""
    tail = tail_at(5)
    tail.accept(event(8))
    tail.accept(event(6, "new"))
    tail.jump(Position(2, mark(2, "new")))
    assert not tail.is_broken
    assert not tail.has_gap
    assert [d.number for d in tail.accept(event(3, "new"))] == [3]


def test_settle_forgets_what_waits_no_longer() -> None:
    """What has been handed out otherwise is no gap."""
    tail = tail_at(0)
    for number in (3, 4, 6):
        tail.accept(event(number))
    tail.settle(4)
    assert tail.has_gap
    tail.settle(6)
    assert not tail.has_gap


def test_what_waits_is_bounded() -> None:
    """The store has them all."""
    tail = tail_at(0)
    for number in range(2, 3 * tails._MAX_EARLY):
        tail.accept(event(number))
    assert len(tail._early) == tails._MAX_EARLY
    assert [d.number for d in tail.accept(event(1))] == list(range(1, tails._MAX_EARLY + 2))


class TestSince:
    def test_nothing_is_behind_the_end(self) -> None:
        """Also where nobody watches."""
        assert tail_at(5).since(Position(5, mark(5))) == ()

    def test_what_came_since_it_was_watched(self) -> None:
        """A member on its way finds the last events without a read."""
        tail = tail_at(5)
        tail.watch()
        for number in (7, 6, 8):
            tail.accept(event(number))
        for start in (5, 6, 7):
            found = tail.since(Position(start, mark(start)))
            assert found is not None
            assert [d.number for d in found] == list(range(start + 1, 9))

    def test_unknown_to_it_is_what_came_before(self) -> None:
        """Then the store is asked."""
        tail = tail_at(5)
        tail.watch()
        tail.accept(event(6))
        assert tail.since(Position(4, mark(4))) is None
        assert tail.since(Position(5, mark(5, "old"))) is None
        assert tail.since(Position(9, mark(9))) is None

    def test_nothing_is_kept_for_nobody(self) -> None:
        """As long as somebody watches, and no longer."""
        tail = tail_at(5)
        tail.accept(event(6))
        assert tail.since(Position(5, mark(5))) is None
        tail.watch()
        tail.watch()
        tail.unwatch()
        tail.accept(event(7))
        assert tail.since(Position(6, mark(6))) is not None
        tail.unwatch()
        assert tail.since(Position(6, mark(6))) is None

    def test_what_is_kept_is_bounded(self) -> None:
        """The oldest goes."""
        tail = tail_at(0)
        tail.watch()
        for number in range(1, 2 * tails._WINDOW):
            tail.accept(event(number))
        assert len(tail._window) == tails._WINDOW
        assert tail.since(Position(1, mark(1))) is None

    def test_jump_forgets_it(self) -> None:
        """It belongs to another history."""
        tail = tail_at(5)
        tail.watch()
        tail.accept(event(6))
        tail.jump(Position(1, mark(1, "new")))
        assert tail.since(Position(5, mark(5))) is None


def test_the_bytes_that_wait_are_bounded() -> None:
    """As many large ones as take no more than some megabytes, and one in any case."""
    tail = tail_at(0)
    for number in range(2, 60):
        tail.accept(event(number, data="x" * 262_000))
    assert 10 < len(tail._early) < 20
    waiting = len(tail._early)
    assert [d.number for d in tail.accept(event(1))] == list(range(1, waiting + 2))
    assert tail._early_bytes == 0


def test_weigh_learns_how_large_events_are() -> None:
    """The next read is for as many as fit."""
    tail = tail_at(0)
    for _ in range(20):
        tail.weigh([event(1, data="x" * 100_000), event(2, data="x" * 100_000)])
    assert 95_000 < tail.mean_bytes < 101_000
    tail.weigh([])
    for _ in range(50):
        tail.weigh([event(1, data="")])
    assert tail.mean_bytes < 100
