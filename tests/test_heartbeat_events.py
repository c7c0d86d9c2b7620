"""Heartbeats that are events: what a page's code is given in place of comments."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from django.http import HttpRequest

from django_sse import EventStream, EventStreamResponse, apublish, event_stream, subscribe
from django_sse.lifetime import Beat, make_lifetime
from django_sse.positions import decode
from django_sse.stores import get_store
from django_sse.testing import ReceivedStream, StreamClient
from tests.clients import until

HEARTBEAT = b"event: heartbeat\ndata: 15\n\n"


def run_clock(stream: EventStream, now: float) -> None:
    """Let the timer's turn of *stream* come, at the time *now* of its loop."""

    def turn() -> None:
        stream.on_time(now)

    stream._driver.run(turn)


class Site:
    """Streams of any groups, with heartbeats as events if the query asks."""

    def __init__(self, asgi: StreamClient) -> None:
        self.asgi = asgi
        self.streams: list[EventStream] = []

    async def open(self, *groups: str, **query: str) -> ReceivedStream:
        fields = [("group", group) for group in groups] + list(query.items())
        return await self.asgi.open(f"/s/?{urlencode(fields)}")

    def beat(self, seconds: float = 15.0) -> None:
        """Let the newest stream's clock find *seconds* more gone than the last beat knows."""
        stream = self.streams[-1]
        beat = stream._lifetime.beat
        last = stream._last_write if beat is None else beat.last
        run_clock(stream, last + seconds)


@pytest.fixture
def site(asgi: StreamClient, route: Callable[..., None]) -> Site:
    site = Site(asgi)

    @event_stream(groups=lambda request: request.GET.getlist("group"))
    async def view(request: HttpRequest, stream: EventStream) -> None:
        site.streams.append(stream)

    route("s/", view)
    return site


def id_of(frame: bytes) -> str:
    [line] = [line for line in frame.decode().split("\n") if line.startswith("id: ")]
    return line[4:]


class TestWithoutAHistory:
    async def test_the_first_one_is_behind_the_opening_frame(self, site):
        """A client knows at once that it is answered, and when to expect the next."""
        exchange = await site.open("a", heartbeat="event")
        assert await exchange.next_frame() == b"retry: 3000\n\n"
        assert await exchange.next_frame() == HEARTBEAT

    async def test_the_later_ones_have_no_id(self, site):
        """Without a store there is no place to tell."""
        exchange = await site.open("a", heartbeat="event")
        await exchange.next_frame()
        await exchange.next_frame()
        site.beat()
        assert await exchange.next_frame() == HEARTBEAT

    @pytest.mark.parametrize("query", [{}, {"heartbeat": ""}, {"heartbeat": "comment"}])
    async def test_who_did_not_ask_gets_comments(self, site, query):
        """Nothing changes, and nothing more is kept."""
        exchange = await site.open("a", **query)
        assert await exchange.next_frame() == b"retry: 3000\n\n"
        site.beat()
        assert await exchange.next_frame() == b":\n\n"
        assert site.streams[0]._lifetime.beat is None

    async def test_the_data_is_the_interval_of_the_stream(self, asgi, route):
        """In seconds, as JSON: that of the view's option, if it has one."""

        @event_stream(heartbeat=2.5)
        async def view(request: HttpRequest) -> AsyncIterator[object]:
            await asyncio.Event().wait()
            yield "never"

        route("s/", view)
        exchange = await asgi.open("/s/?heartbeat=event")
        event = await exchange.next_event()
        assert (event.event, event.json(), event.id) == ("heartbeat", 2.5, "")

    async def test_events_do_not_put_them_off(self, site):
        """A page does not see events that it does not listen to: those are no sign of life."""
        exchange = await site.open("a", heartbeat="event")
        await exchange.next_frame()
        await exchange.next_frame()
        stream = site.streams[0]
        beat: Any = stream._lifetime.beat
        began = beat.last
        await apublish("a", "x", event="unheard")
        assert (await exchange.next_event()).event == "unheard"
        stream._own_write = began + 14
        assert stream.on_time(began + 14) == pytest.approx(began + 15, abs=0.26)
        run_clock(stream, began + 15)
        assert (await exchange.next_event()).event == "heartbeat"
        assert stream.on_time(began + 15) == pytest.approx(began + 30, abs=0.26)

    async def test_a_client_that_does_not_read_is_looked_after_in_time(self, site):
        """The next one is not put off until a send would time out."""
        exchange = await site.open("a", heartbeat="event")
        await exchange.next_frame()
        stream = site.streams[0]
        stream._queue, stream._waits_since = {}, stream._hub.loop.time()
        assert stream.on_time(stream._waits_since) == stream._waits_since + 15
        stream._queue = None

    async def test_a_response_of_its_own(self, asgi, route):
        """EventStreamResponse has them too."""

        async def endless() -> AsyncIterator[object]:
            yield "one"
            await asyncio.Event().wait()

        async def view(request: HttpRequest) -> EventStreamResponse:
            return EventStreamResponse(endless())

        route("s/", view)
        exchange = await asgi.open("/s/?heartbeat=event")
        assert await exchange.next_frame() == b"retry: 3000\n\n"
        assert await exchange.next_frame() == HEARTBEAT
        assert await exchange.next_frame() == b"data: one\n\n"

    async def test_they_come_by_themselves(self, asgi, route):
        """The hub's timer brings them, one after the other."""

        @event_stream(heartbeat=0.01, groups="a")
        async def view(request: HttpRequest, stream: EventStream) -> None:
            pass

        route("s/", view)
        exchange = await asgi.open("/s/?heartbeat=event")
        events = [await exchange.next_event() for _ in range(4)]
        assert {event.event for event in events} == {"heartbeat"}


