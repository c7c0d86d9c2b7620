# mypy: disallow-any-generics, disallow-subclassing-any, disallow-untyped-calls
# mypy: disallow-untyped-decorators, disallow-untyped-defs, disallow-incomplete-defs
# mypy: warn-return-any, warn-unused-ignores
"""
The public names as a typed project uses them. Nothing here is run: mypy reads it.

An ``ignore`` marks what a type checker has to refuse; where it does not, mypy reports the ignore.
"""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from typing import Any, assert_type

from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.dispatch import Signal
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import path
from django.views.decorators.vary import vary_on_headers

from django_sse import (
    EventStream,
    EventStreamResponse,
    EventStreamView,
    LiveQuerySetView,
    ServerSentEvent,
    abroadcast,
    apublish,
    broadcast,
    event_published,
    event_sent,
    event_stream,
    events_dropped,
    publish,
    stream_closed,
    stream_opened,
    subscribe,
    subscribe_queryset,
)
from django_sse.exceptions import SSEError

View = Callable[..., Coroutine[Any, Any, HttpResponseBase]]


# Events.


def events() -> None:
    """An event takes any data, and its other fields by keyword."""
    event = ServerSentEvent({"a": 1}, event="changed", id="7", retry=500, comment="c")
    assert_type(event.encode(), bytes)
    assert_type(event.text(), str | None)
    assert_type(event.event, str | None)
    assert_type(event.id, str | None)
    assert_type(event.retry, int | None)
    assert_type(dataclasses.replace(event, event="other"), ServerSentEvent)
    event.event = "other"  # type: ignore[misc]
    ServerSentEvent("a", "changed")  # type: ignore[call-arg]
    ServerSentEvent("a", id=7)  # type: ignore[arg-type]
    ServerSentEvent("a", retry="500")  # type: ignore[arg-type]
    ServerSentEvent("a", name="changed")  # type: ignore[call-arg]


# Views.


@event_stream
async def generator(request: HttpRequest, symbol: str) -> AsyncIterator[ServerSentEvent]:
    """Generator style."""
    async with subscribe(f"prices.{symbol}") as prices:
        yield ServerSentEvent("snapshot")
        async for price in prices:
            assert_type(price, ServerSentEvent)
            yield price


@event_stream
async def generator_of_anything(request: HttpRequest) -> AsyncIterator[str | dict[str, int]]:
    """A generator may yield data, too."""
    yield "text"
    yield {"a": 1}


@event_stream
async def handler(request: HttpRequest, stream: EventStream, room: User) -> None:
    """Handler style."""
    await stream.subscribe("a", "b", where=lambda event: event.event == "changed")
    await stream.unsubscribe("a")
    await stream.send({"a": 1}, event="changed", id="7", retry=500)
    await stream.send(ServerSentEvent("a"))
    await stream.comment("text")
    stream.on_close(lambda: None)
    stream.on_close(close)
    assert_type(stream.create_task(count()), asyncio.Task[int])
    assert_type(stream.groups, frozenset[str])
    assert_type(stream.id, str)
    assert_type(stream.last_event_id, str | None)
    assert_type(stream.request, HttpRequest | None)
    await stream.closed
    await stream.close()
    await stream.subscribe(7)  # type: ignore[arg-type]
    await stream.send("a", "changed")  # type: ignore[call-arg]
    stream.on_close("close")  # type: ignore[arg-type]
    stream.groups = frozenset()  # type: ignore[misc]


async def close() -> None:
    """Be an async callback."""


async def count() -> int:
    """Be a task with a result."""
    return 1


async def may_read(request: HttpRequest, pk: int) -> bool:
    """Be a guard."""
    return request.user.is_authenticated


@login_required
@vary_on_headers("Accept")
@event_stream(progressive=True, guard=may_read, groups=["a"], heartbeat=15, retry=500)
async def progressive(request: HttpRequest, stream: EventStream | None, pk: int) -> dict[str, int]:
    """Be a view for two kinds of client, in Django's own decorators."""
    if stream:
        await stream.subscribe(f"build.{pk}")
    return {"state": 1}


