"""Several workers of one server behind one port: which one has a stream is a matter of chance."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import pytest
from asgiref.sync import sync_to_async

from django_sse import apublish, publish
from tests.faults.readers import Reader
from tests.servers.processes import Server
from tests.servers.waiting import eventually
from tests.services import require_redis
from tests.settings import channel_layer

pytestmark = [pytest.mark.servers, pytest.mark.redis, pytest.mark.history]

APP = "tests.servers.site.asgi:application"
COMMANDS = {
    "uvicorn": f"uvicorn --workers 2 --port {{port}} {APP}",
    "granian": "granian --interface asgi --workers 2 --workers-kill-timeout 5"
    f" --respawn-failed-workers --port {{port}} {APP}",
}
#: How often a stream is opened anew, until the worker that is wanted has it.
ATTEMPTS = 200

Open = Callable[..., Any]


@pytest.fixture(params=["core", "pubsub"])
def layers(request: pytest.FixtureRequest, settings: Any) -> dict[str, Any]:
    """Each of the layers on Redis, which this process has too."""
    require_redis()
    settings.CHANNEL_LAYERS = {"default": channel_layer(request.param, f"test-{uuid4().hex}")}
    return {"CHANNEL_LAYERS": settings.CHANNEL_LAYERS}


@pytest.fixture(params=COMMANDS)
async def server(
    request: pytest.FixtureRequest, layers: dict[str, Any], tmp_path: Path
) -> AsyncIterator[Server]:
    """A server of two workers."""
    server = Server(request.param, COMMANDS[request.param], tmp_path, settings=layers)
    try:
        yield await server.ready()
    finally:
        server.stop()


@pytest.fixture
async def open_at(server: Server) -> AsyncIterator[Open]:
    """Return a function that opens a stream until a condition for its worker is met."""
    readers: list[Reader] = []

    async def reconnect(reader: Reader, is_wanted: Callable[[str], bool]) -> Reader:
        for _ in range(ATTEMPTS):
            await reader.connect(server)
            if is_wanted(reader.greeting):
                return reader
            await reader.leave()
        raise AssertionError(f"{ATTEMPTS} streams were all given to {reader.greeting}.")

    async def open_one(
        is_wanted: Callable[[str], bool] = bool, reader: Reader | None = None
    ) -> Reader:
        if reader is None:
            reader = Reader(f"/whose/{len(readers)}/")
            readers.append(reader)
        return await reconnect(reader, is_wanted)

    yield open_one
    for reader in readers:
        await reader.leave()


async def _publish_everywhere(server: Server, first: int) -> int:
    """Publish from this process, in both ways, and from some worker; return the next number."""
    await apublish("news", first)
    await sync_to_async(publish)("news", first + 1)
    await server.get(f"/publish/?first={first + 2}&count=3")
    return first + 5


async def test_events_reach_the_streams_of_all_workers_and_another_one_resumes(
    server: Server, open_at: Open
) -> None:
    """Wherever they are published, each once and in order; a reconnection loses nothing."""
    readers = [await open_at()]
    workers = [readers[0].greeting]
    readers.append(await open_at(lambda worker: worker != workers[0]))
    workers.append(readers[1].greeting)
    readers += [await open_at() for _ in range(4)]
    number = 1
    for _ in range(5):
        number = await _publish_everywhere(server, number)
    for reader in readers:
        await reader.has(number - 1)

    # Each goes to the other worker, with its last event id, and misses something meanwhile.
    for reader in readers[:2]:
        await reader.leave()
    number = await _publish_everywhere(server, number)
    for reader, worker in zip(readers, reversed(workers), strict=False):
        await open_at(worker.__eq__, reader)
    number = await _publish_everywhere(server, number)
    for reader in readers:
        await reader.has(number - 1)
        reader.check(range(1, number))


@pytest.mark.faults
async def test_worker_that_is_killed_is_replaced_and_its_streams_go_on(
    server: Server, open_at: Open
) -> None:
    """The others hear nothing of it."""
    reader = await open_at()
    stays = await open_at(lambda worker: worker != reader.greeting)
    await apublish("news", 1)
    await asyncio.gather(reader.has(1), stays.has(1))
    psutil.Process(int(reader.greeting)).kill()
    await reader.gone()
    await reader.leave()
    await apublish("news", 2)

    async def is_back() -> bool:
        try:
            await open_at(bool, reader)
        except ConnectionError:
            return False
        return True

    await eventually(is_back)
    await apublish("news", 3)
    for each in (reader, stays):
        await each.has(3)
        each.check(range(1, 4))