@pytest.mark.history
class TestWithAHistory:
    async def test_the_first_one_has_the_opening_id(self, site):
        """It says where the client begins."""
        exchange = await site.open("a", "b", heartbeat="event")
        opening, beat = await exchange.next_frame(), await exchange.next_frame()
        assert beat == b"id: %b\n" % id_of(opening).encode() + HEARTBEAT

    async def test_a_later_one_has_the_place_now(self, site):
        """That of the events which were handed out; it is the id of the last of them."""
        exchange = await site.open("a", heartbeat="event")
        await exchange.next_event()
        await apublish("a", "x")
        event = await exchange.next_event()
        site.beat()
        beat = await exchange.next_event()
        assert (event.data, beat.event, beat.id) == ("x", "heartbeat", event.id)

    async def test_events_left_out_move_it(self, asgi, route):
        """What a view's `where` leaves out is behind the client all the same."""
        streams: list[EventStream] = []

        @event_stream
        async def view(request: HttpRequest, stream: EventStream) -> None:
            streams.append(stream)
            await stream.subscribe("a", where=lambda event: event.data == "yes")

        route("s/", view)
        exchange = await asgi.open("/s/?heartbeat=event")
        first = (await exchange.next_event()).id
        await apublish("a", "no")
        await apublish("a", "no")
        [stream] = streams
        await until(lambda: stream.place is not None and stream.place.id != first)
        run_clock(stream, stream._hub.loop.time() + 15)
        said = decode((await exchange.next_event()).id)
        assert said is not None
        position = said.position("a")
        assert position is not None
        assert position.number == 2

    async def test_a_member_that_catches_up_is_told_its_own_place(self, site, monkeypatch):
        """Not that of the others: what it has not got yet would be lost with its connection."""
        here = await site.open("a")
        id = id_of(await here.next_frame())
        await apublish("a", "missed")
        await here.next_event()
        store: Any = get_store()
        read, may_read = store.aread, asyncio.Event()

        async def read_late(*args: Any) -> Any:
            await may_read.wait()
            return await read(*args)

        monkeypatch.setattr(store, "aread", read_late)
        back = await site.open("a", heartbeat="event", last_event_id=id)
        assert id_of(await back.next_frame()) == id
        assert id_of(await back.next_frame()) == id
        site.beat()
        assert await back.next_frame() == b"id: %b\n" % id.encode() + HEARTBEAT
        may_read.set()
        assert (await back.next_event()).data == "missed"

    async def test_it_comes_behind_a_reset(self, site):
        """A client whose id is of no use is told before it can come back with the new one."""
        exchange = await site.open("a", heartbeat="event", last_event_id="nonsense!")
        first = await exchange.next_event()
        second = await exchange.next_event()
        assert (first.event, second.event) == ("reset", "heartbeat")
        assert first.id == second.id

    async def test_what_was_sent_before_it_was_served_comes_behind(self, asgi, route):
        """The first one's id does not run ahead of an event that waits in the queue."""

        @event_stream(groups="a")
        async def view(request: HttpRequest, stream: EventStream) -> None:
            await apublish("a", "early")
            await until(lambda: stream._queue)

        route("s/", view)
        exchange = await asgi.open("/s/?heartbeat=event")
        opening, beat = await exchange.next_frame(), await exchange.next_frame()
        event = await exchange.next_event()
        assert id_of(opening) == id_of(beat)
        assert event.data == "early"
        assert event.id != id_of(beat)

    async def test_a_generator_that_subscribes_has_no_place_of_its_own(self, asgi, route):
        """Its heartbeats leave the id of its last event where it is."""

        @event_stream
        async def view(request: HttpRequest) -> AsyncIterator[object]:
            async with subscribe("a") as events:
                async for event in events:
                    yield event

        route("s/", view)
        exchange = await asgi.open("/s/?heartbeat=event")
        assert await exchange.next_frame() == b"retry: 3000\n\n"
        assert await exchange.next_frame() == HEARTBEAT


def test_a_lifetime_without_it_keeps_none() -> None:
    """The interval is that of the stream; the rest is as it was."""
    lifetime = make_lifetime(heartbeat=3)
    assert lifetime.beat is None
    beat = lifetime.with_beat().beat
    assert isinstance(beat, Beat)
    assert beat.frame == b"event: heartbeat\ndata: 3\n\n"
