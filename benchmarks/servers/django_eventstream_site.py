"""
django-eventstream, in its in-memory mode or with EVENTSTREAM_REDIS; no storage, no GRIP proxy.

Its view ``events`` behind login_required, its ``send_event()`` called on the loop's thread: with
Redis too, where it waits for the answer.
"""

from pathlib import Path
from typing import Any

from benchmarks import services
from benchmarks.servers import Site, django_project

__all__ = ["make_site"]


def make_site(directory: Path, *, redis: bool = False) -> Site:
    """Return the site behind django.core.asgi.get_asgi_application()."""
    django_project.configure(
        directory / "django_eventstream.sqlite3",
        "benchmarks.servers.django_eventstream_urls",
        "django_eventstream",
        **({"EVENTSTREAM_REDIS": services.redis_address()} if redis else {}),
    )

    from django.core.asgi import get_asgi_application
    from django_eventstream import send_event

    async def publish(group: str, data: dict[str, Any]) -> None:
        send_event(group, "message", data)

    return Site(get_asgi_application(), publish, django_project.sign_in())
