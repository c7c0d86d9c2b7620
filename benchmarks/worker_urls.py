"""The view of benchmarks/worker.py: a stream of some groups, for users who are logged in."""

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest
from django.urls import path

from django_sse import EventStream, event_stream


def groups() -> tuple[str, ...]:
    """Return those of each stream, and of each event."""
    found: tuple[str, ...] = getattr(settings, "BENCHMARK_GROUPS")  # noqa: B009 - mypy knows Django's
    return found


@login_required
@event_stream
async def events(request: HttpRequest, stream: EventStream) -> None:
    await stream.subscribe(*groups())


urlpatterns = [path("events", events)]
