"""One timer for all deadlines of a loop, on a clock that the tests turn by hand."""

import asyncio
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_sse.timers import Timer
from tests.clients import TIMEOUT


class Handle:
    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.when = when
        self.callback = callback
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class Clock:
    """The part of an event loop that a timer uses; time passes in go_to() only."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now
        self.handles: list[Handle] = []
        self.wakes: list[float] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], None]) -> Handle:
        handle = Handle(when, callback)
        self.handles.append(handle)
        return handle

    @property
    def scheduled(self) -> list[float]:
        return [handle.when for handle in self.handles if not handle.is_cancelled]

    def go_to(self, moment: float, early: float = 0.0) -> None:
        """Let time pass, and call what is due; *early* by so much, as a coarse clock may."""
        while due := [
            handle
            for handle in self.handles
            if not handle.is_cancelled and handle.when - early <= moment
        ]:
            handle = min(due, key=lambda handle: handle.when)
            self.handles.remove(handle)
            self.now = max(self.now, handle.when - early)
            self.wakes.append(self.now)
            handle.callback()
        self.now = max(self.now, moment)


class Deadline:
    """Writes down when it is called, and goes on with the next of *then*."""

    def __init__(self, *then: float | None) -> None:
        self.timer_slot: int | None = None
        self.calls: list[float] = []
        self._then: Iterator[float | None] = iter(then)

    def on_time(self, now: float) -> float | None:
        self.calls.append(now)
        return next(self._then, None)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def timer(clock: Clock) -> Timer:
    return Timer(clock)  # type: ignore[arg-type]


def test_add_calls_once_when_it_is_due(clock: Clock, timer: Timer) -> None:
    """Not before the deadline, up to a grain after it, and not again."""
    timed = Deadline()
    timer.add(timed, 1000.25)
    clock.go_to(1000.25)
    assert timed.calls == []
    clock.go_to(1000.301)
    assert timed.calls == [pytest.approx(1000.3)]
    assert timed.timer_slot is None
    clock.go_to(2000)
    assert len(timed.calls) == 1
    assert clock.scheduled == []


def test_deadlines_of_one_grain_take_one_wake(clock: Clock, timer: Timer) -> None:
    """Ten thousand streams that began together wake the loop once."""
    many = [Deadline() for _ in range(10_000)]
    for number, timed in enumerate(many):
        timer.add(timed, 1015.01 + number / 10_000 * 0.08)
    assert len(clock.scheduled) == 1
    clock.go_to(1016)
    assert clock.wakes == [pytest.approx(1015.1)]
    assert all(len(timed.calls) == 1 for timed in many)


def test_deadlines_come_in_their_order(clock: Clock, timer: Timer) -> None:
    """Whatever the order they were added in, the earliest is called first."""
    order = []

    class Named(Deadline):
        def on_time(self, now: float) -> float | None:
            order.append(self)
            return super().on_time(now)

    late, early, middle = Named(), Named(), Named()
    timer.add(late, 1003)
    timer.add(early, 1001)
    timer.add(middle, 1002)
    assert clock.scheduled == [pytest.approx(1001)]
    clock.go_to(1004)
    assert order == [early, middle, late]
    assert clock.wakes == pytest.approx([1001, 1002, 1003])


def test_later_deadline_does_not_move_the_wake(clock: Clock, timer: Timer) -> None:
    """Only one that comes before all others asks the loop for another wake."""
    timer.add(Deadline(), 1001)
    [handle] = clock.handles
    timer.add(Deadline(), 1002)
    timer.add(Deadline(), 1001)
    assert clock.handles == [handle]
    timer.add(Deadline(), 1000.5)
    assert handle.is_cancelled
    assert clock.scheduled == [pytest.approx(1000.5)]


def test_on_time_may_give_the_next_deadline(clock: Clock, timer: Timer) -> None:
    """A heartbeat comes again and again until it says None."""
    timed = Deadline(1030, 1045, None)
    timer.add(timed, 1015)
    clock.go_to(2000)
    assert timed.calls == pytest.approx([1015, 1030, 1045])


def test_on_time_with_a_deadline_that_is_over_is_called_soon(clock: Clock, timer: Timer) -> None:
    """It comes with the next grain, not at once: that could go on for ever."""
    timed = Deadline(900, 1001, None)
    timer.add(timed, 1001)
    clock.go_to(1000.9)
    assert timed.calls == []
    clock.go_to(1002)
    assert timed.calls == pytest.approx([1001, 1001.1, 1001.2])


def test_on_time_may_add_its_deadline_itself(clock: Clock, timer: Timer) -> None:
    """Then what it returns does not count."""

    class Own(Deadline):
        def on_time(self, now: float) -> float | None:
            if not self.calls:
                timer.add(self, 1005)
            return super().on_time(now)

    timed = Own(1002)
    timer.add(timed, 1001)
    clock.go_to(1010)
    assert timed.calls == pytest.approx([1001, 1005])


def test_deadline_in_the_past_is_called_at_the_next_wake(clock: Clock, timer: Timer) -> None:
    """The loop is asked for a moment that is over: it calls at once."""
    timed = Deadline()
    timer.add(timed, 5)
    clock.go_to(1000)
    assert timed.calls == [1000.0]


def test_wake_a_clock_tick_early_is_in_time(clock: Clock, timer: Timer) -> None:
    """Loops may wake within the resolution of their clock; it must not come to nothing."""
    timed = Deadline()
    timer.add(timed, 1001)
    clock.go_to(1001, early=0.0005)
    assert len(timed.calls) == 1
    assert len(clock.wakes) == 1


def test_late_wake_calls_all_that_is_due(clock: Clock, timer: Timer) -> None:
    """A loop that was busy catches up in one batch."""
    many = [Deadline() for _ in range(5)]
    for number, timed in enumerate(many):
        timer.add(timed, 1001 + number)
    clock.now = 1003.5
    clock.go_to(1003.5)
    assert [timed.calls for timed in many] == [[1003.5]] * 3 + [[]] * 2
    assert clock.scheduled == [pytest.approx(1004)]


def test_discard_forgets_a_deadline(clock: Clock, timer: Timer) -> None:
    """What was forgotten is not called; others of the same moment are."""
    gone, here = Deadline(), Deadline()
    timer.add(gone, 1001)
    timer.add(here, 1001)
    timer.discard(gone)
    assert gone.timer_slot is None
    timer.discard(gone)
    clock.go_to(1002)
    assert gone.calls == []
    assert len(here.calls) == 1


def test_discard_of_what_was_never_added(timer: Timer) -> None:
    """There is nothing to forget."""
    timed = Deadline()
    timer.discard(timed)
    assert timed.timer_slot is None


def test_discard_of_the_only_deadline_leaves_an_empty_wake(clock: Clock, timer: Timer) -> None:
    """The wake comes, finds nothing, and no batch is run."""
    batches: list[Callable[[], None]] = []
    timer = Timer(clock, batches.append)  # type: ignore[arg-type]
    timed = Deadline()
    timer.add(timed, 1001)
    timer.discard(timed)
    clock.go_to(1002)
    assert clock.wakes == [pytest.approx(1001)]
    assert batches == []
    timer.add(timed, 1003)
    clock.go_to(1004)
    assert len(batches) == 1


def test_discard_in_the_batch_that_it_is_due_in(clock: Clock, timer: Timer) -> None:
    """A stream that another one's turn has ended is not called any more."""
    pair = [Deadline(), Deadline()]

    class Ends(Deadline):
        def on_time(self, now: float) -> float | None:
            for other in pair:
                timer.discard(other)
            return super().on_time(now)

    # Two of them: whatever the order, one comes before another.
    enders = [Ends() for _ in range(2)]
    for timed in (pair[0], *enders, pair[1]):
        timer.add(timed, 1001)
    clock.go_to(1002)
    called_before = [timed for timed in pair if timed.calls]
    assert [len(timed.calls) for timed in enders] == [1, 1]
    timer.add(pair[0], 1003)
    clock.go_to(1004)
    assert len(pair[0].calls) == (2 if pair[0] in called_before else 1)


