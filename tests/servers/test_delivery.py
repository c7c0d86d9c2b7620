"""Events on their way from a publisher to the clients of a real server."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.servers.client import StreamClient
from tests.servers.processes import Server

pytestmark = pytest.mark.servers

OpenStream = Callable[..., Awaitable[StreamClient]]

KINDS = ("generator", "handler", "tasked", "grouped")
STREAMS = 20
BATCH, BATCHES = 10, 10


async def test_server_delivers_every_event_in_order(
    shared_server: Server, open_stream: OpenStream
) -> None:
    """20 streams of all kinds get 100 events each, every one once and in order."""
    streams = [
        await open_stream(shared_server, f"/{KINDS[n % len(KINDS)]}/delivery-{n}/")
        for n in range(STREAMS)
    ]
    for n, stream in enumerate(streams):
        assert (await stream.next_frame()).startswith(b"retry: ")
        if KINDS[n % len(KINDS)] != "grouped":
            assert (await stream.next_event())["event"] == "opened"

    async def read_batch(stream: StreamClient) -> list[str]:
        return [(await stream.next_event())["data"] for _ in range(BATCH)]

    # The publisher goes on when everyone has read: no clock decides what is lost.
    for first in range(0, BATCHES * BATCH, BATCH):
        await shared_server.get(f"/publish/?first={first}&count={BATCH}")
        expected = [str(number) for number in range(first, first + BATCH)]
        assert await asyncio.gather(*map(read_batch, streams)) == [expected] * STREAMS


async def test_server_sends_stream_headers_and_chunks(
    shared_server: Server, open_stream: OpenStream
) -> None:
    """The response has the headers that keep proxies from holding it up, and no length."""
    stream = await open_stream(
        shared_server, "/grouped/head/", headers={"Accept-Encoding": "gzip"}
    )
    assert stream.status == 200
    assert stream.headers["content-type"] == "text/event-stream"
    assert stream.headers["cache-control"] == "no-store, no-transform"
    assert stream.headers["content-encoding"] == "identity"
    assert stream.headers["x-accel-buffering"] == "no"
    assert stream.headers["transfer-encoding"] == "chunked"
    assert "content-length" not in stream.headers
    assert (await stream.next_frame()).startswith(b"retry: 3000\nid: ")
