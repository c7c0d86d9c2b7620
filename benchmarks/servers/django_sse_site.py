"""
This package, as its documentation shows it.

A view in handler style behind the package's own ASGI entry, without history and with it, on the
in-memory channel layer and on Redis; the same view behind Django's stock entry; and a view in
generator style, whose own code runs for each event of each stream. What is compared with other
packages keeps no history, as they keep none.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import services
from benchmarks.servers import Site, django_project

__all__ = [
    "make_generator_site",
    "make_history_site",
    "make_redis_history_site",
    "make_redis_site",
    "make_site",
    "make_stock_site",
]

_GROUP = "ticks"
_IN_MEMORY = {"BACKEND": "channels.layers.InMemoryChannelLayer"}
_NO_HISTORY = {"DJANGO_SSE": {"STORE": None}}


def make_site(directory: Path) -> Site:
    """Return the site behind django_sse.asgi.get_asgi_application()."""
    return _make_site(directory, "handler_urls", "django_sse.asgi", **_NO_HISTORY)


def make_stock_site(directory: Path) -> Site:
    """Return the site behind django.core.asgi.get_asgi_application()."""
    return _make_site(directory, "handler_urls", "django.core.asgi", **_NO_HISTORY)


def make_generator_site(directory: Path) -> Site:
    """Return the site whose view is a generator."""
    return _make_site(directory, "generator_urls", "django_sse.asgi", **_NO_HISTORY)


def make_history_site(directory: Path) -> Site:
    """Return the site that keeps history in memory: the default with this layer."""
    return _make_site(directory, "handler_urls", "django_sse.asgi")


def make_redis_site(directory: Path) -> Site:
    """Return the site whose layer is on Redis, without history."""
    layer = services.redis_layer("core", directory, "live")
    return _make_site(directory, "handler_urls", "django_sse.asgi", layer, **_NO_HISTORY)


def make_redis_history_site(directory: Path) -> Site:
    """Return the site whose layer and history are on Redis: the default with this layer."""
    layer = services.redis_layer("core", directory, "history")
    return _make_site(directory, "handler_urls", "django_sse.asgi", layer)


def _make_site(
    directory: Path, urls: str, entry: str, layer: dict[str, Any] = _IN_MEMORY, **more: Any
) -> Site:
    from importlib import import_module

    django_project.configure(
        directory / "django_sse.sqlite3",
        f"benchmarks.servers.django_sse_{urls}",
        "channels",
        "django_sse",
        CHANNEL_LAYERS={"default": layer},
        **more,
    )

    from django_sse import apublish

    async def publish(data: dict[str, Any]) -> None:
        await apublish(_GROUP, data)

    application = import_module(entry).get_asgi_application()
    return Site(application, publish, django_project.sign_in(), _count())


def _count() -> Callable[[], dict[str, int]]:
    """Begin to count the reads of the store; return what tells all counts."""
    import dataclasses

    from django_sse.metrics import metrics
    from django_sse.stores import get_store

    store, reads = get_store(), [0]
    if store is not None:
        read = store.aread

        async def counted_read(*args: Any) -> Any:
            reads[0] += 1
            return await read(*args)

        store.aread = counted_read  # type: ignore[assignment,method-assign]
    return lambda: {"store_reads": reads[0], **dataclasses.asdict(metrics)}