def test_new_deadline_in_the_batch_that_it_is_due_in(clock: Clock, timer: Timer) -> None:
    """One that was given more time meanwhile is called then, and not now."""

    class Other(Deadline):
        def __hash__(self) -> int:
            return 2

        __eq__ = object.__eq__

    class Moves(Deadline):
        def __hash__(self) -> int:
            return 1  # Comes first in a set.

        __eq__ = object.__eq__

        def on_time(self, now: float) -> float | None:
            timer.discard(other)
            timer.add(other, 1005)
            return super().on_time(now)

    moves, other = Moves(), Other()
    timer.add(moves, 1001)
    timer.add(other, 1001)
    clock.go_to(1002)
    assert len(moves.calls) == 1
    assert other.calls == []
    clock.go_to(1010)
    assert other.calls == pytest.approx([1005])


def test_on_time_that_raises_does_not_cost_the_others_their_turn(
    clock: Clock, timer: Timer, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged; the rest of the batch is called, and called again."""

    class Broken(Deadline):
        def on_time(self, now: float) -> float | None:
            raise LookupError("a bug")

    others = [Deadline(1015, None) for _ in range(10)]
    for timed in (*others[:5], Broken(), *others[5:]):
        timer.add(timed, 1001)
    clock.go_to(1020)
    assert all(timed.calls == pytest.approx([1001, 1015]) for timed in others)
    assert "a bug" in caplog.text


def test_add_while_a_batch_runs(clock: Clock, timer: Timer) -> None:
    """A deadline that is set meanwhile has a turn of its own."""
    new = Deadline()

    class Adds(Deadline):
        def on_time(self, now: float) -> float | None:
            timer.add(new, 1001.5)
            return super().on_time(now)

    timer.add(Adds(), 1001)
    timer.add(Deadline(), 1002)
    clock.go_to(1003)
    assert new.calls == pytest.approx([1001.5])
    assert clock.wakes == pytest.approx([1001, 1001.5, 1002])


def test_each_batch_is_wrapped(clock: Clock) -> None:
    """The hub runs a batch inside its driver: each stream may write."""
    batches = []

    def run(step: Callable[[], None]) -> None:
        batches.append("begin")
        step()
        batches.append("end")

    timer = Timer(clock, run)  # type: ignore[arg-type]
    one, other = Deadline(), Deadline()
    timer.add(one, 1001)
    timer.add(other, 1001)
    clock.go_to(1002)
    assert batches == ["begin", "end"]
    assert one.calls
    assert other.calls


def test_close_forgets_everything(clock: Clock, timer: Timer) -> None:
    """Nothing is called any more, and the loop holds nothing of the timer."""
    timed = Deadline()
    timer.add(timed, 1001)
    timer.close()
    timer.close()
    assert clock.scheduled == []
    clock.go_to(1002)
    assert timed.calls == []
    timer.discard(timed)
    timer.add(timed, 1003)
    clock.go_to(1004)
    assert len(timed.calls) == 1


@given(
    delays=st.lists(
        st.tuples(st.floats(0, 100), st.lists(st.floats(0, 100), max_size=3)), max_size=20
    )
)
def test_every_deadline_is_met_within_a_grain(delays: list[tuple[float, list[float]]]) -> None:
    """Never early by more than a clock tick, never late by more than a grain and a half."""
    clock = Clock(12_345.678)
    timer = Timer(clock)  # type: ignore[arg-type]
    met = []

    class Chain(Deadline):
        def __init__(self, delays: list[float]) -> None:
            super().__init__()
            self.delays = delays
            self.deadline = clock.now + delays[0]
            timer.add(self, self.deadline)

        def on_time(self, now: float) -> float | None:
            met.append(now - self.deadline)
            self.delays = self.delays[1:]
            if not self.delays:
                return None
            self.deadline = now + self.delays[0]
            return self.deadline

    for first, more in delays:
        Chain([first, *more])
    clock.go_to(math.inf)
    assert len(met) == sum(1 + len(more) for _, more in delays)
    assert all(-0.0011 <= late <= 1.5 * Timer.grain + 0.001 for late in met)


async def test_timer_on_a_real_loop() -> None:
    """The loop's clock and its call_at() are all it needs."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[float] = loop.create_future()

    class Once(Deadline):
        def on_time(self, now: float) -> Any:
            done.set_result(now)

    timer = Timer(loop)
    deadline = loop.time() + 0.01
    timer.add(Once(), deadline)
    assert await asyncio.wait_for(done, TIMEOUT) >= deadline - 0.001
    timer.close()
