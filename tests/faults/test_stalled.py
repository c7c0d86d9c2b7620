"""A client that does not read for a long while, and then does."""

import asyncio
from collections.abc import Callable

import psutil
import pytest

from tests.faults.readers import Reader
from tests.faults.redis_server import RedisServer
from tests.servers.processes import Server

pytestmark = [pytest.mark.faults, pytest.mark.redis]

EVENTS, PADDING = 400, 250_000  # 100 MB together.
IN_A_PIECE = 4
#: Less than half of that: what a client may keep waiting, and the server needs anyway.
MAX_GROWTH = 50_000_000


async def test_stalled_client_gets_all_when_it_reads_again(
    redis_server: RedisServer, start_server: Callable[..., Server]
) -> None:
    """100 MB later it goes on from the store, in order; the server has not kept them for it."""
    settings = redis_server.layer_settings("pubsub")
    settings["DJANGO_SSE"] = {"SEND_TIMEOUT_SECONDS": 3600}
    server = await start_server("uvicorn-asyncio", settings=settings).ready()
    memory = psutil.Process(server.pid)
    live = await Reader("/grouped/live/").connect(server)
    stalled = [
        await Reader(f"/grouped/stalled-{n}/").connect(server, receive_buffer=4096)
        for n in range(3)
    ]
    before = most = memory.memory_info().rss
    for reader in stalled:
        reader.stall()
    for first in range(1, EVENTS + 1, IN_A_PIECE):
        await server.get(f"/publish/?first={first}&count={IN_A_PIECE}&padding={PADDING}")
        await live.has(first + IN_A_PIECE - 1)
        most = max(most, memory.memory_info().rss)
    assert (await server.state())["waiting"] == len(stalled)
    assert all(len(reader.received) < EVENTS / 10 for reader in stalled)
    for reader in stalled:
        reader.resume()
    await asyncio.gather(*(reader.has(EVENTS, within=300) for reader in stalled))
    most = max(most, memory.memory_info().rss)
    for reader in (live, *stalled):
        reader.check(range(1, EVENTS + 1))
        await reader.leave()
    assert most - before < MAX_GROWTH
