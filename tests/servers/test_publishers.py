"""Publishers in other processes than the streams', over Redis."""

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.servers.client import StreamClient
from tests.servers.processes import Process, Server
from tests.services import require_redis
from tests.settings import channel_layer

pytestmark = [pytest.mark.servers, pytest.mark.redis]

OpenStream = Callable[..., Awaitable[StreamClient]]


@pytest.fixture(params=["core", "pubsub"])
def settings_on_redis(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Settings with each of the layers on Redis, under a prefix of this test's own."""
    require_redis()
    return {"CHANNEL_LAYERS": {"default": channel_layer(request.param, f"test-{uuid4().hex}")}}


async def _open(server: Server, open_stream: OpenStream) -> StreamClient:
    stream = await open_stream(server, "/handler/handler/")
    assert (await stream.next_event())["event"] == "opened"
    return stream


async def test_streams_of_every_worker_get_what_one_publishes(
    start_server: Callable[..., Server],
    open_stream: OpenStream,
    settings_on_redis: dict[str, Any],
) -> None:
    """Two processes share a Redis: an event published in either reaches the streams of both."""
    servers = [start_server("uvicorn-uvloop", settings=settings_on_redis) for _ in range(2)]
    streams = [await _open(await server.ready(), open_stream) for server in servers]
    for number, server in enumerate(servers):
        await server.get(f"/publish/?first={number}")
        for stream in streams:
            assert (await stream.next_event())["data"] == str(number)


async def test_process_without_streams_publishes_in_every_way(
    start_server: Callable[..., Server],
    open_stream: OpenStream,
    settings_on_redis: dict[str, Any],
    tmp_path: Path,
) -> None:
    """From a command, a thread, coroutines, a forked child, a transaction: each arrives once."""
    server = await start_server("uvicorn-asyncio", settings=settings_on_redis).ready()
    stream = await _open(server, open_stream)
    command = Process(
        "announce",
        [sys.executable, "-m", "tests.servers.site.manage", "announce"],
        tmp_path,
        server.environment,
    )
    try:
        expected = ["command", "thread", "coroutine", "async_to_sync", "child"]
        expected += ["at once", "commit"]
        data = [(await stream.next_event())["data"] for _ in [*expected, "broadcast"]]
        # It is in no history: what another process has published before may come behind it.
        data.remove("broadcast")
        assert data == expected
        await command.gone()
        assert command.status == 0
    finally:
        command.stop()
