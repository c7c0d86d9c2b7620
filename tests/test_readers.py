"""Readers: the streams of an audience to which an event is one send, and their counts."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from django_sse import EventStream, ServerSentEvent, abroadcast, apublish
from django_sse.lifetime import make_lifetime
from django_sse.reasons import CloseReason
from django_sse.signals import event_sent, stream_closed
from django_sse.types import Message
from tests.clients import TIMEOUT, until

pytestmark = pytest.mark.asyncio


class Client:
    """An ASGI server's send, with a client behind it that may stop reading, or go."""

    def __init__(self) -> None:
        self.body = b""
        self.sizes: list[int] = []
        self.gate: asyncio.Future[None] | None = None
        self.error: Exception | None = None
        self.ends: list[EventStream] = []

    async def send(self, message: Message) -> None:
        assert message["type"] == "http.response.body"
        if self.gate is not None:
            await self.gate
        if self.error is not None:
            for stream in self.ends:
                stream.end(CloseReason.CLOSED)
            raise self.error
        self.body += message["body"]
        self.sizes.append(len(message["body"]))
        message["body"] = b"changed"  # As a wrapper around send may do.

    def stall(self) -> None:
        self.gate = asyncio.get_running_loop().create_future()

    def read_on(self) -> None:
        assert self.gate is not None
        self.gate.set_result(None)
        self.gate = None

    async def has(self, data: str) -> None:
        """Wait until that is the last event."""
        await until(lambda: self.data[-1:] == [data.encode()])

    @property
    def data(self) -> list[bytes]:
        """The data of the events that have come."""
        lines = self.body.splitlines()
        return [line.removeprefix(b"data: ") for line in lines if line.startswith(b"data")]


class Streams:
    """Streams with their clients."""

    def __init__(self) -> None:
        self.opened: list[EventStream] = []

    async def open(self, *groups: str, **options: Any) -> tuple[EventStream, Client]:
        stream, client = EventStream(make_lifetime()), Client()
        self.opened.append(stream)
        await stream.subscribe(*groups, **options)
        await stream.open()
        stream.serve(client.send, lambda: None)
        return stream, client

    async def open_readers(self, count: int) -> list[tuple[EventStream, Client]]:
        """Return streams of the group "g" that have had one event, and joined the readers."""
        pairs = [await self.open("g") for _ in range(count)]
        await apublish("g", "first")
        await until(lambda: all(client.data == [b"first"] for _, client in pairs))
        assert all(stream in readers_of(stream) for stream, _ in pairs)
        return pairs


def readers_of(stream: EventStream) -> Any:
    assert stream.audience is not None
    return stream.audience.readers


@pytest.fixture
async def streams() -> AsyncIterator[Streams]:
    """Streams that are ended when the test is over."""
    made = Streams()
    yield made
    for stream in made.opened:
        stream.end(CloseReason.CLOSED)
        await stream.finish()


async def test_each_gets_every_event_and_counts_it(streams: Streams) -> None:
    """The counts of a stream are right while readers keep them, and after it has left."""
    pairs = await streams.open_readers(3)
    late, client = await streams.open("g")
    for data in ("a", "b"):
        await apublish("g", data)
        await client.has(data)
    assert [one.data for _, one in pairs] == [[b"first", b"a", b"b"]] * 3
    assert [stream.events_sent for stream, _ in pairs] == [3, 3, 3]
    assert late.events_sent == 2
    for stream, one in [*pairs, (late, client)]:
        assert stream.bytes_sent == sum(one.sizes)
        sent = stream.events_sent, stream.bytes_sent
        stream.part()
        assert (stream.events_sent, stream.bytes_sent) == sent


async def test_one_whose_client_stops_reading_queues_and_comes_back(streams: Streams) -> None:
    """It costs the others nothing; what it could not be sent comes in order, once."""
    (slow, client), (_, other) = await streams.open_readers(2)
    client.stall()
    for data in ("a", "b", "c"):
        await apublish("g", data)
        await other.has(data)
    assert slow not in readers_of(slow)
    assert client.data == [b"first"]
    assert slow.queued_bytes > 0
    client.read_on()
    await until(lambda: client.data == [b"first", b"a", b"b", b"c"])
    assert slow.events_sent == 4
    assert slow.bytes_sent == sum(client.sizes)
    await apublish("g", "d")
    await client.has("d")
    assert slow in readers_of(slow)


