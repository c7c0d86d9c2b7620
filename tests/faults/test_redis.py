"""Redis killed, stopped and emptied under open streams and publishers, with no history."""

import contextlib
import json
import re
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.faults.conftest import LAYER_TIMEOUT
from tests.faults.redis_server import RedisServer
from tests.servers.client import StreamClient
from tests.servers.processes import Process, Server
from tests.servers.waiting import TIMEOUT, eventually

pytestmark = [pytest.mark.faults, pytest.mark.redis]

OpenStream = Callable[..., Awaitable[StreamClient]]

KINDS = ("generator", "handler", "grouped")
#: Less than a Redis that hangs would take. A slow machine takes its time too.
LONG = 15 * LAYER_TIMEOUT


async def _open_streams(server: Server, open_stream: OpenStream) -> list[StreamClient]:
    streams = []
    for kind in KINDS:
        stream = await open_stream(server, f"/{kind}/{kind}/")
        assert await stream.next_frame() == b"retry: 3000\n\n"
        if kind != "grouped":
            assert (await stream.next_event())["event"] == "opened"
        streams.append(stream)
    return streams


async def _publish(server: Server, text: int) -> dict[str, Any]:
    answer = await server.get(f"/publish/?first={text}")
    assert answer.status == 200
    numbers: dict[str, Any] = answer.json()
    return numbers


async def _all_hear(server: Server, streams: list[StreamClient], text: int) -> None:
    """Publish *text* once, and see it arrive everywhere, behind what may have come before."""
    await _publish(server, text)
    for stream in streams:
        while (await stream.next_event())["data"] != str(text):
            pass


async def _all_hear_again(server: Server, streams: list[StreamClient]) -> None:
    """Publish until each of *streams* has got something; from then on nothing is lost."""
    deaf = set(streams)

    async def publish_and_listen() -> bool:
        await _publish(server, 0)
        for stream in list(deaf):
            with contextlib.suppress(TimeoutError):
                await stream.next_event(timeout=0.1)
                deaf.discard(stream)
        return not deaf

    await eventually(publish_and_listen, within=2 * TIMEOUT, but=lambda: f"{len(deaf)} are deaf.")
    await _all_hear(server, streams, 999)


async def test_open_streams_hear_again_after_redis_was_killed(
    redis_server: RedisServer, server: Server, open_stream: OpenStream
) -> None:
    """Streams stay open while Redis is killed and started anew, empty, and get events again."""
    streams = await _open_streams(server, open_stream)
    await _all_hear(server, streams, 1)
    await redis_server.kill()
    await redis_server.start()
    await _all_hear_again(server, streams)


@pytest.mark.parametrize("has_streams", [False, True], ids=["no streams", "streams"])
async def test_publish_without_redis_is_logged_and_counted(
    redis_server: RedisServer, server: Server, open_stream: OpenStream, has_streams: bool
) -> None:
    """It returns in time and raises nothing, with streams open in its process and without."""
    streams = await _open_streams(server, open_stream) if has_streams else []
    await redis_server.kill()
    for number in (1, 2):
        numbers = await _publish(server, number)
        assert numbers["seconds"] < LONG
        assert numbers["publish_errors"] == number
    assert server.output.count("An event for 'news' was not published: ConnectionError") == 2
    await redis_server.start()

    async def publishes_again() -> bool:
        # A connection that the layer has kept from before is found out only by its use.
        errors = (await server.state())["publish_errors"]
        return (await _publish(server, 3))["publish_errors"] == errors

    await eventually(publishes_again)
    await _all_hear_again(server, streams)


async def test_publish_to_a_redis_that_hangs_returns_in_time(
    redis_server: RedisServer, server: Server, open_stream: OpenStream
) -> None:
    """Each publish waits for its timeout and no longer; then all goes on as before."""
    streams = await _open_streams(server, open_stream)
    await _all_hear(server, streams, 1)
    redis_server.pause()
    for number in (1, 2):
        numbers = await _publish(server, 2)
        assert LAYER_TIMEOUT / 2 < numbers["seconds"] < LONG
        assert numbers["publish_errors"] == number
    redis_server.resume()
    await _all_hear_again(server, streams)


@pytest.mark.parametrize("fault", ["killed", "hanging"])
async def test_stream_opened_without_redis_is_sent_away_for_a_while(
    redis_server: RedisServer, server: Server, open_stream: OpenStream, fault: str
) -> None:
    """The answer is 200 and a long retry, at which a browser comes back; then it is let in."""
    if fault == "killed":
        await redis_server.kill()
    else:
        redis_server.pause()
    for kind in ("handler", "grouped"):
        stream = await open_stream(server, f"/{kind}/early/")
        assert stream.status == 200
        assert stream.headers["content-type"] == "text/event-stream"
        found = re.fullmatch(rb"retry: (\d+)\n\n", await stream.body())
        assert found is not None
        assert int(found.group(1)) >= 15_000
    if fault == "killed":
        await redis_server.start()
    else:
        redis_server.resume()
    streams = await _open_streams(server, open_stream)
    await _all_hear(server, streams, 1)


async def test_generator_without_redis_ends_and_is_let_in_later(
    redis_server: RedisServer, server: Server, open_stream: OpenStream
) -> None:
    """Its response has begun when it subscribes: it ends, and the client comes back by itself."""
    await redis_server.kill()
    stream = await open_stream(server, "/generator/early/")
    assert stream.status == 200
    assert (await stream.rest())[0] == b"retry: 3000\n\n"
    await server.noted("finally early")
    await redis_server.start()
    await _all_hear(server, await _open_streams(server, open_stream), 1)


async def test_streams_hear_again_after_redis_was_emptied(
    redis_server: RedisServer, open_stream: OpenStream, start_server: Callable[..., Server]
) -> None:
    """FLUSHALL takes the groups' members with it; the worker renews its memberships."""
    server = await start_server(
        "uvicorn-asyncio",
        settings={**redis_server.layer_settings("core"), "DJANGO_SSE": {"STORE": None}},
        environment={"SITE_RENEW_SECONDS": "0.5"},
    ).ready()
    streams = await _open_streams(server, open_stream)
    await _all_hear(server, streams, 1)
    redis_server.forget_everything()
    await _all_hear_again(server, streams)


@pytest.mark.parametrize("fault", ["killed", "hanging"])
async def test_process_without_streams_outlives_its_publishing_without_redis(
    redis_server: RedisServer, layer: str, tmp_path_factory: pytest.TempPathFactory, fault: str
) -> None:
    """A management command that publishes in every way ends well, and tells what is lost."""
    if fault == "killed":
        await redis_server.kill()
    else:
        redis_server.pause()
    settings = {
        **redis_server.layer_settings(layer),
        "DJANGO_SSE": {"CHANNEL_LAYER_TIMEOUT_SECONDS": 0.2, "STORE": None},
    }
    command = Process(
        "announce",
        [sys.executable, "-m", "tests.servers.site.manage", "announce"],
        tmp_path_factory.mktemp("announce"),
        {
            "DJANGO_SETTINGS_MODULE": "tests.servers.site.settings",
            "SITE_SETTINGS": json.dumps(settings),
        },
    )
    try:
        await command.gone(within=2 * TIMEOUT)
        assert command.status == 0
        assert command.output.count("An event for 'news' was not published") == 7
        assert command.output.count("An event for '' was not published") == 1
    finally:
        command.stop()
