"""Bundling: which events share a message of the channel layer."""

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest
from channels.layers import channel_layers

from django_sse import bundling
from django_sse.bundling import Carrier
from django_sse.envelope import LayerMessage, events_of, to_message
from django_sse.groups import BROADCAST, layer_group
from django_sse.history import Entry
from django_sse.metrics import metrics
from tests.fake_layer import FakeLayer

ALL = layer_group(BROADCAST)
ENOUGH = bundling._LEAST_GROUPS


@pytest.fixture
async def layer() -> FakeLayer:
    """The project's channel layer."""
    layer = FakeLayer()
    channel_layers.set("default", layer)
    return layer


def event(group: str, number: int = 1, data: str = "x") -> LayerMessage:
    message = {"type": "sse.event", "mark": f"m{number:07}", "data": data}
    return to_message(Entry(group, number, message["mark"], f"m{number - 1:07}", message))


def events(groups: int, each: int = 1, data: str = "x") -> list[LayerMessage]:
    return [
        event(f"g{group}", number, data)
        for number in range(1, each + 1)
        for group in range(groups)
    ]


def sent(layer: FakeLayer) -> list[dict[str, Any]]:
    return [layer.inbox.get_nowait() for _ in range(layer.inbox.qsize())]


def places(messages: Iterable[dict[str, Any]]) -> list[tuple[str, int]]:
    """Return the group and the number of each event, in order."""
    return [(one["group"], one["number"]) for message in messages for one in events_of(message)]


async def test_events_of_few_groups_go_to_their_groups(layer: FakeLayer) -> None:
    """Those of one group together: all hubs would read what most of them have no reader of."""
    await Carrier().carry(events(ENOUGH - 1, each=3))
    assert layer.called("group_send") == [layer_group(f"g{n}") for n in range(ENOUGH - 1)]
    assert [len(events_of(message)) for message in sent(layer)] == [3] * (ENOUGH - 1)


async def test_events_of_many_groups_go_to_all(layer: FakeLayer) -> None:
    """In one message, in their order."""
    given = events(ENOUGH, each=2)
    await Carrier().carry(given)
    assert layer.called("group_send") == [ALL]
    assert places(sent(layer)) == places(given)


async def test_messages_to_all_are_bounded_and_even(layer: FakeLayer) -> None:
    """A thousand events are ten messages, whose data is about the same, and no small rest."""
    given = events(1000)
    await Carrier().carry(given)
    messages = sent(layer)
    assert layer.called("group_send") == [ALL] * 10
    assert {len(events_of(message)) for message in messages} <= {99, 100, 101}
    assert places(messages) == places(given)


async def test_bytes_of_messages_to_all_are_bounded(layer: FakeLayer) -> None:
    """Layers have bounds of their own."""
    await Carrier().carry(events(100, data="x" * 3000))
    sizes = [sum(len(one["data"]) for one in events_of(message)) for message in sent(layer)]
    assert sum(sizes) == 300_000
    assert max(sizes) <= 65_536 + 3000
    assert layer.called("group_send") == [ALL] * 5


async def test_large_events_go_to_their_groups(layer: FakeLayer) -> None:
    """Here it is the bytes that would cost each hub."""
    large = event("large", data="x" * 10_000)
    await Carrier().carry([large, *events(ENOUGH)])
    assert sorted(layer.called("group_send")) == [ALL, layer_group("large")]
    assert sorted(places(sent(layer))) == sorted(places([large, *events(ENOUGH)]))


async def test_many_events_of_few_groups_go_to_their_groups(layer: FakeLayer) -> None:
    """They share messages there: those to all would be no fewer."""
    await Carrier().carry(events(ENOUGH, each=100))
    assert layer.called("group_send") == [layer_group(f"g{n}") for n in range(ENOUGH)]


async def test_messages_go_at_the_same_time(layer: FakeLayer) -> None:
    """One server of several that hangs does not hold up the others."""
    gate = layer.gates["group_send"] = asyncio.Event()
    task = asyncio.ensure_future(Carrier().carry(events(5)))
    async with asyncio.timeout(5):
        while layer.in_flight < 5:  # noqa: ASYNC110 - a count has no event
            await asyncio.sleep(0)
    gate.set()
    await task


async def test_what_does_not_go_to_all_goes_to_its_groups(layer: FakeLayer) -> None:
    """Of several servers only the one of that group may be away; it is let be for a while."""
    carrier, given = Carrier(), events(ENOUGH)
    layer.failures["group_send"] = [ConnectionError("refused")]
    await carrier.carry(given)
    assert layer.called("group_send") == [ALL, *(layer_group(one["group"]) for one in given)]
    assert places(sent(layer)) == places(given)
    assert (metrics.layer_errors, metrics.publish_errors) == (1, 0)

    layer.calls.clear()
    await carrier.carry(given)
    assert ALL not in layer.called("group_send")

    layer.calls.clear()
    carrier._avoid_until = 0
    await carrier.carry(given)
    assert layer.called("group_send") == [ALL]


async def test_failure_that_took_long_is_not_made_good(
    layer: FakeLayer, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Callers have waited for as long as they may; the store has the events."""
    settings.DJANGO_SSE = {"CHANNEL_LAYER_TIMEOUT_SECONDS": 0.02}
    monkeypatch.setattr(bundling, "_QUICK_SECONDS", 0)
    layer.gates["group_send"] = asyncio.Event()
    await Carrier().carry(events(ENOUGH))
    assert layer.called("group_send") == [ALL]
