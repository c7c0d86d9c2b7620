"""On which threads the sync calls of a view's code run, before and after the response begins."""

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.http import HttpRequest

from django_sse import EventStream, EventStreamResponse, event_stream
from django_sse.testing import StreamClient
from tests.models import Room

pytestmark = pytest.mark.django_db(transaction=True)


def thread_name() -> str:
    """Return the name of the thread that this runs in."""
    return threading.current_thread().name


async def slugs() -> AsyncIterator[str]:
    """Read the rooms in pieces, by one cursor."""
    async for room in Room.objects.order_by("pk").aiterator(chunk_size=2):
        yield room.slug


@event_stream
async def generator(request: HttpRequest) -> Any:
    """Read a cursor from before the response until long after it has begun."""
    async for slug in slugs():
        yield slug


@event_stream
async def handler(request: HttpRequest, stream: EventStream) -> None:
    """Do the same beside the handler."""
    stream.create_task(stream.feed(slugs()))


async def plain(request: HttpRequest) -> EventStreamResponse:
    """Do the same in a view without the decorator."""
    return EventStreamResponse(slugs())


@pytest.mark.parametrize("view", [generator, handler, plain])
async def test_cursor_survives_the_end_of_the_request(
    asgi: StreamClient, route: Any, view: Any, sync: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What began to read before the response goes on in the same thread."""
    # How long the thread waits for a next piece behind the last one.
    monkeypatch.setattr("django_sse.threads._IDLE_SECONDS", 0.05)
    route("rooms/", view)
    expected = [f"room-{number}" for number in range(50)]
    await sync(Room.objects.bulk_create, [Room(slug=slug) for slug in expected])
    stream = await asgi.open("/rooms/")
    assert [(await stream.next_event()).data for _ in expected] == expected


async def test_sync_middleware_does_not_take_the_threads_of_a_stream(
    settings: Any, asgi: StreamClient, route: Any
) -> None:
    """Its own thread, in which asgiref runs the view's sync calls, is gone after the response."""
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "tests.middleware.add_header_sync"]
    gate, closed = asyncio.Event(), asyncio.Event()
    threads = []

    @event_stream
    async def view(request: HttpRequest, stream: EventStream) -> None:
        def on_close() -> None:
            threads.append(thread_name())

        stream.on_close(on_close)
        stream.on_close(set_closed)
        threads.append(await sync_to_async(thread_name)())
        await stream.send(await Room.objects.acount())
        await gate.wait()
        threads.append(await sync_to_async(thread_name)())
        await stream.send(await Room.objects.acount())
        await asyncio.Event().wait()

    async def set_closed() -> None:
        closed.set()

    route("rooms/", view)
    stream = await asgi.open("/rooms/")
    assert stream.headers["x-sync"] == "yes"
    assert (await stream.next_event()).data == "0"
    gate.set()
    assert (await stream.next_event()).data == "0"
    await stream.disconnected()
    await closed.wait()
    assert threads == ["django_sse"] * 3


async def test_recheck_after_sync_middleware_runs_on_a_shared_thread(
    settings: Any, asgi: StreamClient, route: Any
) -> None:
    """A guard is called in the request's thread first, and in a shared one from then on."""
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "tests.middleware.add_header_sync"]
    threads = []

    def guard(request: HttpRequest) -> bool:
        threads.append(thread_name())
        return len(threads) < 3

    @event_stream(guard=guard, recheck=0.01, groups="rooms")
    async def view(request: HttpRequest, stream: EventStream) -> None:
        pass

    route("rooms/", view)
    stream = await asgi.open("/rooms/")
    await stream.ended()
    assert threads[1:] == ["django_sse"] * 2
    assert threads[0] != "django_sse"
