"""subscribe(): the events of groups in code of one's own."""

import asyncio
from typing import Any

import pytest
from channels.layers import channel_layers

from django_sse import ServerSentEvent, apublish, broadcast, events_dropped, publish, subscribe
from django_sse.exceptions import ChannelLayerUnavailable, EventsDropped, InvalidGroup
from django_sse.hub import get_hub
from django_sse.metrics import metrics
from tests.clients import TIMEOUT, until
from tests.layers.broken import BrokenLayer


async def read(events: Any, count: int) -> list[Any]:
    async with asyncio.timeout(TIMEOUT):
        return [(await anext(events)).data for _ in range(count)]


class TestReading:
    async def test_nothing_is_missed_from_the_first_line_on(self):
        """What is published inside the block is read, before the reading begins too."""
        async with subscribe("a") as events:
            await apublish("a", 1)
            publish("a", "two")
            await apublish("a", {"three": 3})
            # On the loop's own thread publish() queues, apublish() waits: either may come first.
            received = await read(events, 3)
        assert received[0] == 1
        assert sorted(map(str, received[1:])) == ["two", "{'three': 3}"]

    async def test_events_have_their_fields(self):
        """An event is read as it was published, with its data parsed again."""
        async with subscribe("a") as events:
            await apublish("a", {"x": [1, None]}, event="e", retry=5)
            assert await anext(events) == ServerSentEvent({"x": [1, None]}, event="e", retry=5)

    async def test_iterates_until_the_block_ends(self):
        """async for goes on event by event."""
        received = []
        async with subscribe("a") as events:
            for number in range(3):
                await apublish("a", number)
            async for event in events:
                received.append(event.data)
                if len(received) == 3:
                    break
        assert received == [0, 1, 2]

    async def test_several_groups(self):
        """The events of all its groups are read; one of several groups once."""
        async with subscribe("a", "b", "a") as events:
            await apublish("a", 1)
            await apublish(["a", "b"], 2)
            await apublish("c", "not this")
            await apublish("b", 3)
            assert await read(events, 3) == [1, 2, 3]

    async def test_no_broadcast(self):
        """A broadcast is for open streams; a subscription has its groups only."""
        async with subscribe("a") as events:
            broadcast("for streams")
            await apublish("a", "for it")
            assert await read(events, 1) == ["for it"]

    async def test_where(self):
        """Only the events for which it is true are read."""
        async with subscribe("a", where=lambda event: event.data > 1) as events:
            for number in range(4):
                await apublish("a", number)
            assert await read(events, 2) == [2, 3]

    async def test_where_that_fails(self):
        """Its error is raised where the events are read, behind those that came before."""
        async with subscribe("a", where=lambda event: event.data["ok"]) as events:
            await apublish("a", {"ok": True})
            await apublish("a", {})
            await apublish("a", {"ok": True})
            assert await read(events, 1) == [{"ok": True}]
            for _ in range(2):
                with pytest.raises(KeyError, match="ok"):
                    await anext(events)

    async def test_a_wait_that_is_given_up(self):
        """A time limit on the reading loses nothing."""
        async with subscribe("a") as events:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.001):
                    await anext(events)
            await apublish("a", "later")
            assert await read(events, 1) == ["later"]

    async def test_two_readers(self):
        """Each subscription reads all events of its groups."""
        async with subscribe("a") as one, subscribe("a") as two:
            await apublish("a", 1)
            assert await read(one, 1) == await read(two, 1) == [1]


class TestEnds:
    async def test_leaves_at_the_end(self):
        """After the block the hub holds nothing of it."""
        async with subscribe("a"):
            assert list(get_hub().audiences)
        assert not list(get_hub().audiences)
        assert not list(get_hub().audiences.of("a"))

    async def test_leaves_when_the_code_fails(self):
        """So it is when the block ends by an error, or is cancelled."""
        with pytest.raises(ZeroDivisionError):
            async with subscribe("a"):
                _ = 1 / 0
        assert not list(get_hub().audiences)

        async def wait() -> None:
            async with subscribe("a") as events:
                await anext(events)

        task = asyncio.create_task(wait())
        await until(lambda: list(get_hub().audiences))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert not list(get_hub().audiences)

    async def test_read_outside_the_block(self):
        """Before and after it there is nothing to read: an error shows the form."""
        events = subscribe("a")
        with pytest.raises(RuntimeError, match=r"async with subscribe\(...\) as events"):
            await anext(events)
        async with events:
            await apublish("a", 1)
        with pytest.raises(RuntimeError, match="inside its block"):
            await anext(events)

    async def test_enter_again(self, settings):
        """A second block starts with nothing of the first."""
        settings.DJANGO_SSE = {"QUEUE_MAX_BYTES": 50}
        events = subscribe("a")
        for number in range(3):
            async with events:
                await apublish("a", "x" * 20)
                await apublish("a", number)
                assert await read(events, 1) == ["x" * 20]
        async with events:
            await apublish("a", "last")
            assert await read(events, 1) == ["last"]

    async def test_enter_while_it_is_open(self):
        """The blocks of one subscription cannot overlap: the second is an error."""
        async with subscribe("a") as events:
            with pytest.raises(RuntimeError, match="open already"):
                await events.__aenter__()
            await apublish("a", 1)
            assert await read(events, 1) == [1]


