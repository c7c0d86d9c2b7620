"""Databases, stores and layers that fail while querysets are followed, and code that does."""

import asyncio
import logging
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer, channel_layers
from django.db import InterfaceError, OperationalError, ProgrammingError

from django_sse import apublish, subscribe_queryset
from django_sse.exceptions import ChannelLayerUnavailable
from django_sse.hub import get_hub
from django_sse.live_querysets import live_query, news
from django_sse.live_querysets.backoff import backoff
from django_sse.live_querysets.live_query import _queries
from django_sse.metrics import metrics
from django_sse.model_publishing.rows import rows_group
from tests.clients import until
from tests.layers.broken import BrokenLayer
from tests.live_querysets.reading import named, read, rooms
from tests.models import Room


@pytest.fixture(autouse=True)
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (live_query, news):
        monkeypatch.setattr(module, "backoff", lambda failures: 0)


class TestDatabase:
    async def test_database_that_is_away_at_first(self, sync, reads, caplog):
        """A client waits for its snapshot until the database is back; the log says it once."""
        await sync(rooms, "a")
        reads.errors = [OperationalError("away"), InterfaceError("away"), OperationalError("away")]
        async with subscribe_queryset(named("open")) as events:
            assert await read(events, 2) == [("snapshot", 1), ("enter", "a")]
        errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
        assert [record.getMessage() for record in errors] == [
            "Rows of tests.Room cannot be read (OperationalError: away); trying on."
        ]
        assert metrics.store_errors == 3

    async def test_changes_while_the_database_is_away(self, sync, reads):
        """They are looked at when it is back: nothing is lost."""
        found = await sync(rooms, *"abc")
        gone = found[1].pk
        async with subscribe_queryset(named("open")) as events:
            await read(events, 4)
            reads.errors = [OperationalError("away")] * 5
            async with reads.gate.held(sync(found[0].save)):
                await sync(found[1].delete)
            assert sorted(await read(events, 2)) == [("change", "a"), ("leave", gone)]
            await sync(found[2].save)
            assert await read(events, 1) == [("change", "c")]

    async def test_joiner_while_the_database_is_away(self, sync, reads):
        """Who joins then, and who leaves again, does not change what others are told."""
        [room] = await sync(rooms, "a")
        async with subscribe_queryset(named("open")) as one:
            await read(one, 2)
            reads.errors = [OperationalError("away")]
            two = subscribe_queryset(named("open"))
            async with reads.gate.held(sync(room.save)), two:
                pass
            assert await read(one, 1) == [("change", "a")]

    async def test_database_that_fails_as_the_data_are_made(self, sync, monkeypatch, publisher):
        """That is no fault of the row: it is read again."""
        errors = [OperationalError("away")]
        get_data = publisher.get_data

        def failing(self: Any, instance: Any, change: str) -> Any:
            if errors:
                raise errors.pop()
            return get_data(self, instance, change)

        monkeypatch.setattr(publisher, "get_data", failing)
        await sync(rooms, "a")
        async with subscribe_queryset(named("open")) as events:
            assert await read(events, 2) == [("snapshot", 1), ("enter", "a")]

    async def test_query_that_is_wrong(self, sync, reads):
        """Its error is raised where the events are read; who comes later begins anew."""
        [room] = await sync(rooms, "a")
        async with (
            subscribe_queryset(named("open")) as one,
            subscribe_queryset(named("open")) as e,
        ):
            await read(one, 2)
            await read(e, 2)
            reads.errors = [ProgrammingError("no such column")]
            await sync(room.save)
            for events in (one, e):
                with pytest.raises(ProgrammingError, match="no such column"):
                    await read(events, 1)
            async with subscribe_queryset(named("open")) as later:
                assert await read(later, 2) == [("snapshot", 1), ("enter", "a")]

    def test_backoff(self):
        """The waits grow, up to five seconds, and differ between processes."""
        assert 0.1 <= backoff(1) <= 0.2
        assert 2.5 <= backoff(1000) <= 5
        assert len({backoff(3) for _ in range(10)}) > 1


