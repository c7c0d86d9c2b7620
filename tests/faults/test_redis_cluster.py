"""Histories on a Redis Cluster of three nodes: one killed, one restarted, a slot moved."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.faults.conftest import LAYER_TIMEOUT
from tests.faults.readers import Reader
from tests.faults.redis_server import RedisServer
from tests.redis_nodes import Cluster, Node, slot_of, until
from tests.servers.processes import Server
from tests.servers.waiting import eventually

pytestmark = [pytest.mark.faults, pytest.mark.history, pytest.mark.redis]

#: One on each of the nodes, in their order.
GROUPS = ("b", "c", "a")


class Place:
    """Two workers, which have their histories on one cluster, and readers at both."""

    def __init__(self, cluster: Cluster, workers: Sequence[Server]) -> None:
        self.cluster = cluster
        self.workers = workers
        self.readers: list[Reader] = []

    async def read(self, *groups: str) -> list[Reader]:
        """Open a stream of *groups* at each worker."""
        path = f"/joined/{'-'.join(groups)}/?{urlencode([('group', g) for g in groups])}"
        opened = [await Reader(path).connect(worker) for worker in self.workers]
        self.readers.extend(opened)
        return opened

    async def publish(self, first: int, last: int, *groups: str, worker: int = 0) -> None:
        """Publish each number as one event of all *groups*."""
        query = urlencode([("group", group) for group in groups])
        for number in range(first, last + 1):
            path = f"/publish-to-several/?{query}&number={number}"
            answer = await self.workers[worker].get(path)
            assert answer.json()["publish_errors"] == 0

    async def counts(self, name: str) -> int:
        """Return the sum of one of the workers' numbers."""
        return sum([(await worker.state())[name] for worker in self.workers])


@pytest.fixture
def make_cluster(tmp_path: Path) -> Iterator[Callable[..., Cluster]]:
    """Return a function that starts a cluster for this test."""
    clusters: list[Cluster] = []

    def make(**options: Any) -> Cluster:
        clusters.append(Cluster(tmp_path, **options))
        return clusters[-1].start()

    yield make
    for cluster in clusters:
        cluster.stop()


@pytest.fixture
async def make_place(
    redis_server: RedisServer, start_server: Callable[..., Server]
) -> AsyncIterator[Callable[..., Any]]:
    """Return a function that starts workers on a cluster; their channel layer is elsewhere."""
    places: list[Place] = []

    async def make(cluster: Cluster) -> Place:
        settings = {
            **redis_server.layer_settings("core"),
            "DJANGO_SSE": {
                "STORE": cluster.store(),
                "CHANNEL_LAYER_TIMEOUT_SECONDS": LAYER_TIMEOUT,
            },
            "ROOT_URLCONF": "tests.faults.urls",
        }
        servers = [start_server("uvicorn-asyncio", settings=settings) for _ in range(2)]
        places.append(Place(cluster, [await server.ready() for server in servers]))
        return places[-1]

    yield make
    for place in places:
        for reader in place.readers:
            await reader.leave()


async def _all_have(readers: Sequence[Reader], number: int) -> None:
    for reader in readers:
        await reader.has(number)


def _has_copied(master: Node, replica: Node) -> bool:
    position = master.call("INFO", "replication")["master_repl_offset"]
    return bool(replica.call("INFO", "replication")["slave_repl_offset"] >= position)


async def test_killed_node_whose_replica_takes_over(
    make_cluster: Callable[..., Cluster], make_place: Callable[..., Any]
) -> None:
    """Its groups' streams get all, once and in order, and later; those of others as ever."""
    cluster = make_cluster(replicas=1)
    killed, [replica] = cluster.masters[0], cluster.replicas
    assert [cluster.owner(group) for group in GROUPS] == cluster.masters
    place: Place = await make_place(cluster)
    dead, half, alive = [await place.read(group) for group in GROUPS]
    both = await place.read(GROUPS[0], GROUPS[1])
    await place.publish(1, 20, GROUPS[0], GROUPS[1])
    await place.publish(1, 20, GROUPS[2])
    await _all_have([*dead, *half, *both, *alive], 20)
    until(lambda: _has_copied(killed, replica))
    killed.kill()
    await place.publish(21, 30, GROUPS[0], GROUPS[1])
    await place.publish(21, 30, GROUPS[2])
    await _all_have(alive, 30)
    # The first that failed has gone where it could; those behind it wait as they are.
    await _all_have([*half, *both], 21)
    assert [max(filter(None, reader.received)) for reader in (*half, *both)] == [21] * 4
    assert [max(filter(None, reader.received)) for reader in dead] == [20, 20]
    replica.call("CLUSTER FAILOVER", "FORCE")
    until(lambda: "master" in replica.peers()[str(replica.port)]["flags"])
    await place.publish(31, 40, GROUPS[0], GROUPS[1])
    await place.publish(31, 40, GROUPS[2])
    for reader in (*dead, *half, *both, *alive):
        await reader.has(40)
        reader.check(range(1, 41))
    assert await place.counts("resets_sent") == 0


