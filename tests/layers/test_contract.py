"""One suite for the three channel layers: in-memory, and the two of channels_redis."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.http import HttpRequest

from django_sse import (
    EventStream,
    abroadcast,
    apublish,
    event_stream,
    layer_link,
    subscribe,
)
from django_sse.groups import BROADCAST, layer_group
from django_sse.metrics import metrics
from django_sse.testing import ReceivedStream, StreamClient
from tests.clients import TIMEOUT
from tests.layers.conftest import OpenStream, Place

#: As many as a layer with the capacity of 100 takes before they are read.
WINDOW = 50


async def read(exchange: ReceivedStream, count: int) -> list[str]:
    """Return the data of the next *count* events."""
    return [(await exchange.next_event()).data for _ in range(count)]


async def publish_and_read(exchanges: list[ReceivedStream], group: str, count: int) -> None:
    """Publish 0, 1, … to *group*, and see them arrive in every one of *exchanges*."""
    for first in range(0, count, WINDOW):
        numbers = range(first, min(first + WINDOW, count))
        for number in numbers:
            await apublish(group, number)
        for exchange in exchanges:
            assert await read(exchange, len(numbers)) == [str(number) for number in numbers]


async def test_events_published_one_after_the_other_arrive_in_order(
    layer: Place, open_stream: OpenStream
) -> None:
    """None is lost, repeated or overtaken."""
    await publish_and_read([await open_stream("room")], "room", 300)


async def test_every_stream_of_a_group_gets_more_events_than_the_layers_capacity(
    layer: Place, open_own: OpenStream
) -> None:
    """A layer's capacity of 100 is for the one channel of the hub, however many streams it has."""
    await publish_and_read([await open_own("room") for _ in range(5)], "room", 300)


async def test_event_reaches_the_streams_of_its_group_only(
    layer: Place, open_stream: OpenStream
) -> None:
    """A stream of two groups hears both."""
    a, b, both = await open_stream("a"), await open_stream("b"), await open_stream("a", "b")
    for group in ("a", "b", "nobody", "a"):
        await apublish(group, group)
    # Each group is in order; those of several servers come in any order between them.
    assert sorted(await read(both, 3)) == ["a", "a", "b"]
    assert await read(a, 2) == ["a", "a"]
    assert await read(b, 1) == ["b"]
    assert not b.has_unread


async def test_leaving_a_group_stops_its_events(
    layer: Place, asgi: StreamClient, route: Any, no_linger: None
) -> None:
    """The stream gets no more of it, and the layer's group is left."""
    streams: list[EventStream] = []

    @event_stream(groups=["left", "kept"])
    async def view(request: HttpRequest, stream: EventStream) -> None:
        streams.append(stream)

    route("s/", view)
    exchange = await asgi.open("/s/")
    await apublish("left", 1)
    assert await read(exchange, 1) == ["1"]
    [stream] = streams
    await stream.unsubscribe("left")
    await apublish("left", 2)
    await apublish("kept", 3)
    assert await read(exchange, 1) == ["3"]
    await layer.until_members("left", 0)
    assert await layer.members("kept") == 1
    await stream.subscribe("left")
    await apublish("left", 4)
    assert await read(exchange, 1) == ["4"]


async def test_streams_of_a_group_share_one_membership(layer: Place, open_own: OpenStream) -> None:
    """The layer is told once, and of one channel, whatever the groups."""
    exchanges = await asyncio.gather(*[open_own("room", f"own.{n}") for n in range(20)])
    assert len(layer.joins_of("room")) == 1
    assert len({channel for _, channel in layer.joins}) == 1
    assert await layer.members("room") == 1
    await publish_and_read(list(exchanges), "room", 1)


#: A store for one process, which has nothing to do with the layer.
HISTORY = {"STORE": {"BACKEND": "django_sse.stores.memory.MemoryStore"}}

NAMES = [
    "room",
    "Room",
    "room ",
    " room",
    "room\n",
    "комната",
    "Комната",
    "é",
    "e\u0301",  # The same letter to a reader, composed of two characters.
    "部屋 😀",
    "anna@example.com",
    "anna_example.com",
    "anna%40example.com",
    "annaexample.com",
    "x" * 500,
    "x" * 499 + "y",
    "x" * 499,
    "all",
    "sse.all",
    "sse.g.room",
    "g.room",
    layer_group("é"),
    layer_group("é").removeprefix("sse."),
]


async def test_group_may_have_any_name(layer: Place, open_own: OpenStream) -> None:
    """Names that differ in anything are different groups, and none is that of all streams."""
    exchanges = [await open_own(name) for name in NAMES]
    for number, name in enumerate(NAMES):
        await apublish(name, number)
    for name in NAMES:
        await apublish(name, "end")
    for number, exchange in enumerate(exchanges):
        assert await read(exchange, 2) == [str(number), "end"]


