"""Past the in-memory layer's queue: nobody can tell, but by the time that it takes."""

import asyncio
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer, channel_layers

from django_sse import ServerSentEvent, apublish, sending, subscribe
from django_sse.envelope import address, pack
from django_sse.groups import layer_group
from django_sse.layers import get_layer
from tests.clients import TIMEOUT


class Counted(InMemoryChannelLayer):
    """A layer that a project has made of Channels' own."""

    sends = 0

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        """Count the calls."""
        self.sends += 1
        await super().group_send(group, message)


@pytest.fixture
def queued(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The groups for which the layer itself was called."""
    calls: list[str] = []
    group_send = InMemoryChannelLayer.group_send

    async def record(self: Any, group: str, message: Any) -> None:
        calls.append(group)
        await group_send(self, group, message)

    monkeypatch.setattr(InMemoryChannelLayer, "group_send", record)
    return calls


async def take(events: Any, count: int) -> list[Any]:
    """Return the data of the next *count* events."""
    async with asyncio.timeout(TIMEOUT):
        return [(await anext(events)).data for _ in range(count)]


async def test_own_group_is_no_matter_of_the_layer(queued: list[str]) -> None:
    """Events come in order, with history and without it."""
    async with subscribe("room") as events:
        for number in range(300):
            await apublish("room", number, history=number % 3 > 0)
        assert await take(events, 300) == list(range(300))
    assert queued == []


async def test_group_of_nobody_is_no_matter_of_the_layer(queued: list[str]) -> None:
    """There is nobody to give it to."""
    async with subscribe("room") as events:
        await apublish("hall", "x")
        await apublish("room", "y")
        assert await take(events, 1) == ["y"]
    assert queued == []


async def test_other_reader_gets_it_too() -> None:
    """A consumer of the project that has joined the group, beside the streams."""
    layer: Any = get_layer()
    async with subscribe("room") as events:
        await layer.group_add(layer_group("room"), "specific.consumer!1")
        await apublish("room", "both")
        async with asyncio.timeout(TIMEOUT):
            assert (await layer.receive("specific.consumer!1"))["data"] == "both"
        assert await take(events, 1) == ["both"]


async def test_order_is_kept_where_something_waits_in_the_queue() -> None:
    """What was sent before it, by whoever, comes before it."""
    layer: Any = get_layer()
    async with subscribe("room") as events:
        [channel] = layer.groups[layer_group("room")]
        await layer.send(channel, address(pack(ServerSentEvent(1)).message, "room"))
        await apublish("room", 2, history=False)
        assert await take(events, 2) == [1, 2]


async def test_layer_that_does_more_is_asked() -> None:
    """What a project has made of the class may count, lose or delay."""
    layer = Counted()
    channel_layers.set("default", layer)
    async with subscribe("room") as events:
        await apublish("room", "x")
        assert await take(events, 1) == ["x"]
    assert layer.sends == 1


async def test_publisher_without_a_pause_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for nothing, and lets the loop go on all the same."""
    monkeypatch.setattr(sending, "_HANDED_AT_ONCE", 5)
    has_run = asyncio.Event()
    async with subscribe("room"):
        asyncio.get_running_loop().call_soon(has_run.set)
        for _ in range(100):
            if has_run.is_set():
                break
            await apublish("room", "x", history=False)
    assert has_run.is_set()


def test_loop_that_has_ended_reads_nothing(queued: list[str]) -> None:
    """Another one has a reader of its own."""

    async def work(text: str) -> None:
        async with subscribe(text) as events:
            await apublish(text, text)
            assert await take(events, 1) == [text]

    asyncio.run(work("first"))
    asyncio.run(work("second"))
    assert queued == []
