"""Serve one of the sites. See the package's docstring."""

import argparse
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import publisher
from benchmarks.servers import Site, django_eventstream_site, django_sse_site, floor
from benchmarks.servers import sse_starlette_site as starlette_site

_BACKLOG = 4_096

_UVICORN: dict[str, Callable[[Path], Site]] = {
    "django_sse": django_sse_site.make_site,
    "django_sse-stock": django_sse_site.make_stock_site,
    "django_sse-generator": django_sse_site.make_generator_site,
    "django_sse-history": django_sse_site.make_history_site,
    "django_sse-redis": django_sse_site.make_redis_site,
    "django_sse-redis-history": django_sse_site.make_redis_history_site,
    "sse-starlette": starlette_site.make_site,
    "django-eventstream": django_eventstream_site.make_site,
}
_DAPHNE: dict[str, Callable[[Path], Site]] = {
    "django_sse-daphne": django_sse_site.make_site,
    "django-eventstream-daphne": django_eventstream_site.make_site,
}


def main() -> None:
    """Pin this process to its core and serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=["floor", *_UVICORN, *_DAPHNE])
    parser.add_argument("--core", type=int, required=True)
    parser.add_argument("--control", type=int, required=True)
    parser.add_argument("--directory", type=Path, required=True)
    options = parser.parse_args()
    os.sched_setaffinity(0, {options.core})
    listening = socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)
    control = socket.socket(fileno=options.control)
    if options.name == "floor":
        _run_on_uvloop(floor.serve(listening, control))
    elif options.name in _UVICORN:
        site = _UVICORN[options.name](options.directory)
        _run_on_uvloop(_serve_with_uvicorn(site, listening, control))
    else:
        _serve_with_daphne(_DAPHNE[options.name](options.directory), listening, control)


def _run_on_uvloop(coroutine: Any) -> None:
    import uvloop

    uvloop.run(coroutine)


def _greeting(site: Site, listening: socket.socket) -> dict[str, Any]:
    return {"port": listening.getsockname()[1], "headers": site.headers}


async def _serve_with_uvicorn(
    site: Site, listening: socket.socket, control: socket.socket
) -> None:
    import uvicorn

    await publisher.connect(control, site.publish, _greeting(site, listening), site.counts)
    config = uvicorn.Config(
        site.application,
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="warning",
        backlog=_BACKLOG,
    )
    await uvicorn.Server(config).serve(sockets=[listening])


def _serve_with_daphne(site: Site, listening: socket.socket, control: socket.socket) -> None:
    from daphne.endpoints import build_endpoint_description_strings
    from daphne.server import Server, twisted_loop

    greeting = _greeting(site, listening)
    connecting = publisher.connect(control, site.publish, greeting, site.counts)
    keep = twisted_loop.create_task(connecting)
    listening.setblocking(False)
    endpoints = build_endpoint_description_strings(file_descriptor=listening.fileno())
    Server(site.application, endpoints=endpoints).run()
    del keep


if __name__ == "__main__":
    main()
