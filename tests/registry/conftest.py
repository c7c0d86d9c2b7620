"""Registries on every database, and what a test looks for in them."""

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connections as databases
from django.db.backends.signals import connection_created

from django_sse import EventStream, aconnections
from django_sse.connections import Connections
from django_sse.hub import get_hub
from django_sse.lifetime import make_lifetime
from django_sse.testing import ReceivedStream, StreamClient, areset
from django_sse.visitors import Visitor
from tests.servers.waiting import eventually
from tests.stores.databases import use_database

KINDS = [
    "sqlite",
    pytest.param("postgresql", marks=pytest.mark.postgresql),
    pytest.param("mariadb", marks=pytest.mark.mariadb),
]

#: A lease so short that a test can wait for its end.
LEASE_SECONDS = 2.0


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, settings: Any) -> str:
    """The alias of a database of each kind, with empty tables; the settings name it."""
    return _use(request.param, request, settings)


@pytest.fixture(params=KINDS[1:])
def server_database(request: pytest.FixtureRequest, settings: Any) -> str:
    """The alias of a database of each kind whose transactions do not hold up each other."""
    return _use(request.param, request, settings)


@pytest.fixture
def sqlite_database(request: pytest.FixtureRequest, settings: Any) -> str:
    """The alias of a SQLite database, for what does not depend on the kind."""
    return _use("sqlite", request, settings)


def _use(kind: str, request: pytest.FixtureRequest, settings: Any) -> str:
    alias = use_database(kind, request)
    settings.DJANGO_SSE = {"REGISTRY": alias, "LEASE_SECONDS": LEASE_SECONDS}
    return alias


@pytest.fixture
async def alias(database: str) -> AsyncIterator[str]:
    """The same alias. At the test's end its streams end while the database is there."""
    yield database
    await areset()


@pytest.fixture
async def server_alias(server_database: str) -> AsyncIterator[str]:
    """The same, for those of servers."""
    yield server_database
    await areset()


@pytest.fixture
async def sqlite_alias(sqlite_database: str) -> AsyncIterator[str]:
    """The same, for SQLite alone."""
    yield sqlite_database
    await areset()


Seen = Callable[..., Awaitable[Connections]]


@pytest.fixture
def seen() -> Seen:
    """Return a function that waits until connections() gives so many, and returns them."""

    async def wait(count: int, **which: Any) -> Connections:
        async def look() -> Connections | bool:
            found = await aconnections(**which)
            return len(found) == count and (found or True)

        found = await eventually(look, but=lambda: "Other connections are there.")
        return found if found is not True else Connections()

    return wait


Opened = Callable[..., Awaitable[ReceivedStream]]


@pytest.fixture
def open_at(asgi: StreamClient) -> Opened:
    """Return a function that opens a stream, and reads its first frame."""

    async def open_stream(path: str) -> ReceivedStream:
        exchange = await asgi.open(path)
        await exchange.next_frame()
        return exchange

    return open_stream


@pytest.fixture
def in_thread() -> Any:
    """Return a coroutine function that calls a sync one in a thread, and closes connections."""

    async def call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        def run() -> Any:
            try:
                return function(*args, **kwargs)
            finally:
                for connection in databases.all(initialized_only=True):
                    connection.close()

        return await sync_to_async(run, thread_sensitive=False)()

    return call


@pytest.fixture
def statements(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """A list of the statements that connections of any thread make, from now on."""
    made: list[str] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        made.append(sql)
        return execute(sql, params, many, context)

    def watch(connection: Any, **kwargs: Any) -> None:
        if note not in connection.execute_wrappers:
            connection.execute_wrappers.append(note)

    connection_created.connect(watch, weak=False)
    yield made
    connection_created.disconnect(watch)


async def _never(message: Any) -> None:
    """Be the send of a client that reads everything."""


async def open_many(count: int, *groups: str, visitor: Visitor | None = None) -> list[EventStream]:
    """Return so many open streams of no request, all in *groups*."""
    streams = []
    for _ in range(count):
        stream = EventStream(make_lifetime())
        stream.visitor = visitor or stream.visitor
        await stream.subscribe(*groups)
        await stream.open()
        stream.serve(_never, functools.partial(_clean_up, stream))
        streams.append(stream)
    return streams


def _clean_up(stream: EventStream) -> None:
    """Do what a server's task does at the end of a response."""
    get_hub().spawn(stream.finish())
