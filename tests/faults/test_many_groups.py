"""Events to very many groups at once, over a layer that loses, repeats and reorders messages."""

import asyncio
import random
from collections.abc import Iterator

import pytest
from channels.layers import channel_layers

from django_sse import apublish, publishing, stores, subscribe
from tests.faults.unreliable import Layer, Loop, Store, end_hub

pytestmark = [pytest.mark.faults, pytest.mark.history]

GROUPS = 1000
ROUNDS = 4


@pytest.fixture
def loop() -> Iterator[Loop]:
    """A loop whose hub publishes, with a clock that does not wait."""
    loop = Loop()
    asyncio.set_event_loop(loop)
    publishing._backlog._reset()
    yield loop
    loop.run_until_complete(end_hub())
    loop.close()
    asyncio.set_event_loop(None)


@pytest.fixture
def layer() -> Layer:
    """The project's channel layer."""
    layer = Layer()
    channel_layers.set("default", layer)
    return layer


@pytest.fixture
def store() -> Store:
    """The project's store, which is a moment away."""
    store = stores._made["store"] = Store(lambda entries: None, max_events=100)
    store.latency = 0.001
    return store


async def publish_to_all(number: int) -> None:
    """Publish to each of the groups, fifty at a time."""
    names = iter(range(GROUPS))

    async def publish() -> None:
        for name in names:
            await apublish(f"own.{name}", number)

    await asyncio.gather(*(publish() for _ in range(50)))


class Readers:
    """A subscription to each of the groups, and what it has got."""

    def __init__(self) -> None:
        self.received: list[list[int]] = [[] for _ in range(GROUPS)]
        self._opened = 0
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        self._tasks = [asyncio.ensure_future(self._read(name)) for name in range(GROUPS)]
        while self._opened < GROUPS:  # noqa: ASYNC110 - its clock does not wait
            await asyncio.sleep(1)

    async def _read(self, name: int) -> None:
        async with subscribe(f"own.{name}") as events:
            self._opened += 1
            async for event in events:
                self.received[name].append(event.data)

    async def have(self, count: int) -> None:
        """Wait until all have so many events, and would have more, if there were any."""
        async with asyncio.timeout(600):
            while any(len(each) < count for each in self.received):  # noqa: ASYNC110
                await asyncio.sleep(1)
            await asyncio.sleep(10)


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_lost_repeated_or_reordered(
    loop: Loop, layer: Layer, store: Store, seed: int
) -> None:
    """Each reader gets the events of its group, of which few messages tell, to all."""
    chance, readers = random.Random(seed), Readers()

    async def work() -> None:
        await readers.open()
        for number in range(ROUNDS):
            await publish_to_all(number)
            assert len(layer.pending) < GROUPS / 10
            for index in chance.sample(range(len(layer.pending)), len(layer.pending)):
                for _ in range(chance.choice((0, 1, 1, 2))):
                    layer.bring(index)
            layer.pending.clear()
            await asyncio.sleep(chance.choice((0, 0.01, 3)))
        await readers.have(ROUNDS)

    loop.run_until_complete(work())
    assert readers.received == [list(range(ROUNDS))] * GROUPS