async def test_event_of_several_groups_arrives_once(layer: Place, open_stream: OpenStream) -> None:
    """Whether a stream is in one of its groups, in two or in all."""
    exchanges = [await open_stream(*groups) for groups in (["a"], ["b", "c"], ["c", "b", "a"])]
    await apublish(["a", "b", "c"], "once")
    for group in ("a", "b", "c"):
        await apublish(group, "end")
    for exchange, ends in zip(exchanges, (1, 2, 3), strict=True):
        assert await read(exchange, 1 + ends) == ["once"] + ["end"] * ends


async def test_event_published_right_after_subscribe_arrives(
    layer: Place, no_linger: None
) -> None:
    """Once subscribe() has returned nothing is missed, be the group a new one or just left."""

    async def visit(visitor: int) -> None:
        for number in range(20):
            for group in ("shared", f"own.{visitor}", f"new.{visitor}.{number}"):
                async with subscribe(group) as events:
                    await apublish(group, [visitor, number])
                    # Others may publish to the shared group meanwhile.
                    while (await anext(events)).data != [visitor, number]:
                        assert group == "shared"

    async with asyncio.timeout(TIMEOUT), asyncio.TaskGroup() as visitors:
        for visitor in range(4):
            visitors.create_task(visit(visitor))


async def test_event_published_by_the_handler_that_subscribed_arrives(
    layer: Place, asgi: StreamClient, route: Any
) -> None:
    """A stream's own subscribe() makes the same promise."""

    @event_stream
    async def view(request: HttpRequest, stream: EventStream, number: int) -> None:
        await stream.subscribe(f"room.{number}")
        await apublish(f"room.{number}", number)

    route("s/<int:number>/", view)
    for number in range(30):
        exchange = await asgi.open(f"/s/{number}/")
        assert await read(exchange, 1) == [str(number)]


async def test_joins_and_leaves_cost_no_other_stream_an_event(
    layer: Place, open_stream: OpenStream, no_linger: None
) -> None:
    """Streams of the same and of other groups come and go while events flow."""
    steady = await open_stream("room")
    has_ended = False

    async def visit(*groups: str) -> int:
        visits = 0
        while not has_ended:
            exchange = await open_stream(*groups)
            if visits % 2 and "room" in groups:
                await exchange.next_event()
            await exchange.disconnected()
            visits += 1
        return visits

    async with asyncio.timeout(TIMEOUT), asyncio.TaskGroup() as tasks:
        visitors = [
            tasks.create_task(visit(*groups))
            for groups in (["room"], ["room", "hall"], ["hall"], ["a", "b", "c"])
        ]
        await publish_and_read([steady], "room", 150)
        has_ended = True
        while not all(visitor.done() for visitor in visitors):
            await apublish("room", "last")  # Some may wait for one.
    assert all(visitor.result() for visitor in visitors)


async def test_group_that_is_joined_and_left_without_pause(layer: Place, no_linger: None) -> None:
    """Members that come and go in any order, with none staying: each hears what it waits for."""

    async def visit(visitor: int) -> None:
        for number in range(15):
            async with subscribe("room", "hall") as events:
                await apublish("hall" if number % 2 else "room", [visitor, number])
                while (await anext(events)).data != [visitor, number]:
                    pass
            if number % 3 == 0:
                await layer.members("room")  # A pause as long as the layer takes.

    async with asyncio.timeout(TIMEOUT), asyncio.TaskGroup() as visitors:
        for visitor in range(6):
            visitors.create_task(visit(visitor))
    await layer.until_members("room", 0)
    await layer.until_members("hall", 0)


async def test_events_of_very_many_groups_at_once(layer: Place, settings: Any) -> None:
    """Each reaches the readers of its group, in order, however few messages carry them."""
    settings.DJANGO_SSE = HISTORY
    names = [f"own.{number}" for number in range(150)]

    async def read_three(name: str, opened: asyncio.Barrier) -> list[Any]:
        async with subscribe(name) as events:
            await opened.wait()
            return [(await anext(events)).data for _ in range(3)]

    opened = asyncio.Barrier(len(names) + 1)
    async with asyncio.timeout(TIMEOUT):
        readers = [asyncio.ensure_future(read_three(name, opened)) for name in names]
        await opened.wait()
        for number in range(3):
            await asyncio.gather(*(apublish(name, [name, number]) for name in names))
        for name, reader in zip(names, readers, strict=True):
            assert await reader == [[name, 0], [name, 1], [name, 2]]


async def test_subscription_alone_gets_what_comes_to_all(layer: Place, settings: Any) -> None:
    """No stream is open: the hub is a member of the group of all hubs, too."""
    settings.DJANGO_SSE = HISTORY
    async with asyncio.timeout(TIMEOUT), subscribe("own.7") as events:
        await asyncio.gather(*(apublish(f"own.{number}", number) for number in range(100)))
        assert (await anext(events)).data == 7
        assert await layer.members(BROADCAST) == 1
    assert metrics.events_healed == 0