class Notifications(EventStreamView):
    """A class-based view; each method may be sync or async."""

    groups = ("all",)
    heartbeat = 5
    max_duration = 60.5
    allowed_origins = ["https://example.com"]

    def get_groups(self) -> list[str]:
        """Name the groups."""
        return [f"user.{self.request.user.pk}"]

    async def get_initial(self) -> Iterable[ServerSentEvent]:
        """Say what is sent first."""
        return [ServerSentEvent("connected")]

    async def has_access(self) -> bool:
        """Ask for the right."""
        return await asyncio.sleep(0, True)


class Users(LiveQuerySetView):
    """A view of rows; get_queryset() may be sync or async."""

    model = User
    queryset = User.objects.filter(is_active=True)
    template_name = "user.html"
    heartbeat = 5

    async def get_queryset(self) -> QuerySet[User]:
        """Say which rows."""
        return await asyncio.sleep(0, User.objects.exclude(username=self.request.GET["but"]))


async def plain(request: HttpRequest) -> HttpResponseBase:
    """Return the response from a view without a decorator."""
    if not request.user.is_authenticated:
        return HttpResponse(status=204)
    EventStreamResponse(["a"])  # type: ignore[arg-type]
    EventStreamResponse(ticks(), 15)  # type: ignore[call-arg]
    return EventStreamResponse(ticks(), heartbeat=15, retry=500, max_duration=60)


async def ticks() -> AsyncIterator[int]:
    """Be a source of events."""
    yield 1


def views() -> None:
    """A decorated view is a coroutine function, alone or with options; path() takes all."""
    assert_type(generator, View)
    assert_type(handler, View)
    assert_type(event_stream(groups="a")(handler), View)
    assert_type(event_stream(), Callable[[Callable[..., Any]], View])
    path("prices/<symbol>/", generator)
    path("rooms/<room>/", handler, name="room")
    path("builds/<int:pk>/", progressive)
    path("notifications/", Notifications.as_view())
    path("users/", Users.as_view())
    path("plain/", plain)
    event_stream("a")  # type: ignore[call-overload]


# Reading and publishing.


async def reading() -> None:
    """A subscription is a context manager and an iterator of events."""
    async with subscribe("a", "b", where=lambda event: bool(event.data)) as found:
        async for event in found:
            assert_type(event, ServerSentEvent)
    subscribe(7)  # type: ignore[arg-type]
    subscribe("a", where="b")  # type: ignore[arg-type]
    for _ in subscribe("a"):  # type: ignore[attr-defined]
        pass


async def following() -> None:
    """So is the subscription of a queryset."""
    async with subscribe_queryset(User.objects.filter(is_active=True)) as rows:
        async for event in rows:
            assert_type(event, ServerSentEvent)
    subscribe_queryset(User)  # type: ignore[arg-type]
    subscribe_queryset(User.objects.all(), publisher="Users")  # type: ignore[arg-type]


async def publishing() -> None:
    """Sync and async twins; groups are one name or several."""
    publish("a", {"b": 1}, event="changed", retry=500, history=False, on_commit=False, key="k")
    publish(["a", "b"], "text")
    publish((name for name in ("a", "b")), None)
    await apublish({"a", "b"}, "text", event="changed")
    assert_type(broadcast("text", event="changed"), int)
    assert_type(await abroadcast("text"), int)
    publish(7, "text")  # type: ignore[arg-type]
    publish("a")  # type: ignore[call-arg]
    publish("a", "text", "changed")  # type: ignore[call-arg]


def signals() -> None:
    """Each signal is one of Django's."""
    for signal in (event_published, event_sent, events_dropped, stream_closed, stream_opened):
        assert_type(signal, Signal)


def errors(error: SSEError) -> Exception:
    """The family's base is an exception."""
    return error
