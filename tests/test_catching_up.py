"""Catching up: from where one reader was to where its audience is, each event once."""

import asyncio
from collections.abc import Iterable
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_sse import apublish
from django_sse.audiences import Audience
from django_sse.batches import Batch
from django_sse.catching_up import CatchUp, _in_step
from django_sse.envelope import Delivery
from django_sse.history import Entry
from django_sse.hub import Hub, get_hub
from django_sse.places import Place
from django_sse.positions import START, Position
from django_sse.readers import Readers
from django_sse.replays import Piece
from django_sse.runs import Item
from django_sse.stores import get_store
from tests.clients import TIMEOUT, until

pytestmark = pytest.mark.history


def store() -> Any:
    """Return the project's store."""
    return get_store()


class Reader:
    """A member that keeps what it was handed."""

    def __init__(self) -> None:
        self.audience: Audience | None = None
        self.data: list[Any] = []

    def take(self, batch: Batch) -> None:
        self.add(batch.items)

    def join(self, readers: Readers) -> None: ...

    def part(self) -> None: ...

    def add(self, items: Iterable[Item]) -> None:
        self.data += [item.event.data for item in items]

    @property
    def is_live(self) -> bool:
        return self.audience is not None and self in self.audience.live


class Way:
    """A reader on its way, and the hub."""

    hub: Any

    def __init__(self, hub: Hub, reader: Reader, place: Place) -> None:
        self.hub, self.reader = hub, reader
        self.catch_up = CatchUp(hub, reader, place)

    async def go(self) -> None:
        """Read until the reader is live."""
        async with asyncio.timeout(TIMEOUT):
            while (items := await self.catch_up.read()) is not None:
                self.reader.add(items)


async def begin(*groups: str, at: dict[str, Position] | None = None) -> Way:
    """Return a new reader of *groups*, who was *at* some positions; START is the default."""
    hub, reader = get_hub(), Reader()
    await hub.join(reader, groups)
    return Way(hub, reader, Place(at or dict.fromkeys(groups, START)))


async def until_handed_out(hub: Any, group: str, number: int) -> None:
    await until(lambda: hub.following.positions([group])[group].number >= number)


def watchers(hub: Hub, group: str) -> int:
    assert hub.following is not None
    return hub.following._tails[group]._watchers


class TestRead:
    async def test_reads_up_to_the_audience(self):
        """All that was missed; then the reader is live, and is handed what comes."""
        for number in range(3):
            await apublish("a", number)
        way = await begin("a")
        assert not way.reader.is_live
        await way.go()
        assert way.reader.is_live
        await apublish("a", "live")
        await until(lambda: len(way.reader.data) == 4)
        assert way.reader.data == [0, 1, 2, "live"]

    async def test_is_live_in_the_step_of_the_last_read(self):
        """What comes between two reads is read; behind the last one there is no gap."""
        await apublish("a", 0)
        way = await begin("a")
        for number in range(1, 50):
            items = await way.catch_up.read()
            assert items is not None
            way.reader.add(items)
            await apublish("a", number)
            await until_handed_out(way.hub, "a", number + 1)
            assert not way.reader.is_live
        await way.go()
        assert way.reader.data == list(range(50))

    async def test_publishing_goes_on(self):
        """Whatever the interleaving of what is published and what is read."""
        way = await begin("a", "b")

        async def publish_all() -> None:
            for number in range(200):
                await apublish([["a"], ["b"], ["a", "b"]][number % 3], number)

        publishing = asyncio.ensure_future(publish_all())
        await way.go()
        await publishing
        await until(lambda: len(way.reader.data) == 200)
        assert sorted(way.reader.data) == list(range(200))
        for group in (0, 1):
            own = [number for number in way.reader.data if number % 3 in (group, 2)]
            assert own == sorted(own)

    async def test_readers_that_begin_at_one_place(self):
        """Each has its own way from there."""
        for number in range(3):
            await apublish("a", number)
        place = Place({"a": START})
        ways = []
        for _ in range(3):
            reader = Reader()
            await get_hub().join(reader, ["a"])
            ways.append(Way(get_hub(), reader, place))
        for way in ways:
            await way.go()
        assert [way.reader.data for way in ways] == [[0, 1, 2]] * 3
        assert place.positions == {"a": START}

    async def test_reader_that_is_ahead_of_its_hub(self, monkeypatch):
        """It comes from another worker, which was quicker: this one is brought there, too."""
        hub, first = get_hub(), Reader()
        await hub.join(first, ["a"])
        entries = store().append(["a"], {"data": "x", "mark": "m" * 8})
        way = await begin("a", at={"a": entries[0].position})
        await way.go()
        assert way.reader.data == []
        assert way.reader.is_live
        hub.gathering.flush()
        assert first.data == ["x"]

    async def test_history_that_is_lost_meanwhile(self):
        """The reader is told like the others, whatever it has read before."""
        await apublish("a", 1)
        way = await begin("a")
        items = await way.catch_up.read() or ()
        store()._processes.clear()
        await apublish("a", "other")
        await apublish("a", "history")
        way.hub.following.look_now()
        await until(lambda: way.hub.following.resets(["a"]) == {"a": 1})
        await way.go()
        assert [item.event.data for item in items] == [1]
        assert way.reader.data == ["lost"]
        assert way.reader.is_live


