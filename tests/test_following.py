"""How a hub follows histories: what the channel layer does not bring is read from the store."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest

from django_sse import following as module
from django_sse.envelope import Delivery
from django_sse.exceptions import StoreUnavailable
from django_sse.following import Following
from django_sse.history import Entry, Slice
from django_sse.metrics import metrics
from django_sse.positions import START, Position
from django_sse.stores.memory import MemoryStore
from tests.clients import until


class Store(MemoryStore):
    """A store that notes what it is asked, and fails or waits where a test says so."""

    def __init__(self) -> None:
        super().__init__(max_events=50)
        self.reads: list[tuple[str, int]] = []
        self.looks: list[list[str]] = []
        self.error: Exception | None = None
        self.gate: asyncio.Event | None = None
        self.era = 0

    async def _wait(self) -> None:
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error

    async def aread(self, group: str, after: Position, limit: int) -> Slice:
        self.reads.append((group, after.number))
        await self._wait()
        return self.read(group, after, limit)

    async def apositions(self, groups: Sequence[str], back: int | None = 0) -> dict[str, Position]:
        self.looks.append(list(groups))
        await self._wait()
        return self.positions(groups, back)

    def add(self, group: str, count: int = 1) -> list[Delivery]:
        """Append events; return them as a channel layer would bring them."""
        return [Delivery.of(self._add(group)) for _ in range(count)]

    def _add(self, group: str) -> Entry:
        number = self.positions([group])[group].number + 1
        message = {"data": f"{group}{number}", "mark": f"{self.era:03}{number:05}"}
        return self.append([group], message)[0]

    def begin_anew(self) -> None:
        """Lose all."""
        self._processes.clear()
        self.era += 1


class Hub:
    """What a Following is given by its hub."""

    def __init__(self, store: Store) -> None:
        self.tasks: set[asyncio.Task[Any]] = set()
        self.delivered: list[Delivery] = []
        self.missed: list[str] = []
        self.following = Following(store, self.spawn, self.delivered.append, self.missed.extend)

    def spawn(self, coroutine: Any) -> asyncio.Task[Any]:
        task = asyncio.ensure_future(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    @property
    def data(self) -> list[object]:
        return [delivery.event.data for delivery in self.delivered]


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
async def hub(store: Store) -> AsyncIterator[Hub]:
    hub = Hub(store)
    yield hub
    hub.following.close()
    for task in hub.tasks:
        task.cancel()
    await asyncio.gather(*hub.tasks, return_exceptions=True)


@pytest.fixture
def slow_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Never look at the store in the time of a test."""
    monkeypatch.setattr(module, "_LOOK_SECONDS", 60)


