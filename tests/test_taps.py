"""Events of groups for who looks at them, events for single streams, and how watched ones do."""

import asyncio
import dataclasses
import logging
from typing import Any

import pytest
from django.http import HttpRequest

from django_sse import EventStream, abroadcast, apublish, event_stream
from django_sse import watching as watching_module
from django_sse.commands import unpack_command
from django_sse.control import send_to_streams, tell_workers
from django_sse.hub import get_hub
from django_sse.parcels import Parcel
from django_sse.taps import Tap
from django_sse.testing import StreamClient
from django_sse.watching import StreamReport, Watch, report_group
from tests.clients import TIMEOUT, until
from tests.registry.conftest import open_many


async def taken(tap: Tap, count: int) -> list[Any]:
    """Return the next events that *tap* has got, as the data of each."""
    got: list[Any] = []
    async with asyncio.timeout(TIMEOUT):
        while len(got) < count:
            await tap.wait()
            got += [delivery.event.data for delivery in tap.take_all()]
    return got


# Taps.


async def test_tap_has_the_events_of_its_groups_from_now_on() -> None:
    """With the group that each came to; not of others, not of all, and none that was before."""
    await apublish("a", "before")
    async with Tap() as tap:
        await tap.set_groups(["a", "b"])
        await apublish("a", 1, event="first")
        await apublish("other", 2)
        await abroadcast("to all")
        await apublish("b", {"x": 3})
        assert await taken(tap, 2) == [1, {"x": 3}]
        await apublish("a", 4, event="named")
        await tap.wait()
        [delivery] = tap.take_all()
    assert (delivery.group, delivery.event.event, delivery.event.data) == ("a", "named", 4)


@pytest.mark.history
async def test_tap_has_each_event_of_a_history_once() -> None:
    """One that is in two of its groups, too."""
    await apublish(["a", "b"], "before")
    async with Tap() as tap:
        await tap.set_groups(["a", "b"])
        await apublish(["a", "b"], "both")
        await apublish("b", "last")
        assert await taken(tap, 2) == ["both", "last"]


async def test_tap_goes_from_groups_to_others() -> None:
    """What is not wanted any more does not come."""
    async with Tap() as tap:
        await tap.set_groups(["a", "b"])
        await tap.set_groups(["b", "c"])
        for group in "abc":
            await apublish(group, group)
        assert await taken(tap, 2) == ["b", "c"]
    assert tap.audience is None


async def test_tap_is_not_among_the_readers() -> None:
    """No stream and no presence is seen of it."""
    async with Tap() as tap:
        await tap.set_groups(["a"])
        assert get_hub().streams == set()


async def test_tap_that_nobody_reads_loses_the_oldest(monkeypatch: Any) -> None:
    """It does not grow, and it says how many are lost, once."""
    monkeypatch.setattr("django_sse.taps._MAX_WAITING", 3)
    async with Tap() as tap:
        await tap.set_groups(["a"])
        for number in range(5):
            await apublish("a", number)
        await until(lambda: tap._lost == 2)
        assert await taken(tap, 3) == [2, 3, 4]
        assert tap.take_lost() == 2
        assert tap.take_lost() == 0


# Events for single streams.


@pytest.fixture
def rooms(route: Any) -> list[EventStream]:
    """The streams that are open at /a/, in the group "a"."""
    opened: list[EventStream] = []

    @event_stream(groups="a")
    async def room(request: HttpRequest, stream: EventStream) -> None:
        opened.append(stream)

    route("a/", room)
    return opened


async def test_event_to_one_stream(
    rooms: list[EventStream], asgi: StreamClient, sync: Any
) -> None:
    """It has no id, comes behind what came before, and no other stream gets it."""
    first, second = await asgi.open("/a/"), await asgi.open("/a/")
    await until(lambda: len(get_hub().streams) == 2)
    await apublish("a", 1)
    assert await sync(send_to_streams, rooms[0], "hello", event="test")
    await apublish("a", 2)
    events = await first.events(3)
    assert [(e.event, e.data) for e in events] == [
        ("message", "1"),
        ("test", "hello"),
        ("message", "2"),
    ]
    assert [event.data for event in await second.events(2)] == ["1", "2"]
    assert rooms[0].events_sent == 3


async def test_event_to_streams_here_and_elsewhere(sync: Any, monkeypatch: Any) -> None:
    """Those of this process get it once; the layer is given the others alone."""
    told: list[Any] = []

    async def send(command: Any) -> bool:
        told.append(command)
        return True

    monkeypatch.setattr("django_sse.control._may_have_others", lambda: True)
    monkeypatch.setattr("django_sse.control._send", send)
    [stream] = await open_many(1, "a")
    assert await sync(send_to_streams, [stream.id, "elsewhere"], {"x": 1})
    [parcel] = told
    assert parcel.connections == {"elsewhere"}
    assert unpack_command(parcel.to_message()) == parcel
    await until(lambda: stream.events_sent == 1)
    assert await sync(send_to_streams, stream, "only here")
    assert told == [parcel]


