"""The URLs of the site: the admin, rooms whose streams are watched, and a way to publish."""

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import path

from django_sse import EventStream, apublish, event_stream


@event_stream
async def room(request: HttpRequest, stream: EventStream, name: str) -> None:
    """Send what is published to a room."""
    await stream.subscribe(f"room.{name}")


async def publish(request: HttpRequest, name: str) -> HttpResponse:
    """Publish an event to a room."""
    await apublish(f"room.{name}", "hello", history=False)
    return HttpResponse(status=204)


async def icon(request: HttpRequest) -> HttpResponse:
    """Answer what browsers ask for by themselves; also tells that the server is there."""
    return HttpResponse(status=204)


urlpatterns = [
    path("admin/", admin.site.urls),
    path("rooms/<name>/", room),
    path("publish/<name>/", publish),
    path("favicon.ico", icon),
]
