"""What the fault tests need of the served project beside its own pages."""

import asyncio
from collections.abc import Sequence

from django.http import HttpRequest, JsonResponse
from django.urls import include, path

from django_sse import EventStream, aconnections, apublish, event_stream, publish
from django_sse.metrics import metrics


def _groups(request: HttpRequest) -> Sequence[str]:
    return request.GET.getlist("group")


@event_stream(groups=_groups)
async def joined(request: HttpRequest, stream: EventStream, name: str) -> None:
    """Be fed by the groups of the query."""


def publish_to_several(request: HttpRequest) -> JsonResponse:
    """Publish one number to all the groups of the query, as one event."""
    publish(_groups(request), request.GET["number"])
    return JsonResponse({"publish_errors": metrics.publish_errors})


async def publish_at_once(request: HttpRequest) -> JsonResponse:
    """Publish one number to each of as many groups as are asked for, all at the same time."""
    names = (f"own.{number}" for number in range(int(request.GET["groups"])))
    await asyncio.gather(*(apublish(name, request.GET["number"]) for name in names))
    return JsonResponse({"publish_errors": metrics.publish_errors})


async def present(request: HttpRequest) -> JsonResponse:
    """Tell who is there."""
    found = await aconnections()
    return JsonResponse({"connections": [one.id for one in found], "users": found.users})


urlpatterns = [
    path("present/", present),
    path("joined/<name>/", joined),
    path("publish-to-several/", publish_to_several),
    path("publish-at-once/", publish_at_once),
    path("", include("tests.servers.site.urls")),
]