class TestOverflow:
    @pytest.fixture(autouse=True)
    def limit(self, settings: Any) -> None:
        settings.DJANGO_SSE = {"QUEUE_MAX_BYTES": 100}

    async def test_slow_reader_is_told(self):
        """A reader that is too far behind is told that it has lost events, and by which limit."""
        dropped: list[tuple[Any, int]] = []

        async def receiver(stream: Any, count: int, **kwargs: Any) -> None:
            dropped.append((stream, count))

        events_dropped.connect(receiver)
        try:
            async with subscribe("b", "a") as events:
                for _ in range(3):
                    await apublish("a", "x" * 40)
                text = r"3 events of \['a', 'b'\] .* over DJANGO_SSE\['QUEUE_MAX_BYTES'\] = 100"
                await until(lambda: metrics.events_dropped)
                with pytest.raises(EventsDropped, match=text):
                    await anext(events)
                await until(lambda: dropped)
            assert dropped == [(events, 3)]
        finally:
            events_dropped.disconnect(receiver)

    async def test_what_comes_after_is_not_read(self):
        """After the loss nothing more is read: the place is lost."""
        async with subscribe("a") as events:
            for _ in range(3):
                await apublish("a", "x" * 40)
            await until(lambda: metrics.events_dropped)
            await apublish("a", "more")
            for _ in range(2):
                with pytest.raises(EventsDropped):
                    await anext(events)

    async def test_reading_makes_room(self):
        """Only what waits counts."""
        async with subscribe("a") as events:
            for _ in range(10):
                await apublish("a", "x" * 40)
                assert await read(events, 1) == ["x" * 40]

    async def test_key_conflates(self):
        """Of the events of one key the newest waits, and counts."""
        async with subscribe("a") as events, subscribe("a") as other:
            for number in range(50):
                await apublish("a", f"{number:030}", key="k")
            await apublish("a", "last")
            while (await read(other, 1)) != ["last"]:
                pass
            assert await read(events, 2) == [f"{49:030}", "last"]

    async def test_one_large_event(self):
        """One event alone is never too much for a reader that has read the others."""
        async with subscribe("a") as events:
            await apublish("a", "x" * 500)
            assert await read(events, 1) == ["x" * 500]


class TestMistakes:
    def test_no_group(self):
        """Without a group there is nothing to read."""
        with pytest.raises(InvalidGroup, match=r"subscribe\(\) was given no group"):
            subscribe()

    @pytest.mark.parametrize("group", [5, "", None, b"a", ["a"]])
    def test_group_that_is_no_name(self, group):
        """A group of the wrong type is an error where subscribe() is called."""
        with pytest.raises(InvalidGroup, match="must be a string"):
            subscribe("a", group)

    def test_too_many_groups(self, settings):
        """So are more than MAX_GROUPS."""
        settings.DJANGO_SSE = {"MAX_GROUPS": 2}
        with pytest.raises(InvalidGroup, match="3 groups are more than"):
            subscribe("a", "b", "c")

    def test_where_that_is_no_function(self):
        """And a where= that cannot be asked."""
        with pytest.raises(TypeError, match="where='x' must be a sync function"):
            subscribe("a", where="x")  # type: ignore[arg-type]

    async def test_layer_that_fails(self):
        """A layer that is down is told on entering; then nothing can be read."""
        channel_layers.set("default", BrokenLayer())
        events = subscribe("a")
        with pytest.raises(ChannelLayerUnavailable, match=r"into \['a'\]: ConnectionError"):
            await events.__aenter__()
        with pytest.raises(RuntimeError, match="inside its block"):
            await anext(events)
        assert metrics.layer_errors == 1
