"""How long what has come waits for more."""

import contextvars
from collections.abc import Callable
from typing import Any

import pytest

from django_sse.audiences import Audience, Audiences
from django_sse.batches import Batch
from django_sse.envelope import unpack
from django_sse.gathering import Gathering
from django_sse.readers import Readers

TICK = 0.0005


class Loop:
    """An event loop whose clock is turned by hand."""

    context = contextvars.Context()

    def __init__(self) -> None:
        self.now = 0.0
        self._callbacks: list[Callable[[], None]] = []

    def time(self) -> float:
        return self.now

    def call_soon(self, callback: Callable[[], None], *, context: object) -> None:
        self._callbacks.append(callback)

    def run(self, step: Callable[[], None]) -> None:
        """As the driver does."""
        step()

    def tick(self) -> None:
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()
        self.now += TICK


class Reader:
    """A member that takes its time for what it is handed."""

    def __init__(self, loop: Loop, seconds: float) -> None:
        self.audience: Audience | None = None
        self.batches: list[tuple[float, int]] = []
        self._loop = loop
        self._seconds = seconds

    def take(self, batch: Batch) -> None:
        self.batches.append((self._loop.now, batch.count))
        self._loop.now += self._seconds

    def join(self, readers: Readers) -> None: ...

    def part(self) -> None: ...


def waits(seconds: float) -> list[float]:
    """Return how long events of a flow without end waited, where handing out takes *seconds*."""
    loop, audiences = Loop(), Audiences(lambda groups: {})
    reader = Reader(loop, seconds)
    audiences.place(reader, frozenset({"g"}))
    some: Any = loop
    gathering = Gathering(some, some, audiences)
    found = []
    for _ in range(3):
        began, known = loop.now, len(reader.batches)
        while len(reader.batches) == known:
            gathering.put(unpack({"group": "g", "data": "x"}))
            loop.tick()
        found.append(reader.batches[-1][0] - began)
    return found


def test_flow_waits_two_milliseconds() -> None:
    """A reader is to see an event soon, however many follow it."""
    assert waits(0) == pytest.approx([0.002] * 3, abs=TICK)


def test_flow_waits_as_long_as_it_takes_to_hand_out() -> None:
    """With many streams each of the pieces is dear: so they are fewer, and larger."""
    first, *later = waits(0.01)
    assert first == pytest.approx(0.002, abs=TICK)
    assert later == pytest.approx([0.01] * 2, abs=TICK)


def test_flow_never_waits_long() -> None:
    """Even where handing out takes very long."""
    assert waits(1)[1:] == pytest.approx([0.02] * 2, abs=TICK)


def test_what_nothing_follows_is_handed_out_at_once() -> None:
    """A few ticks of the loop are enough to see that."""
    loop, audiences = Loop(), Audiences(lambda groups: {})
    reader = Reader(loop, 0)
    audiences.place(reader, frozenset({"g"}))
    some: Any = loop
    gathering = Gathering(some, some, audiences)
    gathering.put(unpack({"group": "g", "data": "x"}))
    for _ in range(5):
        assert not reader.batches
        loop.tick()
    assert [count for _, count in reader.batches] == [1]
