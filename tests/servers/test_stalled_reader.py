"""The memory of a real server while one client of many does not read."""

import asyncio
from collections.abc import Awaitable, Callable

import psutil
import pytest

from tests.servers.client import StreamClient
from tests.servers.processes import SERVERS, Server

pytestmark = [pytest.mark.servers, pytest.mark.slow]

OpenStream = Callable[..., Awaitable[StreamClient]]

PADDING = 50_000
#: Less than QUEUE_MAX_BYTES in one piece, so that a client that reads is never too slow.
EVENTS_IN_A_PIECE = 4
PIECES = 500  # 100 MB together.
PIECES_TO_WARM_UP = 100
READERS = 2
#: Far below that: the queue's 256 KiB, one piece's copies, and what the server itself holds. That
#: is 0.5 to 1.2 MB in all.
MAX_GROWTH = 2_000_000
#: Granian copies each body into memory of its own, of another allocator: 1.7 to 3.2 MB.
MAX_GROWTH_OF_GRANIAN = 5_000_000
#: The allocator may take as much for reasons of its own, once: another client is not such a one.
ATTEMPTS = 3
#: A round that adds no more shows that the process has what it needs; it is soon reached.
STEADY = 300_000
MAX_ROUNDS = 15
#: What the histories take is soon taken, and the client that does not read is not given up.
SETTINGS = {
    "DJANGO_SSE": {
        "STORE": {
            "BACKEND": "django_sse.stores.memory.MemoryStore",
            "OPTIONS": {"max_events": 20},
        },
        "SEND_TIMEOUT_SECONDS": 3600,
    }
}
#: What is freed goes back to the system at once, where it is more than some pages (glibc).
FREE_AT_ONCE = {"MALLOC_MMAP_THRESHOLD_": "16384", "MALLOC_TRIM_THRESHOLD_": "0"}


async def _publish(
    server: Server, readers: list[StreamClient], memory: psutil.Process, pieces: int
) -> int:
    """Publish *pieces*, which each of *readers* has to get whole; return the most RSS between."""
    most = 0
    for first in range(0, pieces * EVENTS_IN_A_PIECE, EVENTS_IN_A_PIECE):
        path = f"/publish/?first={first}&count={EVENTS_IN_A_PIECE}&padding={PADDING}"
        await asyncio.gather(server.get(path), *(_read(reader, first) for reader in readers))
        most = max(most, memory.memory_info().rss)
    return most


async def _warmed_up(server: Server, readers: list[StreamClient], memory: psutil.Process) -> int:
    """Publish 20 MB again and again, until that twice adds little; return the most RSS seen."""
    most, steady = 0, 0
    for _ in range(MAX_ROUNDS):
        before = most
        most = max(most, await _publish(server, readers, memory, PIECES_TO_WARM_UP))
        steady = steady + 1 if most - before < STEADY else 0
        if steady == 2:
            break
    return most


async def _read(reader: StreamClient, first: int) -> None:
    for number in range(first, first + EVENTS_IN_A_PIECE):
        data = (await reader.next_event())["data"]
        assert (data.rstrip("."), len(data)) == (str(number), len(str(number)) + PADDING)


@pytest.mark.parametrize("kind", SERVERS)
async def test_stalled_reader_costs_little_memory_and_the_others_nothing(
    start_server: Callable[..., Server], open_stream: OpenStream, kind: str
) -> None:
    """
    100 MB for a client that does not read add little more than its queue; the others get all.

    The process grows with any traffic at first: its allocator keeps pages, some servers free a
    closed connection only by the garbage collector. So before, 20 MB go to clients that read,
    again until that adds little. What 100 MB then add, with a client beside them that does not
    read, is what that one costs: its queue of at most QUEUE_MAX_BYTES, 256 KiB, and what its
    server holds. In each round the process is looked at after every piece, and the most counts.

    The next piece comes only when all the others have read the one before, so that nothing else
    piles up. The process measured is the one that serves the streams, for some servers a child of
    the one that was started.
    """
    server = await start_server(kind, settings=SETTINGS, environment=FREE_AT_ONCE).ready()
    memory = psutil.Process((await server.state())["pid"])
    readers = [await open_stream(server, f"/grouped/{n}/") for n in range(READERS)]
    most_allowed = MAX_GROWTH_OF_GRANIAN if kind.startswith("granian") else MAX_GROWTH
    before = await _warmed_up(server, readers, memory)
    for stalled in range(1, ATTEMPTS + 1):
        await open_stream(server, f"/grouped/stalled-{stalled}/", receive_buffer=4096)
        most = await _publish(server, readers, memory, PIECES)
        assert (await server.state())["streams_open"] == READERS + stalled
        growth, before = most - before, most
        if growth < most_allowed:
            break
    assert growth < most_allowed