@pytest.fixture
def fast_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look all the time."""
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.005)


def numbered(count: int, group: str = "a", start: int = 1) -> list[str]:
    return [f"{group}{number}" for number in range(start, start + count)]


@pytest.mark.usefixtures("slow_look")
async def test_group_that_is_joined_anew_while_the_old_tail_is_healed(
    store: Store, hub: Hub
) -> None:
    """Its new tail reads for itself, at once."""
    await hub.following.start(["a"])
    store.gate = asyncio.Event()
    hub.following.receive(store.add("a", 2)[1])
    await until(lambda: store.reads)
    hub.following.stop("a")
    gate, store.gate = store.gate, None
    await hub.following.start(["a"])
    hub.following.receive(store.add("a", 2)[1])
    await until(lambda: hub.data == ["a3", "a4"])
    gate.set()


@pytest.mark.usefixtures("slow_look")
class TestStart:
    async def test_begins_at_the_end(self, store, hub):
        """The position of each group is known when it returns; nothing is handed out."""
        store.add("a", 3)
        await hub.following.start(["a", "b"])
        assert hub.following.positions(["a", "b", "c"]) == {
            "a": store.positions(["a"])["a"],
            "b": START,
        }
        assert hub.data == []

    async def test_starts_at_once_share_a_question(self, store, hub):
        """A crowd that joins asks once for each group."""
        store.gate = asyncio.Event()
        starts = [asyncio.ensure_future(hub.following.start(["a", "b"])) for _ in range(5)]
        await until(lambda: store.looks)
        starts.append(asyncio.ensure_future(hub.following.start(["b", "c"])))
        await until(lambda: len(store.looks) == 2)
        assert not any(start.done() for start in starts)
        store.gate.set()
        await asyncio.gather(*starts)
        assert store.looks == [["a", "b"], ["c"]]

    async def test_event_that_comes_meanwhile(self, store, hub):
        """One that the position is behind of is read; one that it counts in is not."""
        store.gate = asyncio.Event()
        start = asyncio.ensure_future(hub.following.start(["a"]))
        await until(lambda: store.looks)
        hub.following.receive(store.add("a")[0])
        store.gate.set()
        await start
        hub.following.receive(store.add("a")[0])
        await until(lambda: hub.data)
        assert hub.data == ["a2"]

    async def test_store_that_fails(self, store, hub):
        """Who joins is told; the next one tries again."""
        store.error = OSError("away")
        with pytest.raises(StoreUnavailable, match=r"histories of \['a'\] end: OSError: away"):
            await hub.following.start(["a"])
        assert metrics.store_errors == 1
        assert hub.following.positions(["a"]) == {}
        store.error = None
        await hub.following.start(["a"])
        assert hub.following.positions(["a"]) == {"a": START}

    async def test_store_that_takes_too_long(self, store, hub, settings):
        """As for the layer, there is a bound."""
        settings.DJANGO_SSE = {"CHANNEL_LAYER_TIMEOUT_SECONDS": 0.01}
        store.gate = asyncio.Event()
        with pytest.raises(StoreUnavailable, match="TimeoutError"):
            await hub.following.start(["a"])

    async def test_start_that_is_given_up(self, store, hub):
        """Others wait for the same answer: it comes to them."""
        store.gate = asyncio.Event()
        one, two = (asyncio.ensure_future(hub.following.start(["a"])) for _ in range(2))
        await until(lambda: store.looks)
        one.cancel()
        store.gate.set()
        await two
        assert hub.following.positions(["a"]) == {"a": START}

    async def test_past(self, store, hub):
        """Where so many events follow; a store that fails is told."""
        store.add("a", 5)
        assert (await hub.following.past(["a"], 2))["a"].number == 3
        assert await hub.following.past(["a"], None) == {"a": START}
        store.error = OSError("away")
        with pytest.raises(StoreUnavailable, match="OSError: away"):
            await hub.following.past(["a"], 2)
        assert metrics.store_errors == 1


@pytest.mark.usefixtures("slow_look")
class TestReceive:
    async def test_in_order(self, store, hub):
        """What comes in order is handed out at once, with no question to the store."""
        await hub.following.start(["a"])
        for delivery in store.add("a", 5):
            hub.following.receive(delivery)
        assert hub.data == numbered(5)
        assert store.reads == []

    async def test_out_of_order(self, store, hub):
        """A layer that reorders costs no read, as long as all comes within the grace."""
        await hub.following.start(["a"])
        for delivery in reversed(store.add("a", 5)):
            hub.following.receive(delivery)
            for _ in range(5):
                await asyncio.sleep(0)
        assert hub.data == numbered(5)
        await until(lambda: not hub.following._healing)
        assert store.reads == []
        assert metrics.events_healed == 0

    async def test_gap_is_healed_after_the_grace(self, store, hub):
        """What did not come is read; then what waited is handed out, too."""
        await hub.following.start(["a"])
        events = store.add("a", 6)
        for number in (1, 4, 6):
            hub.following.receive(events[number - 1])
        assert hub.data == ["a1"]
        await until(lambda: len(hub.data) == 6)
        assert hub.data == numbered(6)
        assert store.reads == [("a", 1)]
        for delivery in events:  # Late ones are of no use any more.
            hub.following.receive(delivery)
        assert hub.data == numbered(6)

    async def test_gap_of_many_pieces(self, store, hub, monkeypatch):
        """It is read on until the end."""
        monkeypatch.setattr(module, "_PIECE_EVENTS", 7)
        await hub.following.start(["a"])
        events = store.add("a", 40)
        hub.following.receive(events[-1])
        await until(lambda: len(hub.data) == 40)
        assert hub.data == numbered(40)
        assert metrics.events_healed >= 35

    async def test_events_that_come_while_it_is_healed(self, store, hub):
        """They are handed out behind, once."""
        await hub.following.start(["a"])
        events = store.add("a", 4)
        hub.following.receive(events[2])
        store.gate = asyncio.Event()
        await until(lambda: store.reads)
        hub.following.receive(events[0])
        hub.following.receive(events[3])
        store.gate.set()
        await until(lambda: len(hub.data) == 4)
        await until(lambda: not hub.following._healing)
        assert hub.data == numbered(4)

    async def test_group_that_is_not_followed(self, store, hub):
        """It is ignored: the layer may be late to let go."""
        hub.following.receive(store.add("b")[0])
        assert hub.data == []

    async def test_stop_while_it_is_healed(self, store, hub):
        """Nothing is handed out for a group that was left, nor for one that is joined anew."""
        await hub.following.start(["a"])
        events = store.add("a", 4)
        hub.following.receive(events[2])
        store.gate = asyncio.Event()
        await until(lambda: store.reads)
        hub.following.stop("a")
        gate, store.gate = store.gate, None
        await hub.following.start(["a"])
        gate.set()
        await until(lambda: not hub.following._healing)
        assert hub.data == []
        hub.following.receive(store.add("a")[0])
        assert hub.data == ["a5"]

    async def test_close_while_it_is_healed(self, store, hub):
        """Nothing goes on."""
        await hub.following.start(["a"])
        hub.following.receive(store.add("a", 4)[2])
        store.gate = asyncio.Event()
        await until(lambda: store.reads)
        hub.following.close()
        await until(lambda: not hub.tasks)
        assert hub.data == []


class TestLook:
    @pytest.mark.usefixtures("fast_look")
    async def test_last_event_that_was_lost_is_found(self, store, hub):
        """No later one tells of it; and the layer seems to have forgotten the group."""
        await hub.following.start(["a", "b"])
        store.add("a", 2)
        await until(lambda: hub.data)
        assert hub.data == ["a1", "a2"]
        assert hub.missed == ["a"]
        assert metrics.events_healed == 2

    @pytest.mark.usefixtures("slow_look")
    async def test_look_now(self, store, hub):
        """After a failure of the layer nobody waits for the time."""
        await hub.following.start(["a"])
        store.add("a", 2)
        hub.following.look_now()
        await until(lambda: hub.data)
        assert hub.data == ["a1", "a2"]

    @pytest.mark.usefixtures("fast_look")
    async def test_store_that_fails_and_comes_back(self, store, hub, caplog):
        """What is missing is read when it can be."""
        caplog.set_level(logging.DEBUG, "django.sse")
        await hub.following.start(["a"])
        events = store.add("a", 3)
        store.error = OSError("away")
        hub.following.receive(events[2])
        await until(lambda: "The history of 'a' cannot be read (OSError: away)" in caplog.text)
        await until(lambda: "The store cannot be asked (OSError: away)." in caplog.text)
        assert metrics.store_errors >= 2
        store.error = None
        await until(lambda: len(hub.data) == 3)
        assert hub.data == numbered(3)

    @pytest.mark.usefixtures("fast_look")
    async def test_many_groups_take_turns(self, store, hub, monkeypatch):
        """One look is bounded; each group has its turn."""
        monkeypatch.setattr(module, "_LOOK_GROUPS", 3)
        groups = [f"group {number}" for number in range(10)]
        await hub.following.start(groups)
        store.looks.clear()
        await until(lambda: len(store.looks) >= 8)
        assert max(map(len, store.looks)) <= 3
        assert {group for look in store.looks for group in look} == set(groups)

    @pytest.mark.usefixtures("fast_look")
    async def test_group_that_was_touched_has_its_turn_at_once(self, store, hub, monkeypatch):
        """What has come lately is where something may be missing."""
        monkeypatch.setattr(module, "_LOOK_GROUPS", 2)
        groups = [f"group {number}" for number in range(100)]
        await hub.following.start(groups)
        [first] = store.add("group 77")
        store.add("group 77")  # Lost.
        hub.following.receive(first)
        store.looks.clear()
        await until(lambda: len(hub.data) == 2)
        assert "group 77" in store.looks[0]
        assert hub.missed == []


@pytest.mark.usefixtures("slow_look")
class TestAnotherHistory:
    async def test_reset(self, store, hub, caplog):
        """A history that was lost and begun anew: its readers are told, and it goes on."""
        await hub.following.start(["a"])
        for delivery in store.add("a", 2):
            hub.following.receive(delivery)
        store.begin_anew()
        third = store.add("a", 3)[2]
        hub.following.receive(third)
        await until(lambda: len(hub.data) == 3)
        assert hub.delivered[2].is_reset
        assert hub.delivered[2].event.data == "lost"
        assert hub.delivered[2].position == third.position
        assert "Events of the group 'a' are lost" in caplog.text
        assert metrics.resets_sent == 1
        assert hub.following.resets(["a", "b"]) == {"a": 1}
        hub.following.receive(store.add("a")[0])
        assert hub.data[3:] == ["a4"]

    async def test_shorter_history(self, store, hub):
        """A position beyond the end is one of another history."""
        await hub.following.start(["a"])
        for delivery in store.add("a", 5):
            hub.following.receive(delivery)
        store.begin_anew()
        store.add("a")
        hub.following.look_now()
        await until(lambda: len(hub.data) == 6)
        assert hub.delivered[5].is_reset
        hub.following.receive(store.add("a")[0])
        assert hub.data[6:] == ["a2"]

    async def test_what_was_forgotten(self, store, hub):
        """More was lost than the store keeps: a reset, too."""
        await hub.following.start(["a"])
        store.add("a", 80)
        hub.following.look_now()
        await until(lambda: hub.data)
        assert hub.delivered[0].is_reset
        assert hub.delivered[0].number == 80


@pytest.mark.usefixtures("slow_look")
class TestRead:
    async def test_one_read_for_many_members(self, store, hub):
        """All the clients of a worker come back at once after a restart."""
        store.add("a", 5)
        await hub.following.start(["a"])
        pieces = await asyncio.gather(*[hub.following.read("a", START) for _ in range(50)])
        assert len(store.reads) == 1
        assert all(piece.deliveries is pieces[0].deliveries for piece in pieces)
        assert [d.event.data for d in pieces[0].deliveries] == numbered(5)

    async def test_end_that_is_kept_is_gone_on_from(self, store, hub):
        """A piece stays what it is; what has come since is read behind it."""
        store.add("a", 2)
        await hub.following.start(["a"])
        first = (await hub.following.read("a", START)).deliveries
        assert [one.number for one in first] == [1, 2]
        store.add("a")
        assert (await hub.following.read("a", START)).deliveries == first
        tail, replays = hub.following._tails["a"], hub.following._replays
        rest = (await replays.read(tail, first[-1].position)).deliveries
        assert [one.number for one in rest] == [3]

    async def test_nothing_is_not_kept(self, store, hub):
        """Where nothing follows yet, the store is asked again."""
        store.add("a", 2)
        await hub.following.start(["a"])
        place = (await hub.following.read("a", START)).deliveries[-1].position
        tail, replays = hub.following._tails["a"], hub.following._replays
        assert not (await replays.read(tail, place)).deliveries
        store.add("a")
        assert (await replays.read(tail, place)).deliveries

    async def test_full_piece_is_kept(self, store, hub, monkeypatch):
        """Members that come one after the other share it."""
        monkeypatch.setattr("django_sse.replays._PIECE_EVENTS", 10)
        store.add("a", 25)
        await hub.following.start(["a"])
        for _ in range(3):
            piece = await hub.following.read("a", START)
            assert piece.is_full
            assert len(piece.deliveries) == 10
        assert len(store.reads) == 1

    async def test_reset_forgets_what_was_kept(self, store, hub, monkeypatch):
        """Pieces of a history that is lost are of no use."""
        monkeypatch.setattr("django_sse.replays._PIECE_EVENTS", 10)
        store.add("a", 25)
        await hub.following.start(["a"])
        await hub.following.read("a", START)
        store.begin_anew()
        store.add("a")
        hub.following.look_now()
        await until(lambda: hub.data)
        assert len((await hub.following.read("a", START)).deliveries) == 1

    async def test_failure_is_told_to_each_and_not_kept(self, store, hub):
        """The next one asks again."""
        store.add("a", 5)
        await hub.following.start(["a"])
        store.error = OSError("away")
        reads = [hub.following.read("a", START) for _ in range(3)]
        failed = await asyncio.gather(*reads, return_exceptions=True)
        assert [type(error) for error in failed] == [OSError] * 3
        store.error = None
        assert len((await hub.following.read("a", START)).deliveries) == 5

    async def test_reader_that_gives_up(self, store, hub):
        """The others are still answered."""
        store.add("a", 5)
        await hub.following.start(["a"])
        store.gate = asyncio.Event()
        one, two = (asyncio.ensure_future(hub.following.read("a", START)) for _ in range(2))
        await until(lambda: store.reads)
        one.cancel()
        store.gate.set()
        assert len((await two).deliveries) == 5

    async def test_what_came_since_needs_no_read(self, store, hub):
        """As long as it is watched, the last events are at hand."""
        await hub.following.start(["a"])
        hub.following.watch(["a", "unknown"])
        events = store.add("a", 3)
        for delivery in events:
            hub.following.receive(delivery)
        piece = await hub.following.read("a", events[0].position)
        assert [d.event.data for d in piece.deliveries] == ["a2", "a3"]
        assert store.reads == []
        hub.following.unwatch(["a", "unknown"])
        assert len((await hub.following.read("a", events[0].position)).deliveries) == 2
        assert store.reads == [("a", 1)]

    @pytest.mark.parametrize(
        ("after", "reason"),
        [
            (lambda store: Position(1, "another1"), "outdated"),
            (lambda store: START, "outdated"),
            (lambda store: Position(70, "another1"), "unknown"),
            (lambda store: Position(99, "another1"), "unknown"),
        ],
    )
    async def test_position_that_cannot_be_gone_on_from(
        self, store: Store, hub: Hub, after: Callable[[Store], Position], reason: str
    ) -> None:
        """The reader is told why, and goes on at the end."""
        store.add("a", 80)
        await hub.following.start(["a"])
        piece = await hub.following.read("a", after(store))
        assert piece == ((), store.positions(["a"])["a"], reason, False)
