"""MAX_CONNECTIONS_PER_USER and MAX_CONNECTIONS_PER_ADDRESS."""

from typing import Any

import pytest
from django.contrib.auth.models import User

from django_sse import EventStream, EventStreamResponse, event_stream
from django_sse.hub import get_hub
from django_sse.metrics import metrics
from django_sse.testing import StreamClient
from tests.clients import until


@event_stream(groups="room")
async def room(request: Any, stream: EventStream) -> None: ...


async def is_busy(asgi: StreamClient, path: str) -> bool:
    exchange = await asgi.open(path)
    first = await exchange.next_frame()
    assert exchange.status == 200
    return first != b"retry: 3000\n\n"


async def test_cap_of_an_address(asgi: StreamClient, route: Any, settings: Any) -> None:
    """The third stream from one address is sent away, until one of the others has ended."""
    settings.DJANGO_SSE = {"MAX_CONNECTIONS_PER_ADDRESS": 2}
    route("room/", room)
    first = await asgi.open("/room/")
    assert not await is_busy(asgi, "/room/")
    assert await is_busy(asgi, "/room/")
    assert metrics.streams_refused == 1
    assert get_hub().size == 2
    first.disconnect()
    await until(lambda: get_hub().size == 1)
    assert not await is_busy(asgi, "/room/")


async def test_cap_is_taken_before_the_groups(
    asgi: StreamClient, route: Any, settings: Any
) -> None:
    """A client that opens streams without end makes no subscription beyond it."""
    settings.DJANGO_SSE = {"MAX_CONNECTIONS_PER_ADDRESS": 1}
    route("room/", room)
    await asgi.open("/room/")
    assert await is_busy(asgi, "/room/")
    [audience] = list(get_hub().audiences)
    assert len(audience.members) == 1


async def test_cap_of_a_user(
    asgi: StreamClient, route: Any, settings: Any, log_in: Any, sync: Any, transactional_db: None
) -> None:
    """It counts the streams of one user, in whatever browser, and not those of guests."""
    settings.DJANGO_SSE = {"MAX_CONNECTIONS_PER_USER": 1}
    route("room/", room)
    for _ in range(2):
        assert not await is_busy(asgi, "/room/")
    ada = await sync(User.objects.create_user, "ada")
    await sync(log_in, asgi, ada)
    assert not await is_busy(asgi, "/room/")
    asgi.cookies.clear()
    await sync(log_in, asgi, ada)
    assert await is_busy(asgi, "/room/")
    asgi.cookies.clear()
    await sync(log_in, asgi, await sync(User.objects.create_user, "ben"))
    assert not await is_busy(asgi, "/room/")


async def test_cap_of_a_response(asgi: StreamClient, route: Any, settings: Any) -> None:
    """An EventStreamResponse of any view counts, and is refused, as well."""
    settings.DJANGO_SSE = {"MAX_CONNECTIONS_PER_ADDRESS": 1}

    async def view(request: Any) -> EventStreamResponse:
        async def events() -> Any:
            yield "first"
            await get_hub().loop.create_future()

        return EventStreamResponse(events())

    route("view/", view)
    assert not await is_busy(asgi, "/view/")
    assert await is_busy(asgi, "/view/")


@pytest.mark.parametrize("address", [None, ""])
async def test_client_without_an_address(
    address: Any, asgi: StreamClient, route: Any, settings: Any, monkeypatch: Any
) -> None:
    """On a unix socket there is none: its clients are not taken for one."""
    settings.DJANGO_SSE = {"MAX_CONNECTIONS_PER_ADDRESS": 1}
    route("room/", room)
    scope = asgi.scope

    def without_client(*args: Any, **kwargs: Any) -> Any:
        return {**scope(*args, **kwargs), "client": address and (address, 0)}

    monkeypatch.setattr(asgi, "scope", without_client)
    for _ in range(3):
        assert not await is_busy(asgi, "/room/")
