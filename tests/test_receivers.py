"""Where the receivers of the package's signals run, and what they must not hold up."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.http import HttpRequest, HttpResponse

from django_sse import (
    EventStream,
    apublish,
    event_published,
    event_stream,
    publish,
    stream_closed,
    stream_opened,
)
from django_sse.testing import StreamClient


@pytest.fixture
def receive() -> Iterator[Callable[[Any], list[tuple[str, dict[str, Any]]]]]:
    """Return a function that connects a sync receiver, and returns the list of its calls."""
    connected = []

    def connect(signal: Any) -> list[tuple[str, dict[str, Any]]]:
        calls = []

        def receiver(**named: Any) -> None:
            calls.append((threading.current_thread().name, named))

        signal.connect(receiver, weak=False)
        connected.append((signal, receiver))
        return calls

    yield connect
    for signal, receiver in connected:
        signal.disconnect(receiver)


@event_stream(groups="orders")
async def orders(request: HttpRequest, stream: Any) -> None:
    """Stream the orders."""


def place(request: HttpRequest) -> HttpResponse:
    """Publish from sync code, in the thread that asgiref gives to the request."""
    publish("orders", "placed")
    return HttpResponse(threading.current_thread().name)


def place_nested(request: HttpRequest) -> HttpResponse:
    """Publish from a coroutine that sync code waits for."""
    async_to_sync(apublish)("orders", "placed")
    return HttpResponse(threading.current_thread().name)


@pytest.mark.parametrize("view", [place, place_nested])
async def test_publish_in_a_sync_view_does_not_wait_for_its_own_thread(
    asgi: StreamClient, route: Any, receive: Any, view: Any
) -> None:
    """A sync receiver of event_published runs in the thread that publishes, which is free."""
    calls = receive(event_published)
    route("orders/", orders)
    route("place/", view)
    stream = await asgi.open("/orders/")
    response = await asgi.get("/place/")  # Waits less than the layer's timeout.
    assert (await stream.next_event()).data == "placed"
    [(thread, named)] = calls
    assert thread == response.body.decode()
    assert named["groups"] == ("orders",)
    assert named["event"].data == "placed"


def test_publish_in_a_plain_process_runs_receivers_before_it_returns(receive: Any) -> None:
    """Where no stream is served, too: a command may end right after it has published."""
    calls = receive(event_published)
    publish("orders", "placed", on_commit=False)
    assert [thread for thread, _ in calls] == [threading.current_thread().name]


def test_publish_that_failed_is_not_announced(
    receive: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The signal names the groups that the layer took the event for, and only those."""
    from channels.layers import InMemoryChannelLayer

    group_send = InMemoryChannelLayer.group_send

    async def fail_for_b(self: Any, group: str, message: Any) -> None:
        if group == "sse.g.b":
            raise ConnectionError("gone")
        await group_send(self, group, message)

    monkeypatch.setattr("django_sse.sending.hand", lambda *arguments: False)
    monkeypatch.setattr(InMemoryChannelLayer, "group_send", fail_for_b)
    calls = receive(event_published)
    publish(["a", "b"], "x", on_commit=False)
    publish("b", "x", on_commit=False)
    assert [named["groups"] for _, named in calls] == [("a",)]
    assert caplog.text.count("An event for 'b' was not published: ConnectionError: gone") == 2


async def test_receivers_of_a_stream_run_on_the_shared_threads(
    asgi: StreamClient, route: Any, receive: Any
) -> None:
    """A database connection of theirs is closed after use: no thread is theirs alone."""
    opened, closed = receive(stream_opened), receive(stream_closed)
    route("orders/", orders)
    stream = await asgi.open("/orders/")
    await stream.disconnected()
    assert [thread for thread, _ in opened] == ["django_sse"]
    assert [thread for thread, _ in closed] == ["django_sse"]


async def test_callback_added_by_a_receiver_runs_on_the_shared_threads(
    asgi: StreamClient, route: Any, receive: Any
) -> None:
    """The view has left nothing to run, but a receiver of stream_opened may."""
    opened, threads = receive(stream_opened), []

    def add_callback(stream: EventStream, **named: Any) -> None:
        stream.on_close(lambda: threads.append(threading.current_thread().name))

    stream_opened.connect(add_callback)
    try:
        route("orders/", orders)
        stream = await asgi.open("/orders/")
        await stream.disconnected()
    finally:
        stream_opened.disconnect(add_callback)
    assert len(opened) == 1
    assert threads == ["django_sse"]