async def test_killed_node_that_comes_back(
    make_cluster: Callable[..., Cluster], make_place: Callable[..., Any]
) -> None:
    """It has written all to its disk: nothing is lost, and nobody is told of anything."""
    cluster = make_cluster(options=["--appendonly", "yes", "--appendfsync", "always"])
    place: Place = await make_place(cluster)
    readers = await place.read(*GROUPS)
    await place.publish(1, 20, *GROUPS)
    await _all_have(readers, 20)
    cluster.masters[0].kill()
    await place.publish(21, 30, *GROUPS)
    await readers[0].leave()
    cluster.masters[0].start()
    await readers[0].connect(place.workers[1])
    await place.publish(31, 40, *GROUPS)
    await _all_have(readers, 40)
    for reader in readers:
        reader.check(range(1, 41))


async def test_slot_that_is_moved_to_another_node(
    make_cluster: Callable[..., Cluster], make_place: Callable[..., Any]
) -> None:
    """In each step of it events are published and read; where they have to wait, they come."""
    cluster = make_cluster()
    source, target = cluster.masters[:2]
    group, slot = GROUPS[0], slot_of(GROUPS[0])
    place: Place = await make_place(cluster)
    readers = [*await place.read(group), *await place.read(*GROUPS)]
    await place.publish(1, 10, *GROUPS)
    await _all_have(readers, 10)

    target.call("CLUSTER SETSLOT", slot, "IMPORTING", source.id)
    source.call("CLUSTER SETSLOT", slot, "MIGRATING", target.id)
    await place.publish(11, 20, *GROUPS)
    await _all_have(readers, 20)

    # The node that has one key of the two answers neither for it nor for the other.
    head, log = sorted(source.call("CLUSTER GETKEYSINSLOT", slot, 10))
    source.call("MIGRATE", "127.0.0.1", target.port, head, 0, 10_000)
    await place.publish(21, 22, *GROUPS)
    assert await place.counts("store_errors") > 0
    source.call("MIGRATE", "127.0.0.1", target.port, log, 0, 10_000)
    await _all_have(readers, 22)
    # All keys are there, and the slot is not: the source says whom to ask.
    await place.publish(23, 30, *GROUPS, worker=1)
    await _all_have(readers, 30)

    for node in (target, source, cluster.masters[2]):
        node.call("CLUSTER SETSLOT", slot, "NODE", target.id)
    assert cluster.owner(group) is target
    await place.publish(31, 40, *GROUPS)
    away = readers[0]
    await away.leave()
    await place.publish(41, 50, *GROUPS, worker=1)
    await away.connect(place.workers[1])
    await _all_have(readers, 50)
    for reader in readers:
        reader.check(range(1, 51))


async def test_slots_are_moved_under_publishers(
    make_cluster: Callable[..., Cluster], make_place: Callable[..., Any]
) -> None:
    """A worker publishes without a pause while a group goes from node to node."""
    cluster = make_cluster()
    slot = slot_of(GROUPS[0])
    place: Place = await make_place(cluster)
    readers = [await place.read(GROUPS[0]), await place.read(*GROUPS)]
    published, moves = [1], 0

    async def publish_on() -> None:
        while moves < 6:
            await place.publish(published[-1], published[-1], *GROUPS)
            published.append(published[-1] + 1)

    publishing = asyncio.create_task(publish_on())
    try:
        while moves < 6:
            owner = cluster.owner(GROUPS[0])
            target = cluster.masters[(cluster.masters.index(owner) + 1) % 3]
            seen = len(published)
            await eventually(partial(_grew, published, seen + 5))
            await asyncio.to_thread(_move, cluster, slot, owner, target)
            moves += 1
        await publishing
    finally:
        publishing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await publishing
    published.pop()
    for pair in readers:
        await _all_have(pair, published[-1])
        for reader in pair:
            reader.check(published)


def _grew(published: list[int], count: int) -> bool:
    return len(published) >= count


def _move(cluster: Cluster, slot: int, source: Node, target: Node) -> None:
    target.call("CLUSTER SETSLOT", slot, "IMPORTING", source.id)
    source.call("CLUSTER SETSLOT", slot, "MIGRATING", target.id)
    keys = source.call("CLUSTER GETKEYSINSLOT", slot, 10)
    source.call("MIGRATE", "127.0.0.1", target.port, "", 0, 10_000, "KEYS", *keys)
    for node in (target, source, *cluster.masters):
        node.call("CLUSTER SETSLOT", slot, "NODE", target.id)
