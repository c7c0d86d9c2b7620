"""Serve one of the sites. See the package's docstring."""

import argparse
import os
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.servers import (
    aiohttp_sse_site,
    better_sse,
    c_floor,
    django_eventstream_site,
    django_sse_direct_site,
    floor,
    hosts,
    nchan,
    pushpin,
)
from benchmarks.servers import sse_starlette_site as starlette_site
from benchmarks.servers.django_sse_site import make_site as make_django_sse

#: Longer than what is opened at once; the kernel may know better.
_BACKLOG = 65_535

_make_eventstream = django_eventstream_site.make_site

#: Each serves on the one socket, and is driven by the other.
_SERVERS: dict[str, Callable[[socket.socket, socket.socket, Path], None]] = {
    "floor": floor.run,
    "c-floor": c_floor.run,
    "django_sse": hosts.uvicorn(make_django_sse),
    "django_sse-no-history": hosts.uvicorn(partial(make_django_sse, history=False)),
    "django_sse-stock": hosts.uvicorn(partial(make_django_sse, entry="django.core.asgi")),
    "django_sse-generator": hosts.uvicorn(partial(make_django_sse, style="generator")),
    "django_sse-redis": hosts.uvicorn(partial(make_django_sse, layer="core")),
    "django_sse-redis-no-history": hosts.uvicorn(
        partial(make_django_sse, layer="core", history=False)
    ),
    "django_sse-pubsub": hosts.uvicorn(partial(make_django_sse, layer="pubsub")),
    "django_sse-direct": hosts.uvicorn(django_sse_direct_site.make_site),
    "django_sse-granian": hosts.granian(make_django_sse),
    "django_sse-hypercorn": hosts.hypercorn(make_django_sse),
    "django_sse-daphne": hosts.daphne(make_django_sse),
    "django-eventstream": hosts.uvicorn(_make_eventstream),
    "django-eventstream-redis": hosts.uvicorn(partial(_make_eventstream, redis=True)),
    "django-eventstream-daphne": hosts.daphne(_make_eventstream),
    "sse-starlette": hosts.uvicorn(starlette_site.make_site),
    "aiohttp-sse": aiohttp_sse_site.run,
    "better-sse": better_sse.run,
    "nchan": nchan.run,
    "pushpin": pushpin.run,
}


def main() -> None:
    """Pin this process to its core and serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=_SERVERS)
    parser.add_argument("--core", type=int, required=True)
    parser.add_argument("--control", type=int, required=True)
    parser.add_argument("--directory", type=Path, required=True)
    options = parser.parse_args()
    os.sched_setaffinity(0, {options.core})
    listening = socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)
    control = socket.socket(fileno=options.control)
    _SERVERS[options.name](listening, control, options.directory)


if __name__ == "__main__":
    main()
