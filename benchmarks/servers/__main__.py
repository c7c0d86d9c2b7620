"""Serve one of the sites. See the package's docstring."""

import argparse
import os
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import publisher
from benchmarks.servers import Site, django_eventstream_site, django_sse_direct_site, floor
from benchmarks.servers import sse_starlette_site as starlette_site
from benchmarks.servers.django_sse_site import make_site as make_django_sse

_BACKLOG = 4_096

_UVICORN: dict[str, Callable[[Path], Site]] = {
    "django_sse": make_django_sse,
    "django_sse-no-history": partial(make_django_sse, history=False),
    "django_sse-stock": partial(make_django_sse, entry="django.core.asgi"),
    "django_sse-generator": partial(make_django_sse, style="generator"),
    "django_sse-redis": partial(make_django_sse, layer="core"),
    "django_sse-redis-no-history": partial(make_django_sse, layer="core", history=False),
    "django_sse-direct": django_sse_direct_site.make_site,
    "django_sse-pubsub": partial(make_django_sse, layer="pubsub"),
    "sse-starlette": starlette_site.make_site,
    "django-eventstream": django_eventstream_site.make_site,
}
_DAPHNE: dict[str, Callable[[Path], Site]] = {
    "django_sse-daphne": make_django_sse,
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


async def _connect(site: Site, listening: socket.socket, control: socket.socket) -> None:
    greeting = {"port": listening.getsockname()[1], "headers": site.headers}
    await publisher.connect(control, site.publish, greeting, site.counts, site.at_once)


async def _serve_with_uvicorn(
    site: Site, listening: socket.socket, control: socket.socket
) -> None:
    import uvicorn

    await _connect(site, listening, control)
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

    keep = twisted_loop.create_task(_connect(site, listening, control))
    listening.setblocking(False)
    endpoints = build_endpoint_description_strings(file_descriptor=listening.fileno())
    Server(site.application, endpoints=endpoints).run()
    del keep


if __name__ == "__main__":
    main()
