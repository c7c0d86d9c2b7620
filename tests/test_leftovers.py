"""What a stream must not leave behind, or do to others, once it has ended."""

import asyncio
import logging
from typing import Any

import pytest
from django.utils.decorators import sync_and_async_middleware

from django_sse import EventStream, event_stream
from django_sse.asgi import get_asgi_application
from django_sse.decorators import event_stream as decorate
from django_sse.hub import get_hub
from django_sse.reasons import CloseReason
from django_sse.testing import StreamClient
from tests.clients import TIMEOUT, until

held = asyncio.Event()


@sync_and_async_middleware
def hold_back(get_response: Any) -> Any:
    """A middleware that is at work for a while after the view has returned."""

    async def middleware(request: Any) -> Any:
        response = await get_response(request)
        held.set()
        await asyncio.Event().wait()
        return response

    return middleware


async def test_stream_that_is_through_keeps_no_deadline(asgi: StreamClient, route: Any) -> None:
    """The connection of a response that is complete may have its next request already."""
    streams: list[EventStream] = []

    @event_stream
    async def short(request: Any, stream: EventStream) -> None:
        streams.append(stream)
        await stream.send("all")

    route("short/", short)
    exchange = await asgi.get("/short/")
    assert exchange.body.endswith(b"data: all\n\n")
    await until(lambda: not get_hub().size)
    [stream] = streams
    assert stream.timer_slot is None
    stream.give_up()
    assert not get_hub()._resets._waiting


async def test_client_that_leaves_while_a_middleware_is_at_work(route: Any, settings: Any) -> None:
    """Django drops the response of the view then; its stream is ended all the same."""
    settings.MIDDLEWARE = [f"{__name__}.hold_back"]
    streams: list[EventStream] = []
    closed = asyncio.Event()

    @event_stream(groups="room")
    async def view(request: Any, stream: EventStream) -> None:
        streams.append(stream)
        stream.on_close(closed.set)

    route("view/", view)
    client = StreamClient(get_asgi_application(), timeout=TIMEOUT)
    held.clear()
    exchange = client.start("/view/")
    await held.wait()
    exchange.disconnect()
    async with asyncio.timeout(TIMEOUT):
        await closed.wait()
    assert streams[0].reason is CloseReason.NOT_SERVED
    await until(lambda: not get_hub().size)
    await client.close()


def test_view_is_outside_the_transactions_of_every_database() -> None:
    """ATOMIC_REQUESTS of any database would make an async view an error."""

    @decorate
    async def view(request: Any, stream: EventStream) -> None: ...

    assert all(alias in view._non_atomic_requests for alias in ("default", "other"))  # type: ignore[attr-defined]


async def test_streams_that_are_opened_together_keep_to_the_limit(
    asgi: StreamClient, route: Any, settings: Any
) -> None:
    """Between the look for room and the taking of it nothing waits."""
    settings.DJANGO_SSE = {"MAX_CONNECTIONS": 2}

    @event_stream(groups=lambda request: "room")
    async def view(request: Any, stream: EventStream) -> None: ...

    route("view/", view)
    exchanges = await asyncio.gather(*(asgi.open("/view/") for _ in range(5)))
    frames = [await exchange.next_frame() for exchange in exchanges]
    assert get_hub().size == 2
    assert frames.count(b"retry: 3000\n\n") == 2


async def test_send_that_raises_is_told(route: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A fault of a wrapper around send is no client that has left."""
    closed: list[Any] = []

    @event_stream(groups="room")
    async def view(request: Any, stream: EventStream) -> None:
        stream.on_close(lambda: closed.append(stream.reason))

    route("view/", view)
    app = get_asgi_application()

    async def faulty(scope: Any, receive: Any, send: Any) -> None:
        async def refuse(message: Any) -> None:
            if message["type"] == "http.response.body":
                raise LookupError("no such variable")
            await send(message)

        await app(scope, receive, refuse)

    client = StreamClient(faulty, timeout=TIMEOUT)
    with caplog.at_level(logging.ERROR, logger="django.sse"):
        client.start("/view/")
        await until(lambda: closed)
    assert closed == [CloseReason.ERROR]
    assert "no such variable" in caplog.text
    await client.close()


async def test_cleanup_that_has_begun_is_cut_short_at_shutdown(
    asgi: StreamClient, route: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that goes does not wait the ten seconds that a cleanup may take before."""
    monkeypatch.setattr("django_sse.lifecycle._EXIT_SECONDS", 0.01)
    began = asyncio.Event()

    async def hang() -> None:
        began.set()
        await asyncio.Event().wait()

    @event_stream(groups="room")
    async def view(request: Any, stream: EventStream) -> None:
        stream.on_close(hang)

    route("view/", view)
    exchange = await asgi.open("/view/")
    await exchange.next_frame()
    exchange.disconnect()
    await began.wait()
    get_hub().shut_down()
    await until(lambda: not get_hub().size)