async def test_broadcast_reaches_every_stream_once(layer: Place, open_stream: OpenStream) -> None:
    """Whatever its groups; the answer is how many of this process there are."""
    exchanges = [await open_stream(*groups) for groups in (["a"], ["a", "b"], ["sse.all"])]
    assert await abroadcast({"all": True}, event="notice") == 3
    for exchange, group in zip(exchanges, ("a", "b", "sse.all"), strict=True):
        assert await exchange.next_event() == ('{"all":true}', "notice", "")
        await apublish(group, "end")
        assert await read(exchange, 1) == ["end"]


async def test_subscribe_in_code(layer: Place) -> None:
    """Events come as they were published, from each of the groups; none after the block."""
    async with subscribe("a", "b") as events:
        await apublish("a", {"number": 1}, event="first")
        await apublish("b", "two\nlines", retry=500)
        first, second = await anext(events), await anext(events)
    assert (first.data, first.event, first.retry) == ({"number": 1}, "first", None)
    assert (second.data, second.event, second.retry) == ("two\nlines", None, 500)


async def test_many_streams_that_leave_at_once(
    layer: Place, open_own: OpenStream, no_linger: None, caplog: pytest.LogCaptureFixture
) -> None:
    """More groups than a Redis pool has connections are left, and nothing fails or is logged."""
    count = 150
    exchanges = await asyncio.gather(*[open_own(f"own.{n}") for n in range(count)])
    await asyncio.gather(*[exchange.disconnected() for exchange in exchanges])
    for number in range(count):
        await layer.until_members(f"own.{number}", 0)
    assert metrics.layer_errors == 0
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize(
    "kind", ["memory", pytest.param("core", marks=pytest.mark.redis)], indirect=True
)
async def test_membership_outlasts_group_expiry(
    make_layer: Callable[..., Place], open_own: OpenStream
) -> None:
    """The layer forgets a member that joined once; the hub joins again in time."""
    layer = make_layer(group_expiry=2)
    exchange = await open_own("room")
    await layer.layer.group_add(layer_group("room"), "specific.other!channel")
    assert await layer.members("room") == 2
    number = 0
    async with asyncio.timeout(TIMEOUT):
        while await layer.members("room") == 2:
            await apublish("room", number)
            assert await read(exchange, 1) == [str(number)]
            number += 1
    await apublish("room", "after")
    assert await read(exchange, 1) == ["after"]
    assert len(layer.joins_of("room")) > 2


@pytest.mark.parametrize("kind", ["memory"], indirect=True)
@pytest.mark.parametrize("is_followed", [True, False], ids=["more waits", "it was the last"])
async def test_message_that_expired_unread_costs_no_more_than_a_while(
    layer: Place,
    open_own: OpenStream,
    monkeypatch: pytest.MonkeyPatch,
    settings: Any,
    is_followed: bool,
) -> None:
    """
    The in-memory layer takes the hub out of all groups then; renewal brings it back.

    With the last message it drops the queue too, at which the hub goes on waiting.
    """
    monkeypatch.setattr(layer_link, "_RENEW_SECONDS", 0.01)
    settings.DJANGO_SSE = {"CHANNEL_LAYER_TIMEOUT_SECONDS": 0.3}
    exchange = await open_own("room")
    [channel] = set(layer.joins_of("room"))
    memory = layer.layer
    # As after a minute in which the loop stood still. No other task runs until all is done.
    await memory.send(channel, {"type": "sse.event", "group": "room", "data": "expired"})
    queue = memory.channels[channel]
    queue._queue[0] = (time.time() - 1, queue._queue[0][1])
    if is_followed:
        await memory.send(channel, {"type": "sse.event", "group": "room", "data": "fresh"})
    memory._clean_expired()
    assert channel not in memory.groups[layer_group("room")]
    if is_followed:
        assert await read(exchange, 1) == ["fresh"]
    else:
        async with asyncio.timeout(TIMEOUT):
            # A count has no event: the hub has noticed that it hears nothing.
            while not metrics.layer_errors:  # noqa: ASYNC110
                await asyncio.sleep(0)
    await layer.until_members("room", 1)
    await apublish("room", "again")
    assert (await exchange.next_event()).data == "again"


@pytest.mark.redis
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["core"], indirect=True)
async def test_group_without_events_is_no_failure(layer: Place) -> None:
    """The hub waits for events as long as it takes; nothing is counted, and none is lost."""
    reads, has_read_again = 0, asyncio.Event()
    read_once = layer.layer._brpop_with_clean

    async def count(*args: Any, **kwargs: Any) -> Any:
        nonlocal reads
        reads += 1
        if reads == 2:
            has_read_again.set()
        return await read_once(*args, **kwargs)

    layer.layer._brpop_with_clean = count
    async with asyncio.timeout(TIMEOUT), subscribe("room") as events:
        await has_read_again.wait()
        await apublish("room", 1)
        assert (await anext(events)).data == 1
    assert metrics.layer_errors == 0
