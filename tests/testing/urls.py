"""The views that the kit is tried on."""

from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path

from django_sse import EventStream, apublish, event_stream, publish
from tests.models import Room

__all__ = ["urlpatterns"]


@event_stream(groups=lambda request: request.GET.getlist("group") or ["orders"])
async def orders(request: HttpRequest, stream: EventStream) -> None:
    """Stream the groups that the query names."""


@event_stream(groups="orders", start="all")
async def all_orders(request: HttpRequest, stream: EventStream) -> None:
    """Begin with the history."""


@event_stream
async def count(request: HttpRequest) -> Any:
    """Send three events, and end."""
    for number in range(3):
        yield str(number)


@event_stream
async def empty(request: HttpRequest, stream: EventStream) -> None:
    """End at once."""


@event_stream(guard=lambda request: request.user.is_authenticated)
async def mine(request: HttpRequest, stream: EventStream) -> None:
    """Send the user's name, from the database, and their group."""
    user = await request.auser()
    rooms = [room.slug async for room in Room.objects.order_by("slug")]
    await stream.send({"user": user.get_username(), "rooms": rooms})
    await stream.subscribe(f"user.{user.pk}")


async def place(request: HttpRequest) -> HttpResponse:
    """Publish what a form says."""
    await apublish("orders", request.POST.dict(), event="placed")
    return JsonResponse({"placed": request.POST["number"]})


async def place_later(request: HttpRequest) -> HttpResponse:
    """Publish by the sync function on the thread of the event loop."""
    publish("orders", "later")
    return HttpResponse(status=204)


def cookie(request: HttpRequest) -> HttpResponse:
    """Answer with the cookie that came, and set another."""
    response = HttpResponse(request.COOKIES.get("visit", "none"))
    response.set_cookie("visit", "first")
    return response


def echo(request: HttpRequest) -> HttpResponse:
    """Answer with what was asked."""
    return JsonResponse(
        {"path": request.path, "query": request.GET.dict(), "method": request.method}
    )


urlpatterns = [
    path("orders/", orders),
    path("orders/all/", all_orders),
    path("count/", count),
    path("empty/", empty),
    path("mine/", mine),
    path("place/", place),
    path("place/later/", place_later),
    path("cookie/", cookie),
    path("echo/<path:rest>", lambda request, rest: echo(request)),
]
