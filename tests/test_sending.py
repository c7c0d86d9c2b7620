"""Handing events to the channel layer."""

import asyncio
import logging
from typing import Any

import pytest
from channels.layers import channel_layers

from django_sse import sending
from django_sse.groups import layer_group
from django_sse.metrics import metrics
from django_sse.sending import report, send
from tests.clients import TIMEOUT, until
from tests.fake_layer import FakeLayer


@pytest.fixture
async def layer() -> FakeLayer:
    """The project's channel layer."""
    layer = FakeLayer()
    channel_layers.set("default", layer)
    return layer


def message(group: str, number: int | None = None) -> dict[str, Any]:
    """Return an event for *group*, of a history if it has a number."""
    place = {} if number is None else {"number": number, "previous": "m" * 8}
    return {"type": "sse.event", "group": group, "data": "x", **place}


async def test_each_message_goes_to_its_group(layer: FakeLayer) -> None:
    """In order, one call each; the groups that took it are told."""
    taken = await send(message(group) for group in "abc")
    assert taken == ("a", "b", "c")
    assert layer.called("group_send") == [layer_group(group) for group in "abc"]
    assert [layer.inbox.get_nowait()["group"] for _ in range(3)] == ["a", "b", "c"]


async def test_nothing_to_send(layer: FakeLayer) -> None:
    """No call is made."""
    assert await send([]) == ()
    assert layer.calls == []


async def test_one_that_fails(layer: FakeLayer, caplog: pytest.LogCaptureFixture) -> None:
    """It is lost, logged and counted; the others go."""
    layer.failures["group_send"] = [None, ConnectionError("refused")]
    assert await send(message(group) for group in "abc") == ("a", "c")
    assert "An event for 'b' was not published: ConnectionError: refused" in caplog.text
    assert (metrics.publish_errors, metrics.layer_errors) == (1, 0)


async def test_one_of_a_history_that_fails(
    layer: FakeLayer, caplog: pytest.LogCaptureFixture
) -> None:
    """It is not lost: its readers find it in the store."""
    layer.failures["group_send"] = [ConnectionError("refused")]
    assert await send([message("a", 5)]) == ()
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        "The channel layer did not take an event, whose readers find it in the store:"
        " ConnectionError: refused"
    )
    assert (metrics.publish_errors, metrics.layer_errors) == (0, 1)


async def test_layer_that_takes_too_long(
    layer: FakeLayer, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """One bound is for all of them; what is left is told, each by what it is."""
    settings.DJANGO_SSE = {"CHANNEL_LAYER_TIMEOUT_SECONDS": 0.02}
    layer.gates["group_send"] = asyncio.Event()
    async with asyncio.timeout(TIMEOUT):
        assert await send([message("a"), message("b", 5), message("c")]) == ()
    assert layer.called("group_send") == [layer_group("a")]
    assert "An event for 'a', 'c' was not published: TimeoutError: it took too long" in caplog.text
    assert "find it in the store: TimeoutError: it took too long" in caplog.text
    assert (metrics.publish_errors, metrics.layer_errors) == (1, 1)


async def test_what_was_taken_in_time_is_told(
    layer: FakeLayer,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A time-out later does not take it back."""
    settings.DJANGO_SSE = {"CHANNEL_LAYER_TIMEOUT_SECONDS": 0.5}
    group_send = layer.group_send

    async def stop_at_b(group: str, message: dict[str, Any]) -> None:
        if message["group"] == "b":
            layer.gates["group_send"] = asyncio.Event()
        await group_send(group, message)

    monkeypatch.setattr(layer, "group_send", stop_at_b)
    assert await send(message(group) for group in "abc") == ("a",)
    assert "An event for 'b', 'c' was not published" in caplog.text


async def test_calls_at_once_are_bounded(layer: FakeLayer) -> None:
    """A burst does not use up the layer's connections."""
    gate = layer.gates["group_send"] = asyncio.Event()
    sends = [asyncio.ensure_future(send([message("a")])) for _ in range(100)]
    await until(lambda: layer.in_flight == sending._CALLS_AT_ONCE)
    gate.set()
    await asyncio.gather(*sends)
    assert layer.most_in_flight == sending._CALLS_AT_ONCE
    assert len(layer.called("group_send")) == 100


def test_loops_that_have_ended_are_forgotten() -> None:
    """A process may run thousands, one after the other."""

    async def call() -> None:
        channel_layers.set("default", FakeLayer())
        await send([message("a")])

    for _ in range(20):
        asyncio.run(call())
    assert sum(loop.is_closed() for loop in sending._calls) <= 1


def test_report(caplog: pytest.LogCaptureFixture) -> None:
    """What is lost is told with its groups and its cause."""
    report(["a", "b"], TimeoutError())
    assert caplog.messages == [
        "An event for 'a', 'b' was not published: TimeoutError: it took too long"
    ]
    assert metrics.publish_errors == 1
