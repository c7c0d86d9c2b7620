"""Servers for the tests, started when asked for and always ended."""

import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

from tests.servers.client import StreamClient
from tests.servers.processes import ENTRIES, ROUTED_ENTRIES, SERVERS, Server, running

# What a shell runs in the background ignores Ctrl-C, and would have the servers ignore it too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Any:
    """Show what the processes have written, where a test fails."""
    report = yield
    if report.failed:
        for process in running:
            report.sections.append((f"output of {process.name}", process.output[-8000:]))
    return report


@pytest.fixture
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """Return a function that starts a server for this test: ``start_server("daphne", …)``."""
    servers: list[Server] = []

    def start(kind: str, **options: Any) -> Server:
        servers.append(Server.of(kind, tmp_path_factory.mktemp(kind), **options))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


_COMBINATIONS = [
    # Hypercorn with a worker and without differ in how they start and end.
    *((kind, entry) for kind in SERVERS if kind != "hypercorn-0" for entry in ENTRIES),
    *((kind, entry) for kind in ("daphne", "uvicorn-uvloop") for entry in ROUTED_ENTRIES),
]


@pytest.fixture(scope="session", params=_COMBINATIONS, ids="-".join)
def _running_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    kind, entry = request.param
    # What is noticed is not noticed by a heartbeat.
    settings = {"DJANGO_SSE": {"HEARTBEAT_SECONDS": 3600}}
    server = Server.of(kind, tmp_path_factory.mktemp(kind), entry=entry, settings=settings)
    yield server
    server.stop()


@pytest.fixture
async def shared_server(_running_server: Server) -> Server:
    """Each server with each entry, one after the other; tests leave it as it was."""
    return await _running_server.ready()


@pytest.fixture
async def open_stream() -> AsyncIterator[Callable[..., Awaitable[StreamClient]]]:
    """Return a function that opens a stream on a server, and closes it after the test."""
    clients: list[StreamClient] = []

    async def open_one(server: Server, path: str, **options: Any) -> StreamClient:
        clients.append(await server.open(path, **options))
        return clients[-1]

    yield open_one
    for client in clients:
        client.close()
