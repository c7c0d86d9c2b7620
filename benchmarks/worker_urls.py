"""The view of benchmarks/worker.py: a stream of some groups, for users who are logged in."""

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest
from django.urls import path

from django_sse import EventStream, event_stream


@login_required
@event_stream
async def events(request: HttpRequest, stream: EventStream) -> None:
    await stream.subscribe(*settings.STREAM_GROUPS)


urlpatterns = [path("events", events)]
