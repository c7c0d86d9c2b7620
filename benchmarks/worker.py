"""
One worker of several, which share a Redis: what benchmarks/workers.py measures.

``python -m benchmarks.worker LAYER-GROUPS --core N --control FD --directory DIR`` serves event
streams at /events of a free port. Each is in so many groups, and an event is of all of them.
"""

import argparse
import os
import socket
from pathlib import Path
from typing import Any

from benchmarks import publisher, services
from benchmarks.servers import django_project

__all__ = ["GROUPS", "WAYS"]

#: The kind of the channel layer, and in how many groups a stream and an event are.
WAYS = ("core-1", "core-4", "pubsub-1", "pubsub-4")
GROUPS = ("ticks", "ticks.b", "ticks.c", "ticks.d")


def main() -> None:
    """Pin this process to its core and serve."""
    import uvloop

    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=WAYS)
    parser.add_argument("--core", type=int, required=True)
    parser.add_argument("--control", type=int, required=True)
    parser.add_argument("--directory", type=Path, required=True)
    options = parser.parse_args()
    os.sched_setaffinity(0, {options.core})
    layer, _, groups = options.name.partition("-")
    django_project.configure(
        options.directory / f"{os.getpid()}.sqlite3",
        "benchmarks.worker_urls",
        "channels",
        "django_sse",
        CHANNEL_LAYERS={"default": services.redis_layer(layer, options.directory, options.name)},
        DJANGO_SSE={"REGISTRY": False},
        BENCHMARK_GROUPS=GROUPS[: int(groups)],
    )
    listening = socket.create_server(("127.0.0.1", 0), backlog=4_096)
    greeting = {"port": listening.getsockname()[1], "headers": django_project.sign_in()}
    uvloop.run(_serve(listening, socket.socket(fileno=options.control), greeting))


async def _serve(
    listening: socket.socket, control: socket.socket, greeting: dict[str, Any]
) -> None:
    import uvicorn

    from benchmarks.worker_urls import groups
    from django_sse import apublish
    from django_sse.asgi import get_asgi_application

    async def publish(group: str, data: dict[str, Any]) -> None:
        await apublish(groups(), data)

    await publisher.connect(control, publish, greeting)
    config = uvicorn.Config(
        get_asgi_application(),
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="warning",
        backlog=4_096,
    )
    await uvicorn.Server(config).serve(sockets=[listening])


if __name__ == "__main__":
    main()
