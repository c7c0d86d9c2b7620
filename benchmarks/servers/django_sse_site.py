"""
This package, as its documentation shows it.

A view in handler style behind the package's own ASGI entry, on the in-memory channel layer and on
Redis, with the history that it keeps if nothing else is said, and without any; the same view
behind Django's stock entry; and a view in generator style, whose own code runs for each event of
each stream.
"""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks import services
from benchmarks.servers import Site, django_project

__all__ = ["make_site"]

# Less than the 100 connections at which a pool of redis-py ends.
_AT_ONCE = 50
# Messages that wait for the worker. As it comes it is 100, and an event to 1,000 groups is more.
_CAPACITY = 10_000


def make_site(
    directory: Path,
    *,
    style: str = "handler",
    entry: str = "django_sse.asgi",
    layer: str = "memory",
    history: bool = True,
) -> Site:
    """
    Return the site.

    Args:
        directory: Of the run, for the database.
        style: Of the view: ``handler`` or ``generator``.
        entry: The module with get_asgi_application().
        layer: ``memory``, or ``core`` or ``pubsub`` of channels_redis. The store is the package's
            choice: MemoryStore, or RedisStore.
        history: Whether there is a store.
    """
    channel_layer = {"BACKEND": "channels.layers.InMemoryChannelLayer"}
    if layer != "memory":
        name = f"{layer}-{'history' if history else 'live'}"
        channel_layer = services.redis_layer(layer, directory, name, capacity=_CAPACITY)
    django_project.configure(
        directory / "django_sse.sqlite3",
        f"benchmarks.servers.django_sse_{style}_urls",
        "channels",
        "django_sse",
        CHANNEL_LAYERS={"default": channel_layer},
        DJANGO_SSE={} if history else {"STORE": None},
    )

    from django_sse import apublish

    async def publish(group: str, data: dict[str, Any]) -> None:
        await apublish(group, data)

    application = import_module(entry).get_asgi_application()
    return Site(
        application,
        publish,
        django_project.sign_in(),
        _count(),
        at_once=1 if layer == "memory" else _AT_ONCE,
    )


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
