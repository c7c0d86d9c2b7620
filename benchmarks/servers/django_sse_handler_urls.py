"""A view of this package in handler style."""

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest
from django.urls import path

from benchmarks.events import GROUP
from django_sse import EventStream, event_stream


@login_required
@event_stream
async def events(request: HttpRequest, stream: EventStream) -> None:
    groups = request.GET.get("group", GROUP).split(",")
    await stream.subscribe(*groups)


urlpatterns = [path("events", events)]
