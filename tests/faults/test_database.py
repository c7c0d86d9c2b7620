"""The database store while its server, or a publisher, is killed."""

import asyncio
import json
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.postgresql_server import PostgresqlServer
from tests.faults.readers import Reader
from tests.faults.redis_server import RedisServer
from tests.servers.processes import Process, Server
from tests.servers.waiting import eventually

pytestmark = [pytest.mark.faults, pytest.mark.postgresql, pytest.mark.redis]

STORE = {"BACKEND": "django_sse.stores.database.DatabaseStore"}


@pytest.fixture(scope="module")
def postgresql_server() -> Iterator[PostgresqlServer]:
    """A PostgreSQL of the tests' own, running."""
    server = PostgresqlServer()
    try:
        yield server.create()
    finally:
        server.remove()


@pytest.fixture
def site(redis_server: RedisServer, postgresql_server: PostgresqlServer) -> dict[str, Any]:
    """The settings of a project whose store is that PostgreSQL; its tables are there."""
    return {
        **redis_server.layer_settings("core"),
        "DATABASES": postgresql_server.new_database(),
        "DJANGO_SSE": {"STORE": STORE, "CHANNEL_LAYER_TIMEOUT_SECONDS": 2.0},
    }


Run = Callable[..., Process]


@pytest.fixture
def run(site: dict[str, Any], tmp_path: Path) -> Iterator[Run]:
    """Return a function that runs a Python module in the project's environment."""
    processes: list[Process] = []

    def start(*arguments: str) -> Process:
        environment = {
            "DJANGO_SETTINGS_MODULE": "tests.servers.site.settings",
            "SITE_SETTINGS": json.dumps(site),
        }
        folder = tmp_path / str(len(processes))
        folder.mkdir()
        command = [sys.executable, "-m", *arguments]
        processes.append(Process(arguments[0], command, folder, environment))
        return processes[-1]

    yield start
    for process in processes:
        process.stop()


async def _manage(run: Run, *arguments: str) -> str:
    command = run("tests.servers.site.manage", *arguments)
    await command.gone(within=120)
    assert command.status == 0, command.output
    return command.output


async def _die(run: Run, *numbers: int) -> None:
    publisher = run("tests.faults.dying_publisher", *map(str, numbers))
    await publisher.gone(within=120)
    assert publisher.status == -signal.SIGKILL, publisher.output


async def test_publisher_killed_between_its_commit_and_its_sending(
    site: dict[str, Any], start_server: Callable[..., Server], run: Run
) -> None:
    """Every worker looks for what was committed; the events come within seconds, once."""
    await _manage(run, "migrate", "django_sse", "-v0")
    workers = [start_server("uvicorn-asyncio", settings=site) for _ in range(2)]
    for worker in workers:
        await worker.ready()
    readers = [await Reader("/grouped/reader/").connect(worker) for worker in workers]
    await workers[0].get("/publish/?first=1&count=3")
    await _die(run, 4, 5, 6)
    for reader in readers:
        await reader.has(6)
    await workers[0].get("/publish/?first=7&count=3")
    for reader in readers:
        await reader.has(9)
        reader.check(range(1, 10))
        await reader.leave()


async def test_relay_command_sends_what_a_killed_publisher_has_left(
    site: dict[str, Any], start_server: Callable[..., Server], run: Run
) -> None:
    """Where no worker is up, it numbers the events; who comes back later finds them, once."""
    await _manage(run, "migrate", "django_sse", "-v0")
    worker = await start_server("uvicorn-asyncio", settings=site).ready()
    reader = await Reader("/grouped/reader/").connect(worker)
    await worker.get("/publish/?first=1&count=3")
    await reader.has(3)
    worker.stop()
    await reader.leave()
    await _die(run, 4, 5, 6)
    assert "Relayed 3 events" in await _manage(run, "sse_relay", "--once")
    assert "Relayed 0 events" in await _manage(run, "sse_relay", "--once")
    worker = await start_server("uvicorn-asyncio", settings=site).ready()
    await reader.connect(worker)
    await worker.get("/publish/?first=7&count=1")
    await reader.has(7)
    reader.check(range(1, 8))
    await reader.leave()


async def test_database_restarts_under_open_streams(
    site: dict[str, Any],
    postgresql_server: PostgresqlServer,
    start_server: Callable[..., Server],
    run: Run,
) -> None:
    """What is published meanwhile waits; nothing is lost, repeated, or out of order."""
    await _manage(run, "migrate", "django_sse", "-v0")
    worker = await start_server("uvicorn-asyncio", settings=site).ready()
    readers = [await Reader(f"/{kind}/r/").connect(worker) for kind in ("grouped", "generator")]
    last = 0
    is_over = False

    async def publish() -> None:
        nonlocal last
        while not is_over:
            answer = await worker.get(f"/publish/?first={last + 1}&count=1")
            assert answer.status == 200
            last += 1

    async def has_failed() -> bool:
        return (await worker.state())["store_errors"] > 0

    publishing = asyncio.create_task(publish())
    await readers[0].has(20)
    await asyncio.to_thread(postgresql_server.stop, mode="immediate")
    down_at = last
    await eventually(has_failed)
    await eventually(lambda: last > down_at)
    await asyncio.to_thread(postgresql_server.start)
    await readers[0].has(down_at + 1)
    is_over = True
    await publishing
    for reader in readers:
        await reader.has(last)
        reader.check(range(1, last + 1))
        await reader.leave()
