"""Redis killed, set back, stopped and emptied: what readers get, and whether they are told."""

import json
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from tests.faults.conftest import LAYER_TIMEOUT
from tests.faults.readers import RESET, Reader
from tests.faults.redis_server import RedisServer
from tests.servers.processes import Process, Server
from tests.servers.waiting import TIMEOUT, eventually

pytestmark = [pytest.mark.faults, pytest.mark.history, pytest.mark.redis]

KINDS = ("generator", "handler", "grouped")

Read = Callable[..., Awaitable[list[Reader]]]


@pytest.fixture
async def read() -> AsyncIterator[Read]:
    """Return a function that opens streams of each kind on a server."""
    readers: list[Reader] = []

    async def read_all(server: Server, kinds: tuple[str, ...] = KINDS) -> list[Reader]:
        opened = [await Reader(f"/{kind}/{kind}/").connect(server) for kind in kinds]
        readers.extend(opened)
        return opened

    yield read_all
    for reader in readers:
        await reader.leave()


async def _publish(server: Server, first: int, last: int, **more: Any) -> dict[str, Any]:
    query = "".join(f"&{name}={value}" for name, value in more.items())
    path = f"/publish/?first={first}&count={last - first + 1}{query}"
    answer = await server.get(path, timeout=300)
    assert answer.status == 200
    numbers: dict[str, Any] = answer.json()
    return numbers


async def _all_have(readers: list[Reader], number: int) -> None:
    for reader in readers:
        await reader.has(number)


async def _all_are_told(readers: list[Reader]) -> None:
    """Wait until each of *readers* has got a reset."""
    await eventually(
        lambda: all(RESET in reader.received for reader in readers),
        but=lambda: [reader.received[-5:] for reader in readers],
    )


async def test_redis_killed_and_back_empty(
    redis_server: RedisServer, server: Server, read: Read
) -> None:
    """Open streams get one reset, and all that is published afterwards."""
    readers = await read(server)
    await _publish(server, 1, 20)
    await _all_have(readers, 20)
    await redis_server.kill()
    await _publish(server, 21, 25)
    await redis_server.start()
    await _all_are_told(readers)
    await _publish(server, 26, 30)
    await _all_have(readers, 30)
    for reader in readers:
        reader.check(range(1, 31), breaks=[21])


async def test_redis_killed_and_back_as_it_was_a_while_ago(
    redis_server: RedisServer, server: Server, read: Read
) -> None:
    """Numbers are given a second time; who has seen the first ones is told of it."""
    readers = await read(server)
    away = await Reader("/grouped/away/").connect(server)
    await _publish(server, 1, 20)
    await _all_have([*readers, away], 20)
    redis_server.save()
    await _publish(server, 21, 30)
    await _all_have([*readers, away], 30)
    await away.leave()
    await redis_server.kill()
    await redis_server.start()
    await _publish(server, 31, 45)
    await _all_are_told(readers)
    await away.connect(server)
    await _all_are_told([away])
    await _publish(server, 46, 50)
    await _all_have([*readers, away], 50)
    for reader in (*readers, away):
        reader.check(range(1, 51), breaks=[31])
    await away.leave()


async def test_redis_hangs_for_a_while(
    redis_server: RedisServer, server: Server, read: Read
) -> None:
    """Publishing neither raises nor loses anything, and nothing comes twice."""
    readers = await read(server)
    await _publish(server, 1, 20)
    redis_server.pause()
    numbers = await _publish(server, 21, 21)
    assert numbers["seconds"] < 15 * LAYER_TIMEOUT  # It does not wait until Redis goes on.
    # What is published behind it need not wait any more: each would be a LAYER_TIMEOUT.
    numbers = await _publish(server, 22, 200)
    assert numbers["seconds"] < 15 * LAYER_TIMEOUT

    async def has_failed_again() -> bool:
        return (await server.state())["store_errors"] > numbers["store_errors"] + 1

    await eventually(has_failed_again)
    redis_server.resume()
    await _publish(server, 201, 210)
    await _all_have(readers, 210)
    for reader in readers:
        reader.check(range(1, 211))
    assert (await server.state())["publish_errors"] == 0


async def test_redis_is_emptied(redis_server: RedisServer, server: Server, read: Read) -> None:
    """Streams hear of what is new within seconds, after a reset."""
    readers = await read(server)
    await _publish(server, 1, 10)
    await _all_have(readers, 10)
    redis_server.forget_everything()
    await _publish(server, 11, 12)
    await _all_are_told(readers)
    await _publish(server, 13, 15)
    await _all_have(readers, 15)
    for reader in readers:
        reader.check(range(1, 16), breaks=[11])


async def test_layer_forgets_its_members_while_they_read(
    redis_server: RedisServer, start_server: Callable[..., Server], read: Read
) -> None:
    """Memberships are renewed before they expire: nothing has to be healed."""
    expiry = 2
    settings = redis_server.layer_settings("core", group_expiry=expiry)
    server = await start_server("uvicorn-asyncio", settings=settings).ready()
    readers = await read(server)
    for number in (1, 2, 3):
        await _publish(server, number, number)
        joined = max(redis_server.memberships())
        await eventually(lambda: min(redis_server.memberships()) > joined + expiry / 2)  # noqa: B023
    await _all_have(readers, 3)
    for reader in readers:
        reader.check(range(1, 4))
    assert (await server.state())["events_healed"] == 0


async def test_burst_beyond_the_capacity_of_the_layer(
    redis_server: RedisServer, layer: str, start_server: Callable[..., Server], read: Read
) -> None:
    """A worker that is held up for 5,000 events gets few; the others are read from the store."""
    settings = redis_server.layer_settings(layer, capacity=10)
    settings["DJANGO_SSE"] = {"STORE": redis_server.store(max_events=6000)}
    servers = [start_server("uvicorn-asyncio", settings=settings) for _ in range(2)]
    listening, publishing = [await server.ready() for server in servers]
    readers = await read(listening)
    listening.send_signal(signal.SIGSTOP)
    try:
        redis_server.cut_subscribers()  # The layer on pub/sub knows no bound.
        await _publish(publishing, 1, 5000)
    finally:
        listening.send_signal(signal.SIGCONT)
    await _all_have(readers, 5000)
    for reader in readers:
        reader.check(range(1, 5001))
    assert (await listening.state())["events_healed"] > 2500


async def test_process_ends_while_events_wait_for_the_store(
    redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """It tells of each that it takes with it."""
    await redis_server.kill()
    environment = {
        "DJANGO_SETTINGS_MODULE": "tests.servers.site.settings",
        "SITE_SETTINGS": json.dumps(redis_server.layer_settings("core")),
    }
    program = [sys.executable, "-m", "tests.servers.site.manage", "announce"]
    command = Process("announce", program, tmp_path_factory.mktemp("announce"), environment)
    try:
        await command.gone(within=2 * TIMEOUT)
        assert command.status == 0
        # Of seven. A child of multiprocessing ends with no farewell.
        assert command.output.count("An event for 'news' was not published") == 6
    finally:
        command.stop()
