"""Workers on two hosts and a Redis on a third: their network, and a cable that is pulled."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import LAYER_TIMEOUT
from tests.faults.readers import Reader
from tests.networks import Host, Network, socket_in
from tests.servers.processes import Process, Server
from tests.servers.waiting import eventually
from tests.services import require_program
from tests.settings import channel_layer

pytestmark = [
    pytest.mark.faults,
    pytest.mark.history,
    pytest.mark.namespaces,
    pytest.mark.redis,
]

PORT = 6379


@pytest.fixture
def network() -> Iterator[Network]:
    """A network of this test's own."""
    network = Network()
    try:
        yield network
    finally:
        network.remove()


@pytest.fixture
async def redis_url(network: Network, tmp_path: Path) -> AsyncIterator[str]:
    """The address of a Redis that has a host for itself."""
    host = network.add_host("redis")
    options = f"--port {PORT} --bind 0.0.0.0 --protected-mode no --appendonly no --dir {tmp_path}"
    command = [require_program("redis-server"), *options.split(), "--save", ""]
    within = ["ip", "netns", "exec", host.namespace]
    process = Process("redis-server", [*within, *command], tmp_path)
    try:
        await eventually(lambda: _listens(host), but=lambda: process.output)
        yield f"redis://{host.address}:{PORT}/0"
    finally:
        process.stop()


def _listens(host: Host) -> bool:
    with socket_in(host.namespace) as client:
        return client.connect_ex(("127.0.0.1", PORT)) == 0


@pytest.fixture
def hosts(network: Network) -> list[Host]:
    """Two hosts for workers."""
    return [network.add_host("one"), network.add_host("two")]


@pytest.fixture
async def workers(
    hosts: list[Host], redis_url: str, layer: str, start_server: Callable[..., Server]
) -> list[Server]:
    """A worker on each of them; layer and store are the Redis."""
    entry: dict[str, Any] = channel_layer(layer)
    entry["CONFIG"]["hosts"] = [redis_url]
    settings = {
        "CHANNEL_LAYERS": {"default": entry},
        "DJANGO_SSE": {"CHANNEL_LAYER_TIMEOUT_SECONDS": LAYER_TIMEOUT},
    }
    started = [
        start_server("uvicorn-asyncio", settings=settings, namespace=host.namespace)
        for host in hosts
    ]
    return [await server.ready() for server in started]


@pytest.fixture
async def readers(workers: list[Server]) -> AsyncIterator[list[list[Reader]]]:
    """Two streams of each worker, their clients on its own host."""
    opened = [
        [await Reader(f"/{kind}/{n}/").connect(worker) for kind in ("grouped", "handler")]
        for n, worker in enumerate(workers)
    ]
    yield opened
    for reader in chain(*opened):
        await reader.leave()


async def _publish(worker: Server, first: int, last: int) -> None:
    answer = await worker.get(f"/publish/?first={first}&count={last - first + 1}", timeout=300)
    assert answer.json()["publish_errors"] == 0


async def _all_have(readers: Sequence[Reader], number: int) -> None:
    for reader in readers:
        await reader.has(number)


async def test_events_reach_the_streams_of_both_hosts(
    workers: list[Server], readers: list[list[Reader]]
) -> None:
    """Whichever publishes them: once, and in order. A client that changes hosts resumes."""
    everybody = list(chain(*readers))
    await _publish(workers[0], 1, 20)
    await _all_have(everybody, 20)
    await readers[0][0].leave()
    await _publish(workers[1], 21, 40)
    await readers[0][0].connect(workers[1])
    await _all_have(everybody, 40)
    for reader in everybody:
        reader.check(range(1, 41))


async def test_host_that_is_cut_off_from_redis_for_some_seconds(
    network: Network,
    hosts: list[Host],
    workers: list[Server],
    readers: list[list[Reader]],
) -> None:
    """
    The streams of the other host go on. Its own hear all that they have missed once it is back.

    What is published there meanwhile waits, and comes then. Who goes to the other host with his
    last event id need not wait for that.
    """
    cut_off, others = readers
    everybody = [*cut_off, *others]
    await _publish(workers[0], 1, 20)
    await _all_have(everybody, 20)
    network.unplug(hosts[0])
    await _publish(workers[1], 21, 30)
    await _all_have(others, 30)
    # Its clients are on the host itself, so that they lose nothing but the events.
    assert [reader.is_connected for reader in cut_off] == [True, True]
    assert [max(filter(None, reader.received)) for reader in cut_off] == [20, 20]
    await cut_off[0].leave()
    await cut_off[0].connect(workers[1])
    await cut_off[0].has(30)
    await _publish(workers[0], 31, 33)
    errors = (await workers[0].state())["store_errors"]

    async def has_tried_again() -> bool:
        return (await workers[0].state())["store_errors"] > errors + 1

    await eventually(has_tried_again)
    assert 31 not in others[0].received
    network.plug(hosts[0])
    await _all_have(everybody, 33)
    await _publish(workers[1], 34, 40)
    await _publish(workers[0], 41, 45)
    await _all_have(everybody, 45)
    for reader in everybody:
        reader.check(range(1, 46))
