"""A view of this package in generator style."""

from collections.abc import AsyncIterator

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest
from django.urls import path

from benchmarks.events import GROUP
from django_sse import ServerSentEvent, event_stream, subscribe


@login_required
@event_stream
async def events(request: HttpRequest) -> AsyncIterator[ServerSentEvent]:
    groups = request.GET.get("group", GROUP).split(",")
    async with subscribe(*groups) as subscription:
        async for event in subscription:
            yield event


urlpatterns = [path("events", events)]