class TestFailures:
    @pytest.fixture
    async def way(self, monkeypatch) -> Way:
        """A reader of two groups, the second of which cannot be read yet."""
        for number in range(3):
            await apublish("a", f"a{number}")
            await apublish("b", f"b{number}")
        way = await begin("a", "b")
        self.gate, self.error = asyncio.Event(), cast("Exception | None", None)
        aread = store().aread

        async def read(group: str, after: Position, limit: int) -> Any:
            if group == list(way.catch_up.place.positions)[-1]:
                await self.gate.wait()
                if self.error is not None:
                    raise self.error
            return await aread(group, after, limit)

        monkeypatch.setattr(store(), "aread", read)
        return way

    async def test_store_that_fails(self, way):
        """What was read of the other group before is not lost with it."""
        self.gate.set()
        self.error = OSError("away")
        for _ in range(3):
            with pytest.raises(OSError, match="away"):
                await way.catch_up.read()
        self.error = None
        await way.go()
        assert sorted(way.reader.data) == ["a0", "a1", "a2", "b0", "b1", "b2"]

    async def test_reading_that_is_given_up(self, way):
        """So it is with a wait that is cancelled."""
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await way.catch_up.read()
        self.gate.set()
        await way.go()
        assert sorted(way.reader.data) == ["a0", "a1", "a2", "b0", "b1", "b2"]

    @pytest.mark.parametrize("left", [0, 1])
    async def test_group_that_is_left_meanwhile(self, way, left):
        """Its events are not handed out; those of the other are."""
        groups = list(way.catch_up.place.positions)
        reading = asyncio.ensure_future(way.catch_up.read())
        await asyncio.sleep(0)
        way.hub.leave(way.reader, [groups[left]])
        way.catch_up.regroup()
        self.gate.set()
        way.reader.add(await reading or ())
        await way.go()
        assert way.reader.data == [f"{groups[1 - left]}{number}" for number in range(3)]


class TestRegroup:
    async def test_new_group(self):
        """It begins at the audience's place, or where it is wanted."""
        for group in ("a", "b", "c"):
            await apublish(group, group)
        way = await begin("a")
        await way.hub.join(way.reader, ["b", "c"])
        audience = way.reader.audience
        assert audience is not None
        way.catch_up.regroup(Place({**audience.place.positions, "c": START}))
        await way.go()
        assert sorted(way.reader.data) == ["a", "c"]

    async def test_what_is_known_in_a_new_group(self):
        """An event that the reader has from another group is passed over in the new one."""
        await apublish(["a", "b"], "both")
        await apublish(["a", "b"], "more")
        [first, last] = (await store().aread("b", START, 10)).entries
        way = await begin("a", at={"a": last.position})
        await way.hub.join(way.reader, ["b"])
        way.catch_up.regroup(Place({"a": START, "b": START}, {first.mark: frozenset("b")}))
        await way.go()
        assert way.reader.data == ["more"]

    async def test_all_groups_are_left(self):
        """There is nothing to catch up with; a group that comes again begins anew."""
        await apublish("a", "old")
        way = await begin("a")
        way.hub.leave(way.reader)
        way.catch_up.regroup()
        assert await way.catch_up.read() is None
        await way.hub.join(way.reader, ["a"])
        way.catch_up.regroup()
        assert not way.reader.is_live
        await apublish("a", "new")
        await way.go()
        await until(lambda: way.reader.data)
        assert way.reader.data == ["new"]

    async def test_what_is_watched(self):
        """The tails keep events for it as long as it is on its way, and no longer."""
        way = await begin("a")
        assert watchers(way.hub, "a") == 1
        await way.hub.join(way.reader, ["b"])
        way.catch_up.regroup()
        assert (watchers(way.hub, "a"), watchers(way.hub, "b")) == (1, 1)
        way.hub.leave(way.reader, ["a"])
        way.catch_up.regroup()
        assert (watchers(way.hub, "a"), watchers(way.hub, "b")) == (0, 1)
        way.catch_up.close()
        way.catch_up.close()
        assert watchers(way.hub, "b") == 0


