"""Layer and histories on three Redis servers, over which the groups are spread: one is killed."""

import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import LAYER_TIMEOUT
from tests.faults.readers import Reader
from tests.redis_nodes import Node
from tests.servers.processes import Server
from tests.settings import channel_layer

pytestmark = [pytest.mark.faults, pytest.mark.history, pytest.mark.redis]


def _group_on(number: int) -> str:
    """Return a group whose history is on the server of that number."""
    names = (f"group.{n}" for n in range(100))
    return next(name for name in names if zlib.crc32(name.encode()) % 3 == number)


GROUPS = [_group_on(number) for number in range(3)]


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[list[Node]]:
    """Three servers, which write all to their disks."""
    options = ("--appendonly", "yes", "--appendfsync", "always")
    nodes = [Node(tmp_path / f"node-{number}", *options) for number in range(3)]
    try:
        yield [node.start() for node in nodes]
    finally:
        for node in nodes:
            node.kill()


@pytest.fixture
async def workers(
    nodes: list[Node], layer: str, start_server: Callable[..., Server]
) -> list[Server]:
    """Two workers on them."""
    entry: dict[str, Any] = channel_layer(layer)
    entry["CONFIG"]["hosts"] = [node.url for node in nodes]
    settings = {
        "CHANNEL_LAYERS": {"default": entry},
        "DJANGO_SSE": {"CHANNEL_LAYER_TIMEOUT_SECONDS": LAYER_TIMEOUT},
        "ROOT_URLCONF": "tests.faults.urls",
    }
    started = [start_server("uvicorn-asyncio", settings=settings) for _ in range(2)]
    return [await server.ready() for server in started]


@pytest.fixture
async def readers(workers: list[Server]) -> AsyncIterator[list[list[Reader]]]:
    """For each of the groups, a stream at each worker."""
    opened = [
        [await Reader(f"/joined/{group}/?group={group}").connect(worker) for worker in workers]
        for group in GROUPS
    ]
    yield opened
    for pair in opened:
        for reader in pair:
            await reader.leave()


@pytest.mark.parametrize("killed", [0, 1, 2])
async def test_server_that_is_killed_and_back(
    nodes: list[Node], workers: list[Server], readers: list[list[Reader]], killed: int
) -> None:
    """Whichever it is: the groups of the others go on; its own get all once it is back."""

    async def publish(first: int, last: int) -> None:
        for number in range(first, last + 1):
            for group in GROUPS:
                query = f"group={group}&number={number}"
                answer = await workers[0].get(f"/publish-to-several/?{query}")
                assert answer.json()["publish_errors"] == 0

    async def have(number: int, pairs: list[list[Reader]]) -> None:
        for pair in pairs:
            for reader in pair:
                await reader.has(number)

    await publish(1, 20)
    await have(20, readers)
    nodes[killed].kill()
    await publish(21, 30)
    await have(30, [pair for number, pair in enumerate(readers) if number != killed])
    assert [reader.received[-1] for reader in readers[killed]] == [20, 20]
    nodes[killed].start()
    await publish(31, 40)
    await have(40, readers)
    for pair in readers:
        for reader in pair:
            reader.check(range(1, 41))
