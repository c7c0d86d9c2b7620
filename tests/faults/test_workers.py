"""A worker killed while its clients come and go."""

import asyncio
import contextlib
import random
import signal
from collections.abc import Awaitable, Callable

import pytest

from tests.faults.readers import Reader
from tests.faults.redis_server import RedisServer
from tests.servers.processes import Server
from tests.servers.waiting import TIMEOUT

pytestmark = [pytest.mark.faults, pytest.mark.redis]

CLIENTS = 50
#: One of the workers is killed before this event; after it, so many more are published.
KILLED_AT, MORE = 60, 90
RECONNECTIONS = 4 * CLIENTS
EVERY_GROUP = "?group=one&group=two&group=three"


class _Crowd:
    """Readers that change from worker to worker at random, with their last event ids."""

    def __init__(self, workers: list[Server], queries: list[str], chance: random.Random) -> None:
        self.workers = workers
        self.readers = [
            Reader(f"/joined/{number}/{queries[number % len(queries)]}")
            for number in range(CLIENTS)
        ]
        self.reconnections = 0
        self._chance = chance
        self._is_moving = True

    async def connect(self) -> None:
        """Open all streams, spread over the workers."""
        for number, reader in enumerate(self.readers):
            await reader.connect(self.workers[number % len(self.workers)])

    async def move(self, reader: Reader) -> None:
        """Reconnect now and then, and at once where the worker has gone, until settle()."""
        while self._is_moving:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._chance.uniform(0.05, 1.5)):
                    await reader.gone()
            await reader.leave(by_reset=self._chance.random() < 0.5)
            await self._come_back(reader)

    async def _come_back(self, reader: Reader) -> None:
        while not reader.is_connected:
            try:
                await reader.connect(self._chance.choice(self.workers))
                self.reconnections += 1
            except ConnectionError:
                await asyncio.sleep(0.05)

    async def settle(self) -> None:
        """Let everyone stay where they are."""
        self._is_moving = False

    async def leave(self) -> None:
        for reader in self.readers:
            await reader.leave()


async def _publish_all(crowd: _Crowd, publish: Callable[[int], Awaitable[object]]) -> int:
    """Publish numbers from 1 on, until the crowd has moved enough; return the last one."""
    number = 0
    while number < KILLED_AT + MORE or crowd.reconnections < RECONNECTIONS:
        number += 1
        await publish(number)
        await asyncio.sleep(0.02)
    return number


async def test_clients_of_a_killed_worker_go_on_at_another(
    redis_server: RedisServer, start_server: Callable[..., Server]
) -> None:
    """Fifty clients change at random between two workers, one dies: each gets all, in order."""
    settings = redis_server.layer_settings("core")
    settings["ROOT_URLCONF"] = "tests.faults.urls"
    workers = [start_server("uvicorn-asyncio", settings=settings) for _ in range(2)]
    for worker in workers:
        await worker.ready()
    crowd = _Crowd(list(workers), ["?group=one", EVERY_GROUP], random.Random(1))
    await crowd.connect()
    moving = [asyncio.create_task(crowd.move(reader)) for reader in crowd.readers]

    async def publish(number: int) -> None:
        if number == KILLED_AT:
            workers[0].send_signal(signal.SIGKILL)
            crowd.workers.remove(workers[0])
        answer = await workers[1].get(f"/publish-to-several/{EVERY_GROUP}&number={number}")
        assert answer.json()["publish_errors"] == 0

    try:
        async with asyncio.timeout(10 * TIMEOUT):
            last = await _publish_all(crowd, publish)
        await crowd.settle()
        await asyncio.gather(*moving)
        for reader in crowd.readers:
            await reader.has(last)
            reader.check(range(1, last + 1))
    finally:
        for task in moving:
            task.cancel()
        await crowd.leave()
