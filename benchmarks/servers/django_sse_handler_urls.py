"""A view of this package in handler style, and a plain one that reads the user."""

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.urls import path

from benchmarks.events import GROUP
from django_sse import EventStream, event_stream


@login_required
@event_stream
async def events(request: HttpRequest, stream: EventStream) -> None:
    groups = request.GET.get("group", GROUP).split(",")
    await stream.subscribe(*groups)


async def user(request: HttpRequest) -> HttpResponse:
    await request.auser()
    return HttpResponse("x")


urlpatterns = [path("events", events), path("user", user)]