GROUPS = ("a", "b", "c")


def histories(events: list[frozenset[str]], orders: list[int]) -> dict[str, list[Delivery]]:
    """Return the groups' histories; publishers of several at once may cross."""
    found: dict[str, list[Entry]] = {group: [] for group in GROUPS}
    for group in GROUPS:
        mine = [index for index, groups in enumerate(events) if group in groups]
        for place in orders if group == "b" else []:
            if place + 1 < len(mine):
                mine[place], mine[place + 1] = mine[place + 1], mine[place]
        for index in mine:
            before = found[group][-1].mark if found[group] else START.mark
            message = {"data": str(index), "mark": f"{index:08}", "groups": sorted(events[index])}
            number = len(found[group]) + 1
            found[group].append(Entry(group, number, f"{index:08}", before, message))
    return {group: [Delivery.of(entry) for entry in found[group]] for group in GROUPS}


@given(
    events=st.lists(st.frozensets(st.sampled_from(GROUPS), min_size=1), max_size=40),
    orders=st.lists(st.integers(0, 40), max_size=10),
    size=st.integers(1, 12),
    starts=st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40)),
)
def test_pieces_of_any_size_come_in_step(
    events: list[frozenset[str]],
    orders: list[int],
    size: int,
    starts: tuple[int, int, int],
) -> None:
    """From any positions on all is read, in each group's order, and reading always goes on."""
    all_of = histories(events, orders)
    place = Place(dict.fromkeys(GROUPS, START))
    for group, start in zip(GROUPS, starts, strict=True):
        for delivery in all_of[group][:start]:
            place.take(delivery, GROUPS)
    read: dict[str, list[int | None]] = {group: [] for group in GROUPS}
    while True:
        left = {
            g: [d for d in all_of[g] if (d.number or 0) > place.positions[g].number]
            for g in GROUPS
        }
        if not any(left.values()):
            break
        pieces = {
            group: Piece(rest[:size], is_full=len(rest) >= size)
            for group, rest in left.items()
            if rest
        }
        step = 0
        for delivery in _in_step(pieces, place):
            place.take(delivery, GROUPS)
            read[delivery.group].append(delivery.number)
            step += 1
        assert step
    for group, start in zip(GROUPS, starts, strict=True):
        end = len(all_of[group])
        assert read[group] == list(range(min(start, end) + 1, end + 1))


def test_copies_come_together() -> None:
    """However different the histories are, few events are ahead, and ids stay short."""
    events = [frozenset("b")] * 500 + [frozenset("ab")] * 500 + [frozenset("a")] * 300
    events += [frozenset("abc")] * 100
    all_of = histories(events, [])
    place = Place(dict.fromkeys(GROUPS, START))
    most, count = 0, 0
    while count < sum(map(len, all_of.values())):
        pieces = {}
        for group in GROUPS:
            rest = all_of[group][place.positions[group].number :]
            if rest:
                pieces[group] = Piece(rest[:50], is_full=len(rest) >= 50)
        for delivery in _in_step(pieces, place):
            place.take(delivery, GROUPS)
            most, count = max(most, len(place._ahead)), count + 1
    assert most == 1
