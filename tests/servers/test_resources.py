"""What open streams hold of their process and of the database: threads and connections."""

import asyncio
import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.servers.client import StreamClient
from tests.servers.processes import ENTRIES, ROOT, Server
from tests.servers.waiting import eventually
from tests.services import require_postgresql

pytestmark = [pytest.mark.servers, pytest.mark.postgresql]

OpenStream = Callable[..., Awaitable[StreamClient]]

STREAMS = 150
QUERYING_STREAMS = 30
OPENED_AT_ONCE = 10
MORE_THREADS = 3
CONNECTIONS = 5


@dataclasses.dataclass(frozen=True)
class Database:
    """A database of the tests' own, in which ``cookies`` are those of users who are logged in."""

    admin: psycopg.Connection[Any]
    settings: dict[str, Any]
    application_name: str
    cookies: list[str]

    @property
    def connections(self) -> int:
        """How many connections the server under test holds."""
        row = self.admin.execute(
            "select count(*) from pg_stat_activity where application_name = %s",
            [self.application_name],
        ).fetchone()
        assert row is not None
        count: int = row[0]
        return count


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    """Make a database of 150 users, and drop it in the end."""
    url = require_postgresql()
    name = f"django_sse_servers_{os.getpid()}"
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(f"create database {name}")
        try:
            info = admin.info
            options = {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": name,
                "USER": info.user,
                "PASSWORD": info.password,
                "HOST": info.host,
                "PORT": str(info.port),
                "OPTIONS": {"application_name": name},
            }
            settings = {"DATABASES": {"default": options}}
            yield Database(admin, settings, name, _log_in(settings))
        finally:
            admin.execute(f"drop database {name} with (force)")


def _log_in(settings: dict[str, Any]) -> list[str]:
    run = subprocess.run(
        [sys.executable, "-m", "tests.servers.site.people", str(STREAMS)],
        cwd=ROOT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.servers.site.settings",
            "SITE_SETTINGS": json.dumps(settings),
        },
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    cookies: list[str] = json.loads(run.stdout)
    return cookies


_COMBINATIONS = [(kind, entry) for kind in ("daphne", "uvicorn-asyncio") for entry in ENTRIES]


@pytest.fixture(params=_COMBINATIONS, ids="-".join)
async def server(
    request: pytest.FixtureRequest, start_server: Callable[..., Server], database: Database
) -> Server:
    """A server on PostgreSQL, with nothing but its own thread: each kind with each entry."""
    kind, entry = request.param
    # A thread that ends closes its connection too; what is closed here is not closed by that.
    environment = {"SITE_IDLE_SECONDS": "3600"}
    server = await start_server(
        kind, entry=entry, settings=database.settings, environment=environment
    ).ready()
    # Those of the server before may have to be noticed by the database.
    await eventually(lambda: database.connections == 0)
    await eventually(lambda: _threads(server) == 1)
    return server


def _threads(server: Server) -> int:
    return len(list(Path(f"/proc/{server.pid}/task").iterdir()))


async def _open_for_each(
    server: Server, open_stream: OpenStream, cookies: list[str], *paths: str
) -> list[StreamClient]:
    """Open a stream for each of *cookies*, on *paths* by turns; a few at once."""
    limit = asyncio.Semaphore(OPENED_AT_ONCE)

    async def open_one(number: int, cookie: str) -> StreamClient:
        async with limit:
            path = paths[number % len(paths)].format(number)
            stream = await open_stream(server, path, headers={"Cookie": cookie})
            assert stream.status == 200, server.output
            event = await stream.next_event()
            assert event["event"] == "opened"
            assert event["data"] == f"user-{number}"
            return stream

    return await asyncio.gather(*(open_one(*numbered) for numbered in enumerate(cookies)))


async def test_logged_in_streams_hold_few_threads_and_connections(
    server: Server, database: Database, open_stream: OpenStream
) -> None:
    """150 streams, whose views have asked for their user, add 3 threads and 5 connections."""
    paths = ("/logged-in/generator/{}/", "/logged-in/handler/{}/")
    streams = await _open_for_each(server, open_stream, database.cookies, *paths)
    assert (await server.state())["streams_open"] == STREAMS

    def counts() -> tuple[int, int]:
        return _threads(server), database.connections

    def are_low() -> bool:
        threads, connections = counts()
        return threads <= 1 + MORE_THREADS and connections <= CONNECTIONS

    await eventually(are_low, but=counts)
    # They live: it is not that they have ended.
    await server.get("/publish/?first=7&count=1")
    for stream in streams:
        assert (await stream.next_event())["data"] == "7"
    await eventually(are_low, but=counts)


async def test_later_queries_of_streams_work_and_let_go_again(
    server: Server, database: Database, open_stream: OpenStream
) -> None:
    """Each of 30 open streams queries the database, again and again, and holds nothing after."""
    streams = [
        await open_stream(server, f"/querying/{number}/") for number in range(QUERYING_STREAMS)
    ]
    for stream in streams:
        assert (await stream.next_event())["data"] == "opened"
    for question in ("first", "second"):
        await server.get("/publish/?group=questions")
        for stream in streams:
            assert (await stream.next_event())["data"] == f"0: {STREAMS} users", question
        await eventually(lambda: database.connections == 0)
        await eventually(lambda: _threads(server) <= 1 + MORE_THREADS)


async def test_stock_view_holds_a_thread_and_a_connection_for_each_stream(
    server: Server, database: Database, open_stream: OpenStream
) -> None:
    """The measuring sees what it should: Django's own streaming response keeps both."""
    cookies = database.cookies[:20]
    await _open_for_each(server, open_stream, cookies, "/logged-in/stock/{}/")
    assert _threads(server) >= 1 + len(cookies)
    assert database.connections >= len(cookies)
