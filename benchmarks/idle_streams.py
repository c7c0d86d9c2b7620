"""A worker with streams to which nothing happens: what one way of benchmarks/registry.py runs."""

import argparse
import asyncio
import datetime
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import services
from benchmarks.servers import django_project

__all__: list[str] = []

# What opening them has left to do is over by then: the rows, and the first looks at all users.
_SETTLE_SECONDS = 15


def main() -> None:
    """Open the streams, say "open"; when told to go on, let them be, and print the CPU time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("way")
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--core", type=int, required=True)
    parser.add_argument("--streams", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--settle", type=float, default=_SETTLE_SECONDS)
    given = parser.parse_args()
    os.sched_setaffinity(0, {given.core})
    visitors = _set_up(given.way, given.directory, given.streams)
    print(json.dumps(asyncio.run(_measure(visitors, given.settle, given.seconds))))


def _set_up(way: str, directory: Path, count: int) -> list[Any]:
    database: Any = directory / f"{way}.sqlite3"
    if "postgresql" in way:
        database = services.postgresql_database(directory)
    django_project.configure(
        database,
        "benchmarks.servers.django_sse_handler_urls",
        "channels",
        "django_sse",
        CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}},
        DJANGO_SSE={"REGISTRY": not way.startswith("none")},
    )
    from django.db import connections

    from django_sse.visitors import Visitor

    visitors = _users(count) if way.endswith("users") else [Visitor()] * count
    connections.close_all()
    return visitors


def _users(count: int) -> list[Any]:
    """Return visitors who are logged in, each another user, with their rows in the database."""
    from django.contrib.auth.models import User
    from django.contrib.sessions.backends.db import SessionStore
    from django.contrib.sessions.models import Session
    from django.utils import timezone

    from django_sse.visitors import Visitor, session_digest

    User.objects.all().delete()
    Session.objects.all().delete()
    users = User.objects.bulk_create(User(username=str(n), password="!") for n in range(count))
    ends = timezone.now() + datetime.timedelta(days=1)
    keys = [f"{user.pk:032d}" for user in users]
    Session.objects.bulk_create(
        Session(session_key=key, session_data="", expire_date=ends) for key in keys
    )
    return [
        Visitor(
            user_id=str(user.pk),
            session=session_digest(key),
            session_key=key,
            session_hash=user.get_session_auth_hash(),
            session_type=SessionStore,
        )
        for user, key in zip(users, keys, strict=True)
    ]


async def _measure(visitors: list[Any], settle: float, seconds: float) -> dict[str, Any]:
    from django_sse import EventStream
    from django_sse.lifetime import make_lifetime
    from django_sse.metrics import metrics

    async def send(message: Any) -> None: ...

    streams = []
    for visitor in visitors:
        stream = EventStream(make_lifetime())
        stream.visitor = visitor
        await stream.subscribe("room")
        await stream.open()
        stream.serve(send, lambda: None)
        streams.append(stream)
    print("open", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await asyncio.sleep(settle)
    begun, cpu = time.monotonic(), time.process_time()
    await asyncio.sleep(seconds)
    used = (time.process_time() - cpu) / (time.monotonic() - begun)
    still_open = sum(stream.reason is None for stream in streams)
    return {"cpu_percent": 100 * used, "open": still_open, "errors": metrics.registry_errors}


if __name__ == "__main__":
    main()