async def test_one_whose_send_fails_ends_alone(streams: Streams) -> None:
    """Also where its end takes others with it, of which some have had their turn."""
    pairs = await streams.open_readers(5)
    broken, client = pairs[2]
    client.error = ConnectionResetError("gone")
    client.ends = [pairs[0][0], pairs[4][0]]
    await apublish("g", "a")
    await until(lambda: pairs[3][1].data == [b"first", b"a"])
    assert broken.reason is not None
    assert [one.data[1:] for _, one in pairs] == [[b"a"], [b"a"], [], [b"a"], []]
    await apublish("g", "b")
    await until(lambda: pairs[3][1].data[-1] == b"b")
    assert [stream.reason is None for stream, _ in pairs] == [False, True, False, True, False]
    assert pairs[1][1].data == [b"first", b"a", b"b"]


def is_even(event: ServerSentEvent) -> bool:
    return int(event.data) % 2 == 0


async def test_a_filter_holds_while_groups_are_being_joined(
    streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the call on: what is filtered may be what this user must not see."""
    (stream, client), (_, other) = await streams.open_readers(2)
    gate, join = asyncio.Event(), stream._hub.join

    async def wait(*arguments: Any) -> None:
        await gate.wait()
        await join(*arguments)

    monkeypatch.setattr(stream._hub, "join", wait)
    subscribing = asyncio.create_task(stream.subscribe("g", where=is_even))
    await until(lambda: stream._where)
    for number in range(3):
        await apublish("g", number)
    await other.has("2")
    gate.set()
    await subscribing
    assert client.data == [b"first", b"0", b"2"]


async def test_one_that_begins_to_choose_leaves(streams: Streams) -> None:
    """Readers know of no filter."""
    ((stream, client),) = await streams.open_readers(1)
    await stream.subscribe("g", where=is_even)
    for number in range(4):
        await apublish("g", number)
    await client.has("2")
    assert client.data == [b"first", b"0", b"2"]
    assert stream not in readers_of(stream)


async def test_one_that_joins_another_group_goes_on(streams: Streams) -> None:
    """It has other readers then, with counts of their own."""
    (stream, client), (_, other) = await streams.open_readers(2)
    await apublish("g", "a")
    await client.has("a")
    await stream.subscribe("h")
    for group, data in (("h", "b"), ("g", "c"), ("h", "d")):
        await apublish(group, data)
        await client.has(data)
    assert stream in readers_of(stream)
    assert stream.events_sent == 5
    assert stream.bytes_sent == sum(client.sizes)
    await until(lambda: other.data == [b"first", b"a", b"c"])


async def test_receivers_of_event_sent_are_told_of_each(streams: Streams) -> None:
    """A receiver that connects while readers write hears of what comes from then on."""
    pairs = await streams.open_readers(2)
    heard: list[tuple[object, object]] = []

    def hear(sender: object, *, stream: EventStream, event: ServerSentEvent, **_: object) -> None:
        heard.append((stream, event.data))

    event_sent.connect(hear)
    try:
        await apublish("g", "a")
        await until(lambda: len(heard) == 2)
    finally:
        event_sent.disconnect(hear)
    assert {stream for stream, _ in heard} == {stream for stream, _ in pairs}
    await apublish("g", "b")
    await until(lambda: all(client.data == [b"first", b"a", b"b"] for _, client in pairs))
    assert [stream.events_sent for stream, _ in pairs] == [3, 3]
    assert len(heard) == 2


async def test_what_a_stream_is_sent_beside_them_is_counted_too(streams: Streams) -> None:
    """By its view, by a broadcast, and as its last bytes."""
    ((stream, client),) = await streams.open_readers(1)
    await stream.send("own")
    await abroadcast("to all")
    await until(lambda: client.data[-1] == b"to all")
    await apublish("g", "a")
    await until(lambda: client.data == [b"first", b"own", b"to all", b"a"])
    closed: dict[str, int] = {}

    def note(sender: object, *, stream: EventStream, **_: object) -> None:
        closed["events"] = stream.events_sent

    stream_closed.connect(note)
    try:
        stream.end(CloseReason.DISCONNECTED)
        async with asyncio.timeout(TIMEOUT):
            await stream.finish()
    finally:
        stream_closed.disconnect(note)
    assert closed == {"events": 4}
    assert stream.bytes_sent == sum(client.sizes)
    assert client.body.endswith(b"\n\n")


@pytest.mark.history
async def test_a_heartbeat_has_no_id_that_readers_have_written(streams: Streams) -> None:
    """The client was told it with the event; one that moved on without an event is told."""
    (stream, client), (parted, _) = await streams.open_readers(2)
    await apublish("g", "a")
    await client.has("a")
    parted.part()
    assert stream.heartbeat() == parted.heartbeat() == b":\n\n"
