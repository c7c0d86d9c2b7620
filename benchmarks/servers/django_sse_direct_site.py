"""
This package without Django's answering of the request: for benchmarks that open many streams.

Django takes some milliseconds for a request with a session and a user, and is done with it before
the first event. Here the same stream begins where Django's part ends, with the visitor that Django
would have found: the hub, history and registry are as they come.
"""

import asyncio
import dataclasses
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from benchmarks.events import GROUP
from benchmarks.servers import Site, django_sse_site

__all__ = ["make_site"]


def make_site(directory: Path) -> Site:
    """Return the site."""
    site = django_sse_site.make_site(directory)

    from django_sse import EventStream, loops
    from django_sse.http import stream_headers
    from django_sse.lifetime import make_lifetime
    from django_sse.transports import push

    visitor, lifetime = _visitor(site.headers["Cookie"].partition("=")[2]), make_lifetime()
    headers = [(name.lower().encode(), value.encode()) for name, value in stream_headers().items()]
    start = {"type": "http.response.start", "status": 200, "headers": headers}

    async def application(scope: Any, receive: Any, send: Any) -> None:
        loops.serve(asyncio.get_running_loop())
        asked = parse_qs(scope["query_string"].decode()).get("group", [GROUP])[0]
        stream = EventStream(lifetime)
        stream.visitor = visitor
        await stream.subscribe(*asked.split(","))
        await push(stream, start, receive, send)

    return dataclasses.replace(site, application=application)


def _visitor(session_key: str) -> Any:
    from importlib import import_module

    from django.conf import settings
    from django.contrib.auth import get_user
    from django.test import RequestFactory

    from django_sse.visitors import visitor_of

    request: Any = RequestFactory().get("/events")
    engine = import_module(settings.SESSION_ENGINE)
    request.session = engine.SessionStore(session_key)
    request.user = get_user(request)
    return visitor_of(request)
