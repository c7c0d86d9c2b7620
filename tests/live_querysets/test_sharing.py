"""What clients of the same queryset share: one look at each changed row, whoever they are."""

import asyncio
import contextlib
from typing import Any

import pytest
from django.db.models import Prefetch, QuerySet

from django_sse import ModelPublisher, subscribe_queryset
from django_sse.live_querysets import live_query as live_query_module
from django_sse.live_querysets.live_query import _queries
from django_sse.live_querysets.querysets import identity_of
from django_sse.model_publishing.registry import register, unregister
from tests.clients import until
from tests.live_querysets.reading import followers, named, read, rooms
from tests.models import Room


async def test_many_clients_cost_one_look(sync, reads, publisher):
    """A row that changes is read once, and its data are made once, for all who follow."""
    [room] = await sync(rooms, "a")
    async with followers("open", 30) as clients:
        for client in clients:
            assert await read(client, 2) == [("snapshot", 1), ("enter", "a")]
        reads.clear()
        publisher.told.clear()
        await sync(room.save)
        events = [await anext(client) for client in clients]
        assert len(reads) == 1
        assert publisher.told == [("a", "updated")]
        assert {event.event for event in events} == {"change"}
        # They are one object, which is encoded once.
        assert len(set(map(id, events))) == 1


async def test_news_that_come_during_a_look_are_one_batch(sync, reads):
    """However many rows change meanwhile, the next look is one query."""
    found = await sync(rooms, *"abcdef")
    async with subscribe_queryset(named("open")) as events:
        await read(events, 7)
        reads.clear()
        async with reads.gate.held(sync(found[0].save)):
            for room in found[1:] * 3:
                await sync(room.save)
        kinds = await read(events, 6)
        assert sorted(kinds) == [("change", slug) for slug in "abcdef"]
        assert len(reads) == 2


async def test_large_batch_is_read_in_pieces(sync, reads, monkeypatch):
    """A query never has more parameters than databases take."""
    monkeypatch.setattr(live_query_module, "_CHUNK_ROWS", 3)
    found = await sync(rooms, *"abcdefgh")
    async with subscribe_queryset(named("open")) as events:
        await read(events, 9)
        reads.clear()
        async with reads.gate.held(sync(found[0].save)):
            for room in found[1:]:
                await sync(room.save)
        await read(events, 8)
        assert len(reads) == 1 + 3  # Seven rows, three at a time.


async def test_clients_that_come_together_share_the_first_read(sync, reads):
    """Those that come during a read have the next one in common, and each has its snapshot."""
    await sync(rooms, "a")
    async with contextlib.AsyncExitStack() as stack:
        first = subscribe_queryset(named("open"))
        async with reads.gate.held(stack.enter_async_context(first)):
            others = [subscribe_queryset(named("open")) for _ in range(10)]
            await asyncio.gather(*map(stack.enter_async_context, others))
        for client in (first, *others):
            assert await read(client, 2) == [("snapshot", 1), ("enter", "a")]
        assert len(reads) == 2


async def test_change_and_joiner_in_one_read(sync, reads, publisher):
    """A read for a joiner serves the news, too: each is told in its own words."""
    room, _ = await sync(rooms, "a", "b")
    async with subscribe_queryset(named("open")) as one:
        await read(one, 3)
        async with contextlib.AsyncExitStack() as stack:
            async with reads.gate.held(sync(room.save)):
                two = await stack.enter_async_context(subscribe_queryset(named("open")))
                publisher.told.clear()
                await sync(room.save)
                reads.clear()
            assert await read(two, 3) == [("snapshot", 2), ("enter", "a"), ("enter", "b")]
            await read(one, 1)
            assert len(reads) == 1
            # The first look, then the second: for both, and for the one who joins.
            assert publisher.told[1:] == [("a", "created"), ("a", "updated"), ("b", "created")]


async def test_querysets_that_differ_are_two(sync, reads):
    """Each has the rows of its own parameters; a row may go from one to the other."""
    [room] = await sync(rooms, "a")
    async with (
        subscribe_queryset(named("open")) as opened,
        subscribe_queryset(named("closed")) as closed,
    ):
        assert await read(opened, 2) == [("snapshot", 1), ("enter", "a")]
        assert await read(closed, 1) == [("snapshot", 0)]
        reads.clear()
        room.name = "closed"
        await sync(room.save)
        assert await read(opened, 1) == [("leave", room.pk)]
        assert await read(closed, 1) == [("enter", "a")]
        assert len(reads) == 2


async def test_publishers_are_told_apart(sync):
    """The same queryset by two publishers has the data of each."""

    class Other(ModelPublisher):
        live = True
        fields = ["slug"]

    register(Room, Other)
    try:
        [room] = await sync(rooms, "a")
        async with (
            subscribe_queryset(named("open")) as default,
            subscribe_queryset(named("open"), publisher=Other) as other,
        ):
            assert [(await anext(default)).data, (await anext(default)).data] == [
                {"count": 1},
                {"id": room.pk, "slug": "a", "name": "open"},
            ]
            assert [(await anext(other)).data for _ in range(2)] == [{"count": 1}, {"slug": "a"}]
    finally:
        unregister(Room, publisher=Other)


async def test_last_one_ends_it(sync):
    """A query goes on as long as one client is there; then the next one has a new one."""
    async with subscribe_queryset(named("open")) as one:
        async with subscribe_queryset(named("open")) as two:
            assert await read(two, 1) == [("snapshot", 0)]
            [query] = _queries.values()
        assert not query.is_closed
        await sync(rooms, "a")
        assert await read(one, 2) == [("snapshot", 0), ("enter", "a")]
    assert query.is_closed
    async with subscribe_queryset(named("open")) as one:
        assert await read(one, 2) == [("snapshot", 1), ("enter", "a")]
        [query] = _queries.values()
    await until(lambda: all(task.done() for task in query._tasks))


def extra(param: object) -> QuerySet[Room]:
    """Return a queryset with that parameter, as it is."""
    return Room.objects.extra(where=["%s"], params=[param])


def prefetch(*lookups: Any) -> QuerySet[Room]:
    """Return a queryset with what is read beside it; that is not looked at here."""
    return Room.objects.prefetch_related(*lookups)


@pytest.mark.parametrize(
    ("one", "other", "are_same"),
    [
        (Room.objects.filter(pk=1), Room.objects.filter(pk=1), True),
        (Room.objects.filter(pk__in=[1, 2]), Room.objects.filter(pk__in=(1, 2)), True),
        (Room.objects.none(), Room.objects.filter(pk__in=[]), True),
        (Room.objects.filter(pk=1), Room.objects.filter(pk=2), False),
        (extra(1), extra(1), True),
        (extra(1), extra(True), False),
        (extra([1, 2]), extra([1, 2]), True),
        (extra([1, 2]), extra([1, True]), False),
        (Room.objects.order_by("pk"), Room.objects.order_by("-pk"), False),
        (Room.objects.only("slug"), Room.objects.all(), False),
        (Room.objects.using("default"), Room.objects.all(), True),
        (
            prefetch(Prefetch("x", Room.objects.filter(pk=1))),
            prefetch(Prefetch("x", Room.objects.filter(pk=2))),
            False,
        ),
        (prefetch("x"), prefetch("x"), True),
        (prefetch("x"), Room.objects.all(), False),
        (extra({}), extra({}), False),
    ],
)
async def test_identity(sync, one, other, are_same):
    """Only querysets that surely give the same rows, in the same form, are the same."""
    (_, mine), (_, others) = await sync(identity_of, one), await sync(identity_of, other)
    assert (mine == others) is are_same
