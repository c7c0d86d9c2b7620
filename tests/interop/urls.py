"""The site that the clients of others read: streams, a publisher, and pages with the clients."""

from collections.abc import Sequence
from pathlib import Path

from django.http import HttpRequest, HttpResponse
from django.template import Context, Engine
from django.urls import include, path
from django.views.static import serve

from django_sse import EventStream, event_stream, publish
from tests.interop.events import NAMES, event

FOLDER = Path(__file__).parent
PAGES = Engine(dirs=[str(FOLDER / "pages")])


def _group(request: HttpRequest, group: str) -> Sequence[str]:
    return [group]


@event_stream(groups=_group)
async def stream(request: HttpRequest, stream: EventStream, group: str) -> None:
    """Be fed by the group of the URL."""


@event_stream(groups=_group, heartbeat=3600)
async def silent(request: HttpRequest, stream: EventStream, group: str) -> None:
    """Be fed by the group, and send nothing else."""


def publish_some(request: HttpRequest, group: str) -> HttpResponse:
    """Publish the events of the numbers from *first* on."""
    first, count = int(request.GET["first"]), int(request.GET["count"])
    for number in range(first, first + count):
        name, data = event(number)
        publish(group, data, event=None if name == "message" else name)
    return HttpResponse()


def page(request: HttpRequest, name: str) -> HttpResponse:
    """Show a page whose script opens the stream at the URL ``?stream=``."""
    context = {"stream": request.GET.get("stream", ""), "names": ",".join(NAMES)}
    return HttpResponse(PAGES.get_template(f"{name}.html").render(Context(context)))


urlpatterns = [
    path("stream/<group>/", stream),
    path("silent/<group>/", silent),
    path("publish/<group>/", publish_some),
    path("page/<name>/", page),
    path("npm/<path:path>", serve, {"document_root": FOLDER / "node_modules"}),
    path("", include("tests.servers.site.urls")),
]
