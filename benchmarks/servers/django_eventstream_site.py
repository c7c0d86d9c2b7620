"""
django-eventstream in its in-memory mode: no EVENTSTREAM_REDIS, no storage, no GRIP proxy.

Its view ``events`` behind login_required, its ``send_event()`` called on the loop's thread.
"""

from pathlib import Path
from typing import Any

from benchmarks.servers import Site, django_project

__all__ = ["make_site"]


def make_site(directory: Path) -> Site:
    """Return the site behind django.core.asgi.get_asgi_application()."""
    django_project.configure(
        directory / "django_eventstream.sqlite3",
        "benchmarks.servers.django_eventstream_urls",
        "django_eventstream",
    )

    from django.core.asgi import get_asgi_application
    from django_eventstream import send_event

    async def publish(group: str, data: dict[str, Any]) -> None:
        send_event(group, "message", data)

    return Site(get_asgi_application(), publish, django_project.sign_in())