class TestData:
    async def test_row_whose_data_cannot_be_made(self, sync, monkeypatch, publisher, caplog):
        """It is left out, and leaves where it was shown; the other rows are told."""
        bad = {"b"}
        get_data = publisher.get_data

        def failing(self: Any, instance: Any, change: str) -> Any:
            if instance.slug in bad:
                raise ZeroDivisionError
            return get_data(self, instance, change)

        monkeypatch.setattr(publisher, "get_data", failing)
        a, b = await sync(rooms, "a", "b")
        async with subscribe_queryset(named("open")) as events:
            assert await read(events, 2) == [("snapshot", 1), ("enter", "a")]
            assert "<Room: b> cannot be told, and is left out." in caplog.text
            bad.clear()
            await sync(b.save)
            assert await read(events, 1) == [("enter", "b")]
            bad.add("a")
            await sync(a.save)
            assert await read(events, 1) == [("leave", a.pk)]

    async def test_data_that_cannot_be_written(self, sync, monkeypatch, publisher, caplog):
        """What is no JSON is the same."""
        monkeypatch.setattr(publisher, "get_data", lambda self, instance, change: {"x": object()})
        await sync(rooms, "a")
        async with subscribe_queryset(named("open")) as events:
            assert await read(events, 1) == [("snapshot", 0)]
        assert "cannot be told, and is left out." in caplog.text


class TestNews:
    async def test_layer_that_fails_at_first(self):
        """Entering raises, as that of subscribe() does; nothing is left, and later it works."""
        channel_layers.set("default", BrokenLayer())
        events = subscribe_queryset(named("open"))
        with pytest.raises(ChannelLayerUnavailable, match=r"rows\.tests\.room"):
            await events.__aenter__()
        with pytest.raises(RuntimeError, match="inside its block"):
            await anext(events)
        get_hub().link._layer = InMemoryChannelLayer()
        async with events:
            assert await read(events, 1) == [("snapshot", 0)]

    async def test_reader_that_loses_news(self, sync, settings, caplog):
        """Without a store news may be lost; then all is read anew."""
        settings.DJANGO_SSE = {"QUEUE_MAX_BYTES": 100}
        [room] = await sync(rooms, "a")
        async with subscribe_queryset(named("open")) as events:
            assert await read(events, 2) == [("snapshot", 1), ("enter", "a")]
            await sync(Room.objects.filter(pk=room.pk).update, name="closed")
            await sync(Room.objects.bulk_create, [Room(slug="b", name="open")])
            group = rows_group(Room)
            await asyncio.gather(*(apublish(group, str(10**40 + n)) for n in range(5)))
            assert await read(events, 2) == [("leave", room.pk), ("enter", "b")]
            assert "The news of tests.Room fail (EventsDropped: " in caplog.text
            assert metrics.store_errors == 1
            await sync(rooms, "c")
            assert await read(events, 1) == [("enter", "c")]


class TestEnds:
    async def test_reader_that_is_cancelled_as_it_joins(self, reads):
        """The others, and the query, do not notice; after the last one nothing goes on."""
        layer = SlowLayer()
        channel_layers.set("default", layer)

        async def follow() -> None:
            async with subscribe_queryset(named("open")) as events:
                await anext(events)

        one, two = asyncio.create_task(follow()), asyncio.create_task(follow())
        await layer.is_asked.wait()
        await until(lambda: len(next(iter(_queries.values()))._joining) == 2)
        [query] = _queries.values()
        one.cancel()
        await asyncio.wait({one})
        layer.go_on.set()
        await two
        assert query.is_closed
        await until(lambda: all(task.done() for task in query._tasks))
        assert len(reads) == 1

    async def test_reader_that_leaves_as_its_rows_are_read(self, sync, reads):
        """Nobody is given them; those who stay go on."""
        await sync(rooms, "a")
        async with subscribe_queryset(named("open")) as one:
            await read(one, 2)
            two = subscribe_queryset(named("open"))
            async with reads.gate.held(two.__aenter__()):
                await two.__aexit__(None, None, None)
            await sync(rooms, "b")
            assert await read(one, 1) == [("enter", "b")]
            assert not two._unread

    def test_loop_that_ends_while_it_is_read(self, reads):
        """Nothing of it is left when another one follows the same queryset."""

        async def begin() -> None:
            events = subscribe_queryset(named("open"))
            await events.__aenter__()
            assert await read(events, 1) == [("snapshot", 0)]
            get_hub().dispose()

        for _ in range(2):
            asyncio.run(begin())
        assert len(reads) == 2
        assert len(_queries) == 1
        _queries.clear()


class SlowLayer(InMemoryChannelLayer):
    """A layer that takes its time to let somebody into a group."""

    def __init__(self) -> None:
        super().__init__()
        self.is_asked, self.go_on = asyncio.Event(), asyncio.Event()

    async def group_add(self, group: str, channel: str) -> None:
        self.is_asked.set()
        await self.go_on.wait()
        await super().group_add(group, channel)
