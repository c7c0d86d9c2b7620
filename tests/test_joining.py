"""Events that follow each other closely are joined into one write."""

from typing import Any

import pytest
from django.http import HttpRequest

from django_sse import EventStream, abroadcast, apublish, event_stream, gathering, sending
from django_sse.batches import Batch
from django_sse.taps import Tap
from django_sse.testing import ReceivedStream, StreamClient
from tests.clients import until

RETRY = b"retry: 3000\n\n"
BURST = 50


@pytest.fixture
async def exchange(asgi: StreamClient, route: Any) -> ReceivedStream:
    """A stream of the group "ticks"."""

    @event_stream
    async def view(request: HttpRequest, stream: EventStream) -> None:
        await stream.subscribe("ticks")

    route("ticks/", view)
    exchange = await asgi.open("/ticks/")
    assert await exchange.next_frame() == RETRY
    return exchange


def wait(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let what has come wait so long for more, whatever it takes to hand it out."""
    for name in ("_MIN_SECONDS", "_MAX_SECONDS"):
        monkeypatch.setattr(gathering, name, seconds)


async def test_events_published_one_after_the_other_make_one_write(
    exchange: ReceivedStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A publisher that awaits each apublish() is still faster than a write to many streams."""
    wait(monkeypatch, 60)
    for number in range(BURST):
        await apublish("ticks", number)
    frames = [await exchange.next_frame() for _ in range(BURST)]
    assert frames == [b"data: %d\n\n" % number for number in range(BURST)]
    assert len(exchange.chunks) == 2  # The first is RETRY.


async def test_events_without_end_are_written_when_the_first_has_waited_long_enough(
    exchange: ReceivedStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flow of events that never pauses is not gathered for ever."""
    wait(monkeypatch, 0)
    monkeypatch.setattr(sending, "_HANDED_AT_ONCE", 1)  # The loop goes on between two of them.
    for number in range(BURST):
        await apublish("ticks", number)
        if len(exchange.chunks) > 1:
            break
    assert await exchange.next_frame() == b"data: 0\n\n"
    assert number < BURST - 1


async def test_piece_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of any size would have to be kept whole for a client that does not read."""
    wait(monkeypatch, 60)
    sizes: list[int] = []

    class Scale(Tap):
        def take(self, batch: Batch) -> None:
            sizes.append(len(batch.frames))

    async with Scale() as scale:
        await scale.set_groups({"ticks"})
        for _ in range(4):
            await apublish("ticks", "x" * 40_000)
        await until(lambda: sum(sizes) > 160_000)
    assert len(sizes) == 2


async def test_broadcast_comes_behind_the_events_that_are_being_gathered(
    exchange: ReceivedStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Joining changes no order."""
    wait(monkeypatch, 60)
    await apublish("ticks", 1)
    await abroadcast(2)
    await apublish("ticks", 3)
    frames = [await exchange.next_frame() for _ in range(3)]
    assert frames == [b"data: 1\n\n", b"data: 2\n\n", b"data: 3\n\n"]
