"""What an event costs Redis: counted by Redis itself, so that no clock and no load matters."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Self

import pytest

from tests.faults.readers import Reader
from tests.redis_nodes import Node
from tests.servers.processes import Server
from tests.settings import channel_layer

pytestmark = [pytest.mark.servers, pytest.mark.redis, pytest.mark.history, pytest.mark.slow]

EVENTS = 60
# The commands of the script that adds an event.
OF_SCRIPT = 5


class Work(NamedTuple):
    """What Redis has done."""

    commands: int
    bytes_in: int
    bytes_out: int

    @classmethod
    def of(cls, node: Node) -> Self:
        found = node.call("INFO", "stats")
        names = ("total_commands_processed", "total_net_input_bytes", "total_net_output_bytes")
        return cls(*(found[name] for name in names))

    def since(self, earlier: "Work") -> "Work":
        return Work(*(now - then for now, then in zip(self, earlier, strict=True)))


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """A Redis that nobody else uses."""
    node = Node(tmp_path)
    try:
        yield node.start()
    finally:
        node.kill()


@pytest.fixture(params=["core", "pubsub"])
async def site(
    request: pytest.FixtureRequest, node: Node, start_server: Callable[..., Server]
) -> AsyncIterator["Site"]:
    """Two workers, which have their layer and their histories on that Redis."""
    layer: dict[str, Any] = channel_layer(request.param)
    layer["CONFIG"]["hosts"] = [node.url]
    settings = {
        "CHANNEL_LAYERS": {"default": layer},
        "ROOT_URLCONF": "tests.faults.urls",
    }
    workers = [start_server("uvicorn-asyncio", settings=settings) for _ in range(2)]
    site = Site(node, [await worker.ready() for worker in workers])
    yield site
    await site.leave()


class Site:
    """Workers with open streams, and the events that they have been sent."""

    def __init__(self, node: Node, workers: list[Server]) -> None:
        self._node = node
        self._workers = workers
        self._readers: list[Reader] = []
        self._number = 0

    async def open(self, count: int, *, worker: int = 0) -> None:
        """Open so many streams of one group at one of the workers."""
        for _ in range(count):
            reader = Reader(f"/joined/{len(self._readers)}/?group=news")
            self._readers.append(await reader.connect(self._workers[worker]))

    async def work(self, *groups: str) -> Work:
        """Publish events, each when all streams have the one before; return what Redis did."""
        query = "&".join(f"group={group}" for group in groups or ("news",))
        before = Work.of(self._node)
        for _ in range(EVENTS):
            self._number += 1
            await self._workers[0].get(f"/publish-to-several/?{query}&number={self._number}")
            await asyncio.gather(*(reader.has(self._number) for reader in self._readers))
        return Work.of(self._node).since(before)

    async def open_own(self, count: int, *, worker: int) -> None:
        """Open so many streams at one of the workers, each of a group of its own."""
        for number in range(count):
            reader = Reader(f"/joined/own-{number}/?group=own.{number}")
            self._readers.append(await reader.connect(self._workers[worker]))

    async def work_at_once(self, groups: int) -> Work:
        """Publish events to so many groups at the same time; return what Redis did."""
        self._number += 1
        before = Work.of(self._node)
        await self._workers[0].get(f"/publish-at-once/?groups={groups}&number={self._number}")
        await asyncio.gather(*(reader.has(self._number) for reader in self._readers))
        return Work.of(self._node).since(before)

    async def leave(self) -> None:
        await asyncio.gather(*(reader.leave() for reader in self._readers))


async def test_event_costs_redis_the_same_for_ten_streams_and_for_two_hundred(site: Site) -> None:
    """What grows is with the workers that have readers, and with the event's groups."""
    await site.open(10)
    few = await site.work()
    await site.open(190)
    many = await site.work()
    # Each worker also looks every two seconds; a single command more for each stream or event
    # would be 60 to 11,400 more.
    assert abs(many.commands - few.commands) < EVENTS
    assert many.bytes_in < 1.5 * few.bytes_in
    assert many.bytes_out < 1.5 * few.bytes_out

    await site.open(1, worker=1)
    two_workers = await site.work()
    assert two_workers.bytes_out - many.bytes_out > 50 * EVENTS

    two_groups = await site.work("news", "other")
    assert two_groups.commands - two_workers.commands > 3 * EVENTS


async def test_events_of_many_groups_at_once_share_what_they_cost(site: Site) -> None:
    """They are added by one script, and one message tells the workers of all of them."""
    await site.open_own(30, worker=1)
    await site.work_at_once(100)  # Redis has the script, and the workers their connections.
    works = [await site.work_at_once(100) for _ in range(5)]
    # One command more for each event would be 100 more; the workers look every two seconds.
    assert min(work.commands for work in works) < 100 * OF_SCRIPT + 60