async def test_event_that_the_layer_brings(rooms: list[EventStream], asgi: StreamClient) -> None:
    """A worker hands it to the stream that it is for."""
    stream = await asgi.open("/a/")
    await until(lambda: get_hub().streams)
    message = {"mark": "m", "data": "hello", "event": "test", "type": "sse.event"}
    parcel = Parcel(connections=frozenset({rooms[0].id, "another"}), message=message)
    get_hub().receive(parcel.to_message())
    event = await stream.next_event()
    assert (event.event, event.data) == ("test", "hello")


@pytest.mark.parametrize("type", ["sse.parcel", "sse.watch", "sse.order"])
async def test_command_that_is_none(type: str, caplog: Any) -> None:
    """It is logged, and the receiving goes on."""
    get_hub().receive({"type": type})
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_stream_that_diverts_broadcasts(route: Any, asgi: StreamClient, sync: Any) -> None:
    """What is for all, or for it alone, its view is told; what it sends itself goes on."""
    diverted: list[Any] = []
    streams: list[EventStream] = []

    @event_stream
    async def view(request: HttpRequest, stream: EventStream) -> None:
        stream.divert_broadcasts(lambda event: diverted.append(event.data))
        streams.append(stream)
        await stream.subscribe("a")

    route("own/", view)
    received = await asgi.open("/own/")
    await received.next_frame()
    await abroadcast("to all")
    await sync(send_to_streams, streams[0], "to it")
    await until(lambda: len(diverted) == 2)
    await apublish("a", "to its group")
    await streams[0].send("by itself")
    assert {e.data for e in await received.events(2)} == {"to its group", "by itself"}
    assert sorted(diverted) == ["to all", "to it"]


# Watching.


@pytest.fixture
def quick(monkeypatch: Any) -> None:
    monkeypatch.setattr(watching_module, "_REPORT_SECONDS", 0.01)


async def reports(tap: Tap) -> StreamReport:
    async with asyncio.timeout(TIMEOUT):
        await tap.wait()
    return StreamReport.read(tap.take_all()[-1].event.data)


def test_what_is_no_report_is_refused() -> None:
    """Whoever may publish may publish to its group; nothing of that is shown."""
    given = StreamReport(
        events=1, bytes=2, queue_bytes=3, is_lagging=False, seconds=4.5, groups=("a",)
    )
    report = dataclasses.asdict(given)
    assert StreamReport.read(report).groups == ("a",)
    others: list[Any] = ["text", [], {}, {**report, "more": 1}, {**report, "seconds": "<b>"}]
    for data in others:
        with pytest.raises(TypeError, match="is no report of a stream"):
            StreamReport.read(data)


async def test_watched_stream_is_reported_of(quick: None) -> None:
    """How it does, again and again, and in the end that it has ended and why."""
    [stream, _other] = await open_many(2, "b", "a")
    async with Tap() as tap:
        await tap.set_groups([report_group(stream.id)])
        await tell_workers(Watch(connection=stream.id))
        report = await reports(tap)
        assert (report.events, report.groups, report.ended) == (0, ("a", "b"), "")
        assert report.seconds >= 0
        await stream.send("x")
        while (report := await reports(tap)).events == 0:
            pass
        assert report.bytes > 0
        await stream.close()
        while not (report := await reports(tap)).ended:
            pass
        assert report.ended == "closed by the view"
        await until(lambda: not get_hub().watching._until)


async def test_stream_that_ends_while_it_is_reported_of(quick: None, monkeypatch: Any) -> None:
    """That it was open is not the last word."""
    [stream] = await open_many(1, "a")
    send: Any = vars(watching_module)["send"]

    async def end_and_send(messages: Any) -> Any:
        await stream.close()
        return await send(messages)

    monkeypatch.setattr(watching_module, "send", end_and_send)
    async with Tap() as tap:
        await tap.set_groups([report_group(stream.id)])
        await tell_workers(Watch(connection=stream.id))
        assert (await reports(tap)).ended == ""
        assert (await reports(tap)).ended == "closed by the view"


async def test_stream_that_nobody_watches_any_more(quick: None, monkeypatch: Any) -> None:
    """It is reported of for a while, and then nothing runs."""
    monkeypatch.setattr(watching_module, "_WATCH_SECONDS", 0.05)
    [stream] = await open_many(1, "a")
    await tell_workers(Watch(connection=stream.id))
    await tell_workers(Watch(connection="another"))
    watching = get_hub().watching
    await until(lambda: watching._task is not None)
    assert list(watching._until) == [stream]
    await until(lambda: watching._task is not None and watching._task.done())
    assert watching._until == {}


async def test_report_that_fails_does_not_end_the_watching(
    quick: None, monkeypatch: Any, caplog: Any
) -> None:
    """The next one is tried."""
    [stream] = await open_many(1, "a")
    failures = iter([ValueError("once")])

    def once(stream: Any) -> StreamReport:
        if (error := next(failures, None)) is not None:
            raise error
        return of(stream)

    of = StreamReport.of
    monkeypatch.setattr(StreamReport, "of", staticmethod(once))
    async with Tap() as tap:
        await tap.set_groups([report_group(stream.id)])
        await tell_workers(Watch(connection=stream.id))
        assert (await reports(tap)).events == 0
    assert "Nobody was told" in caplog.text
