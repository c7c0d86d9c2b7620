"""
One process that publishes from sync code outside ASGI, as a task of Celery or a script does.

``python -m benchmarks.sync_publisher NAME --core N --control FD --directory DIR`` sets Django up
and waits for commands. benchmarks/publishing.py starts it and speaks with it.
"""

import argparse
import json
import os
import socket
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import services
from benchmarks.events import make_event
from benchmarks.servers import django_project

__all__ = ["VARIANTS", "Variant"]

_GROUP = "ticks"
# It stands for one serving process. Nobody reads it, so it is given room for all.
_READER = "specific.reader!1"
_CAPACITY = 100_000
_WARM_UP_EVENTS = 20
_SENDING_SECONDS = 60
_MEMORY = "memory"

Publish = Callable[[dict[str, Any]], None]


class Variant(NamedTuple):
    """
    What a process publishes by.

    Attributes:
        layer: ``memory``, or the kind of the layer on Redis.
        store: The name of a store's class; None for none.
        database: ``postgresql`` or ``sqlite`` as Django sets it up, ``postgresql-prepared`` or
            ``sqlite-wal`` as docs/how-to/choosing-a-store.md does.
        is_peer: Whether it is not this package at all, but ``group_send()`` itself.
    """

    layer: str
    store: str | None = None
    database: str = "sqlite"
    is_peer: bool = False


VARIANTS = {
    "group_send-core": Variant("core", is_peer=True),
    "group_send-pubsub": Variant("pubsub", is_peer=True),
    "none-core": Variant("core"),
    "none-pubsub": Variant("pubsub"),
    "redis-core": Variant("core", "redis.RedisStore"),
    "redis-pubsub": Variant("pubsub", "redis.RedisStore"),
    "memory": Variant(_MEMORY, "memory.MemoryStore"),
    "sqlite-core": Variant("core", "database.DatabaseStore"),
    "sqlite-wal-core": Variant("core", "database.DatabaseStore", "sqlite-wal"),
    "postgresql-core": Variant("core", "database.DatabaseStore", "postgresql"),
    "postgresql-prepared-core": Variant("core", "database.DatabaseStore", "postgresql-prepared"),
}


def main() -> None:
    """Pin this process to its core, and publish on command."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=VARIANTS)
    parser.add_argument("--core", type=int, required=True)
    parser.add_argument("--control", type=int, required=True)
    parser.add_argument("--directory", type=Path, required=True)
    chosen = parser.parse_args()
    os.sched_setaffinity(0, {chosen.core})
    variant = VARIANTS[chosen.name]
    _configure(chosen.name, variant, chosen.directory)
    sent = _Sent(variant.layer)
    publish = _publish_by_group_send() if variant.is_peer else _publish_by_package()
    _measure(publish, sent, 0, _WARM_UP_EVENTS)
    with socket.socket(fileno=chosen.control).makefile("rwb") as control:
        _answer(control, {"name": chosen.name})
        for line in control:
            _answer(control, _measure(publish, sent, *map(int, line.split())))


def _answer(control: Any, value: dict[str, Any]) -> None:
    control.write(json.dumps(value).encode() + b"\n")
    control.flush()


def _configure(name: str, variant: Variant, directory: Path) -> None:
    database = services.sqlite_database(directory / f"{name}.sqlite3", variant.database)
    if variant.database.startswith("postgresql"):
        database = services.postgresql_database(directory, variant.database)
    layer = {"BACKEND": "channels.layers.InMemoryChannelLayer"}
    if variant.layer != _MEMORY:
        config = {"capacity": _CAPACITY} if variant.layer == "core" else {}
        layer = services.redis_layer(variant.layer, directory, name, **config)
    store: str | dict[str, str] | None = None
    if variant.store is not None:
        store = "auto"  # It takes the layer's Redis, and the layer's prefix.
        if variant.store.startswith("database"):
            store = {"BACKEND": f"django_sse.stores.{variant.store}"}
    django_project.configure(
        database,
        "benchmarks.servers.django_sse_handler_urls",
        "channels",
        "django_sse",
        CHANNEL_LAYERS={"default": layer},
        DJANGO_SSE={"STORE": store},
    )


def _publish_by_group_send() -> Publish:
    from asgiref.sync import async_to_sync
    from channels.layers import get_channel_layer

    layer: Any = get_channel_layer()

    def publish(data: dict[str, Any]) -> None:
        async_to_sync(layer.group_send)(_GROUP, {"type": "tick", "data": data})

    return publish


def _publish_by_package() -> Publish:
    from django_sse import publish

    return lambda data: publish(_GROUP, data)


class _Sent:
    """Counts the events that the channel layer has taken, in whatever thread."""

    def __init__(self, kind: str) -> None:
        from asgiref.sync import async_to_sync
        from channels.layers import get_channel_layer

        from django_sse.groups import layer_group

        layer: Any = get_channel_layer()
        if kind == "core":
            for group in (_GROUP, layer_group(_GROUP)):
                async_to_sync(layer.group_add)(group, _READER)
        layer.group_send = self._send
        self._layer = layer
        self._left = 0
        self._all = threading.Event()

    async def _send(self, group: str, message: dict[str, Any]) -> None:
        kind = type(self._layer)
        if hasattr(kind, "group_send"):
            await kind.group_send(self._layer, group, message)
        else:  # The pubsub layer passes it on to a layer of the running loop.
            await kind.__getattr__(self._layer, "group_send")(group, message)
        # Events that wait for the layer share a message.
        self._left -= len(message.get("events", (message,)))
        if not self._left:
            self._all.set()

    def expect(self, count: int) -> None:
        self._left = count
        self._all.clear()

    def wait(self) -> None:
        if not self._all.wait(_SENDING_SECONDS):
            raise TimeoutError(f"{self._left} events have not been handed to the layer.")


def _measure(publish: Publish, sent: _Sent, first: int, count: int) -> dict[str, Any]:
    """Publish *count* events without a pause; return how long the calls took, and the sending."""
    events = [make_event(seq) for seq in range(first, first + count)]
    latencies, clock = [], time.perf_counter
    sent.expect(count)
    cpu, began = time.process_time(), clock()
    for event in events:
        start = clock()
        publish(event)
        latencies.append(clock() - start)
    calling = clock() - began
    sent.wait()
    sending = clock() - began
    cpu = time.process_time() - cpu
    percentiles = statistics.quantiles(latencies, n=100)
    return {
        "events": count,
        "calls_per_second": count / calling,
        "sent_per_second": count / sending,
        "lag_seconds": sending - calling,
        "p50_ms": percentiles[49] * 1e3,
        "p99_ms": percentiles[98] * 1e3,
        "max_ms": max(latencies) * 1e3,
        "cpu_us_per_event": cpu / count * 1e6,
        "errors": _errors(),
    }


def _errors() -> int:
    from django_sse.metrics import metrics

    return (
        metrics.publish_errors + metrics.store_errors + metrics.layer_errors + metrics.queue_drops
    )


if __name__ == "__main__":
    main()
