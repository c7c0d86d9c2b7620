"""A process that forgets."""

import asyncio
import threading
from typing import Any

import pytest
from channels.layers import get_channel_layer

from django_sse import ModelPublisher, apublish, publishing
from django_sse import hub as hub_module
from django_sse.hub import get_hub
from django_sse.metrics import metrics
from django_sse.model_publishing.debouncing import debouncer
from django_sse.stores import get_store
from django_sse.testing import StreamClient, areset, reset, resetting
from tests.clients import TIMEOUT
from tests.models import Room

pytestmark = pytest.mark.history


async def test_areset_ends_the_streams_of_the_loop():
    """They have ended when it returns, and a new one works."""
    client = StreamClient(timeout=TIMEOUT)
    stream, hub = await client.open("/orders/"), get_hub()
    await areset()
    assert stream.is_ended
    assert not hub.streams
    assert get_hub() is not hub
    again = await client.open("/orders/")
    await apublish("orders", 1)
    assert (await again.next_event()).json() == 1
    await client.close()


async def test_areset_forgets_events_and_counts():
    """The history is that of a new process."""
    await apublish("orders", 1)
    store, layer = get_store(), get_channel_layer()
    assert metrics.events_published == 1
    await areset()
    assert metrics.events_published == 0
    assert get_store() is not store
    assert get_channel_layer() is not layer
    async with StreamClient(timeout=TIMEOUT) as client:
        stream = await client.open("/orders/all/")
        await apublish("orders", 2)
        assert (await stream.next_event()).json() == 2


async def test_reset_on_the_loop_does_not_wait():
    """It cannot; the streams end soon."""
    client = StreamClient(timeout=TIMEOUT)
    stream = await client.open("/orders/")
    reset()
    assert hub_module._hubs == {}
    await stream.ended()
    await client.close()


def test_reset_ends_the_streams_of_a_loop_that_rests():
    """As between two tests of a loop that they share."""
    loop, client = asyncio.new_event_loop(), StreamClient(timeout=TIMEOUT)
    stream = loop.run_until_complete(client.open("/orders/"))
    reset()
    assert stream.is_ended
    loop.run_until_complete(client.close())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


def test_reset_forgets_a_loop_that_is_closed():
    """A test that ends nothing leaves nothing behind."""
    client = StreamClient(timeout=TIMEOUT)
    stream = asyncio.run(client.open("/orders/"))
    assert stream.task.done()
    assert len(hub_module._hubs) == 1
    reset()
    assert hub_module._hubs == {}


def test_reset_ends_the_streams_of_a_loop_in_another_thread():
    """It waits for them from here."""
    opened, ended = threading.Event(), threading.Event()

    async def read() -> None:
        async with StreamClient(timeout=TIMEOUT) as client:
            stream = await client.open("/orders/")
            opened.set()
            await stream.ended()
            ended.set()

    thread = threading.Thread(target=asyncio.run, args=(read(),))
    thread.start()
    assert opened.wait(TIMEOUT)
    reset()
    assert ended.wait(TIMEOUT)
    thread.join(TIMEOUT)


async def test_reset_drops_what_waits_for_the_store(monkeypatch):
    """An event of one test does not come in the next."""

    async def refuse(*args: Any, **kwargs: Any) -> Any:
        raise ConnectionError

    monkeypatch.setattr(type(get_store()), "aappend", refuse)
    await apublish("orders", 1)
    assert not publishing._backlog.is_empty()
    await areset()
    assert publishing._backlog.is_empty()


def test_reset_drops_updates_that_rest():
    """What a publisher would tell later is not told in the next test."""

    class Publisher(ModelPublisher):
        min_interval = 60

    publisher = Publisher(Room)
    assert debouncer.may_tell(publisher, "default", 1)
    assert not debouncer.may_tell(publisher, "default", 1)
    reset()
    assert debouncer.may_tell(publisher, "default", 1)


def test_reset_tells_of_a_call_that_does_not_end(monkeypatch):
    """A thread that holds on to the database is the test's mistake."""
    with monkeypatch.context() as patch:
        patch.setattr(resetting, "_END_SECONDS", 0)
        patch.setattr(resetting, "_shared_threads", lambda: 99)
        with pytest.raises(TimeoutError, match="still runs in a shared thread"):
            reset()
