"""Streams of every kind, and pages by which a test moves and watches the process."""

import asyncio
import dataclasses
import os
import time
from collections.abc import AsyncIterator
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.contrib.auth.decorators import login_required
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse

from django_sse import (
    EventStream,
    ServerSentEvent,
    event_stream,
    publish,
    stream_closed,
    subscribe,
)
from django_sse.hub import get_hub
from django_sse.metrics import metrics
from tests.servers.site.journal import note
from tests.servers.waiting import eventually


@receiver(stream_closed)
def _note_closed(*, stream: EventStream, **kwargs: Any) -> None:
    note("closed", stream.path.strip("/").rpartition("/")[2])


async def ready(request: HttpRequest) -> HttpResponse:
    """Answer, once the process serves."""
    return HttpResponse("ready")


async def state(request: HttpRequest) -> JsonResponse:
    """Tell the process's id and numbers, and how many streams wait for their client to read."""
    streams: Any = get_hub().streams
    waiting = sum(stream._queue is not None for stream in streams)
    return JsonResponse({"pid": os.getpid(), "waiting": waiting, **dataclasses.asdict(metrics)})


def publish_some(request: HttpRequest) -> JsonResponse:
    """Publish the numbers from *first* on, as a sync view does; tell how long that took."""
    first, count = int(request.GET.get("first", 0)), int(request.GET.get("count", 1))
    padding = "." * int(request.GET.get("padding", 0))
    began = time.monotonic()
    for number in range(first, first + count):
        publish(request.GET.get("group", "news"), f"{number}{padding}")
    seconds = time.monotonic() - began
    return JsonResponse({"seconds": seconds, **dataclasses.asdict(metrics)})


@event_stream
async def generator(request: HttpRequest, name: str) -> AsyncIterator[ServerSentEvent]:
    """Subscribe, and yield what comes."""
    try:
        async with subscribe("news") as events:
            yield ServerSentEvent(name, event="opened")
            async for event in events:
                yield event
    finally:
        await sync_to_async(note)("finally", name)


@event_stream
async def handler(request: HttpRequest, stream: EventStream, name: str) -> None:
    """Join a group, and leave the stream to it."""
    stream.on_close(lambda: note("on_close", name))
    await stream.subscribe("news")
    await stream.send(name, event="opened")


@event_stream
async def whose(request: HttpRequest, stream: EventStream, name: str) -> None:
    """Tell first which process it is that has the stream."""
    await stream.subscribe("news")
    await stream.send(os.getpid(), event="opened")


@event_stream
async def tasked(request: HttpRequest, stream: EventStream, name: str) -> None:
    """Join a group, and have a task beside it."""

    async def wait() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            note("finally", name)

    async def on_close() -> None:
        note("on_close", name)

    stream.on_close(on_close)
    stream.create_task(wait())
    await stream.subscribe("news")
    await stream.send(name, event="opened")


@event_stream(groups="news")
async def grouped(request: HttpRequest, stream: EventStream, name: str) -> None:
    """Be fed by a group, with no code of the view's left."""


@event_stream
async def long(request: HttpRequest, name: str) -> AsyncIterator[str]:
    """Send 8 MB, and end."""
    for number in range(80):
        yield f"{number}{'.' * 100_000}"


async def _when_closing(request: HttpRequest, name: str) -> bool:
    note("waiting", name)
    return await eventually(lambda: get_hub().is_closing)


@event_stream(guard=_when_closing, groups="news")
async def late(request: HttpRequest, stream: EventStream, name: str) -> None:
    """Be opened just when the process has begun to go down."""


@event_stream
async def logged_in_generator(request: HttpRequest, name: str) -> AsyncIterator[ServerSentEvent]:
    """Ask the database who the user is."""
    user = await request.auser()
    async with subscribe("news") as events:
        yield ServerSentEvent(user.get_username(), event="opened")
        async for event in events:
            yield event


@login_required
@event_stream(guard=lambda request: request.user.is_active)
async def logged_in_handler(request: HttpRequest, stream: EventStream, name: str) -> None:
    """The same, by Django's decorator and a sync guard."""
    await stream.subscribe("news")
    await stream.send(request.user.get_username(), event="opened")


async def logged_in_stock(request: HttpRequest, name: str) -> StreamingHttpResponse:
    """The same with nothing but Django."""
    user = await request.auser()

    async def frames() -> AsyncIterator[str]:
        yield f"event: opened\ndata: {user.get_username()}\n\n"
        await asyncio.get_running_loop().create_future()

    return StreamingHttpResponse(frames(), content_type="text/event-stream")


@event_stream
async def querying(request: HttpRequest, name: str) -> AsyncIterator[str]:
    """Query the database again for each event."""
    async with subscribe("questions") as events:
        yield "opened"
        async for event in events:
            yield f"{event.data}: {await get_user_model().objects.acount()} users"
