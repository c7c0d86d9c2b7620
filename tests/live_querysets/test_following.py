"""subscribe_queryset(): the rows that match, and what becomes of them, with no gap between."""

import asyncio
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import transaction

from django_sse import ModelPublisher, ServerSentEvent, apublish, subscribe_queryset
from django_sse.hub import get_hub
from django_sse.metrics import metrics
from django_sse.model_publishing.registry import register, unregister
from django_sse.model_publishing.rows import rows_group
from django_sse.stores import get_store
from tests.clients import until
from tests.live_querysets.reading import Page, named, read, rooms
from tests.models import Room

pytestmark = pytest.mark.history


class UserPublisher(ModelPublisher):
    """Tells of users."""

    live = True
    fields = ["id"]


class TestSnapshot:
    async def test_begins_with_the_rows_that_match(self, sync):
        """A snapshot with their number comes first, then each, in the queryset's order."""
        await sync(rooms, "b", "a", "c")
        await sync(rooms, "x", name="closed")
        async with subscribe_queryset(named("open").order_by("-slug")) as events:
            assert await anext(events) == ServerSentEvent({"count": 3}, event="snapshot")
            assert await read(events, 3) == [("enter", "c"), ("enter", "b"), ("enter", "a")]

    async def test_no_row(self, sync):
        """Where nothing matches a page is told so: it empties its list."""
        for queryset in (named("open"), Room.objects.none()):
            async with subscribe_queryset(queryset) as events:
                assert await read(events, 1) == [("snapshot", 0)]

    async def test_data_is_what_the_publisher_gives(self, sync, publisher):
        """A row that enters is told as one that is created, one that changes as one updated."""
        [room] = await sync(rooms, "a")
        publisher.told.clear()
        async with subscribe_queryset(named("open")) as events:
            await read(events, 1)
            data = {"id": room.pk, "slug": "a", "name": "open"}
            assert await anext(events) == ServerSentEvent(data, event="enter")
            assert publisher.told == [("a", "created")]
            await sync(room.save)
            assert await anext(events) == ServerSentEvent(data, event="change")
            assert publisher.told[-1] == ("a", "updated")

    async def test_row_that_a_join_gives_twice(self, sync):
        """It is told once."""
        await sync(rooms, "a")
        user = await sync(User.objects.create, username="ada")
        groups = [await sync(Group.objects.create, name=name) for name in "ab"]
        await sync(user.groups.set, groups)
        register(User, UserPublisher)
        try:
            queryset = User.objects.filter(groups__name__in=["a", "b"])
            async with subscribe_queryset(queryset) as events:
                assert await read(events, 2) == [("snapshot", 1), ("enter", user.pk)]
        finally:
            unregister(User)


class TestRows:
    @pytest.fixture
    async def events(self, sync: Any) -> Any:
        await sync(rooms, "a", "b")
        await sync(rooms, "x", "y", name="closed")
        async with subscribe_queryset(named("open")) as events:
            assert await read(events, 3) == [("snapshot", 2), ("enter", "a"), ("enter", "b")]
            yield events

    async def save(self, sync, of, **values):
        def change():
            room = Room.objects.get(slug=of)
            for name, value in values.items():
                setattr(room, name, value)
            room.save()
            return room.pk

        return await sync(change)

    async def test_row_that_starts_to_match(self, events, sync):
        """It enters."""
        await self.save(sync, "x", name="open")
        assert await read(events, 1) == [("enter", "x")]

    async def test_row_that_changes_while_it_matches(self, events, sync):
        """It is told to have changed, with its new data."""
        await self.save(sync, "b", slug="c")
        assert await read(events, 1) == [("change", "c")]

    async def test_row_that_stops_to_match(self, events, sync):
        """It leaves, by its primary key."""
        pk = await self.save(sync, "a", name="closed")
        assert await anext(events) == ServerSentEvent({"id": pk}, event="leave")

    async def test_row_that_is_new(self, events, sync):
        """It enters if it matches."""
        await sync(rooms, "z", name="closed")
        await sync(rooms, "c")
        assert await read(events, 1) == [("enter", "c")]

    async def test_row_that_is_deleted(self, events, sync):
        """It leaves if it matched."""
        [pk] = await sync(lambda: [*named("open").filter(slug="b").values_list("pk", flat=True)])
        await sync(named("closed").delete)
        await sync(named("open").filter(slug="b").delete)
        assert await read(events, 1) == [("leave", pk)]

    async def test_bulk_update_that_is_told_of(self, events, sync, publisher):
        """What Django sends no signal of is followed when it is published."""

        def swap():
            Room.objects.filter(slug="a").update(name="closed")
            Room.objects.filter(slug="x").update(name="open")
            publisher.publish(Room.objects.filter(slug__in=["a", "b", "x"]))

        await sync(swap)
        kinds = [kind for kind, _ in await read(events, 3)]
        assert sorted(kinds) == ["change", "enter", "leave"]

    async def test_row_that_does_not_match_and_changes(self, events, sync):
        """Nothing is told of it."""
        await self.save(sync, "y", slug="yy")
        await self.save(sync, "b", slug="bb")
        assert await read(events, 1) == [("change", "bb")]

    async def test_rollback(self, events, sync):
        """What did not happen is not told."""

        def fail():
            with transaction.atomic():
                rooms("c")
                transaction.set_rollback(True)

        await sync(fail)
        await self.save(sync, "b", slug="bb")
        assert await read(events, 1) == [("change", "bb")]


class TestGaps:
    """Nothing is missed, whenever it is committed."""

    async def test_update_before_the_snapshot_is_read(self, sync, reads):
        """What is committed after the joining, and before the query, is in the snapshot."""
        [room] = await sync(rooms, "a")
        async with subscribe_queryset(named("open")) as events:
            async with reads.gate.held():
                await sync(rooms, "b")
                await sync(room.delete)
            assert await read(events, 2) == [("snapshot", 1), ("enter", "b")]
            await sync(rooms, "c")
            found = await read(events, 1)
            while found != [("enter", "c")]:  # It may be told once more of what it has read.
                assert found == [("change", "b")]
                found = await read(events, 1)

    async def test_update_after_the_snapshot_is_read(self, sync, publisher):
        """What is committed when the query is over, and before it is told, is told after it."""
        [room, other] = await sync(rooms, "a", "b")
        pk = room.pk
        async with subscribe_queryset(named("open")) as events:
            async with publisher.gate.held():
                await sync(room.delete)
                await sync(rooms, "c")
                await sync(Room.objects.filter(pk=other.pk).update, slug="bb")
                await sync(publisher.publish, Room.objects.filter(pk=other.pk))
            page = Page()
            async with asyncio.timeout(5):
                while sorted(row["slug"] for row in page.rows.values()) != ["bb", "c"]:
                    page.apply(await anext(events))
            assert pk not in page.rows

    async def test_row_that_changes_during_the_look_at_it(self, sync, reads, publisher):
        """It is looked at once more."""
        [room] = await sync(rooms, "a")
        async with subscribe_queryset(named("open")) as events:
            assert await read(events, 2) == [("snapshot", 1), ("enter", "a")]
            async with publisher.gate.held(sync(room.save)):
                room.name = "closed"
                await sync(room.save)
            assert await read(events, 2) == [("change", "a"), ("leave", room.pk)]

    async def test_joiner_reveals_what_others_have_not_been_told(self, sync):
        """What a snapshot finds is told to those who follow already: all are at one state."""
        [room] = await sync(rooms, "a")
        async with subscribe_queryset(named("open")) as one:
            assert await read(one, 2) == [("snapshot", 1), ("enter", "a")]
            # Nobody is told of it.
            await sync(Room.objects.filter(pk=room.pk).update, name="closed")
            await sync(Room.objects.bulk_create, [Room(slug="b", name="open")])
            async with subscribe_queryset(named("open")) as two:
                assert await read(two, 2) == [("snapshot", 1), ("enter", "b")]
            assert await read(one, 2) == [("leave", room.pk), ("enter", "b")]
            # It is told once: the next one reveals nothing.
            async with subscribe_queryset(named("open")) as three:
                assert await read(three, 2) == [("snapshot", 1), ("enter", "b")]
            await sync(rooms, "c")
            assert await read(one, 1) == [("enter", "c")]

    async def test_history_that_is_lost(self, sync):
        """After a reset all is read anew: what has come, gone, or may have changed is told."""
        gone, stays = await sync(rooms, "a", "b")
        async with subscribe_queryset(named("open")) as events:
            await read(events, 3)
            await sync(Room.objects.filter(pk=gone.pk).update, name="closed")
            await sync(Room.objects.filter(pk=stays.pk).update, slug="bb")
            await sync(Room.objects.bulk_create, [Room(slug="c", name="open")])
            await lose_history()
            assert await read(events, 3) == [
                ("leave", gone.pk),
                ("change", "bb"),
                ("enter", "c"),
            ]
            assert metrics.store_errors == 0


async def lose_history() -> None:
    """Let the history of the rooms' news begin anew, as when its Redis forgets all."""
    group = rows_group(Room)
    await apublish(group, "0")
    store: Any = get_store()
    store._processes.clear()
    await apublish(group, "0")
    following = get_hub().following
    assert following is not None
    following.look_now()


class TestMerging:
    """Of each row at most one event waits for a slow reader."""

    async def test_row_that_changes_often_while_unread(self, sync, publisher):
        """Its newest state is told, once."""
        [room] = await sync(rooms, "a")
        async with (
            subscribe_queryset(named("open")) as slow,
            subscribe_queryset(named("open")) as e,
        ):
            await read(slow, 2)
            await read(e, 2)
            for number in range(5):
                room.slug = f"a{number}"
                await sync(room.save)
                assert await read(e, 1) == [("change", f"a{number}")]
            assert await read(slow, 1) == [("change", "a4")]
            assert not slow._unread

    async def test_merges(self, sync):
        """What is unread of a row, and what follows, come to one event, or to none."""
        _, left, back = await sync(rooms, "a", "b", "c")
        async with (
            subscribe_queryset(named("open")) as slow,
            subscribe_queryset(named("open")) as e,
        ):
            await read(slow, 4)
            await read(e, 4)
            [new] = await sync(rooms, "d")  # enter + change
            await read(e, 1)
            new.slug = "dd"
            await sync(new.save)
            assert await read(e, 1) == [("change", "dd")]
            [brief] = await sync(rooms, "e")  # enter + leave
            await read(e, 1)
            await sync(brief.delete)
            await read(e, 1)
            await sync(left.save)  # change + leave
            await read(e, 1)
            pk = left.pk
            await sync(left.delete)
            await read(e, 1)
            for name in ("closed", "open"):  # leave + enter
                back.name = name
                await sync(back.save)
                await read(e, 1)
            assert [await read(slow, 1) for _ in range(3)] == [
                [("enter", "dd")],
                [("leave", pk)],
                [("change", "c")],
            ]
            assert not slow._unread


class TestSeveral:
    async def test_reading_in_views_and_tasks(self, sync):
        """Each reader has all events, whenever it came."""
        await sync(rooms, "a")
        async with subscribe_queryset(named("open")) as one:
            assert await read(one, 2) == [("snapshot", 1), ("enter", "a")]
            async with subscribe_queryset(named("open")) as two:
                assert await read(two, 2) == [("snapshot", 1), ("enter", "a")]
                await sync(rooms, "b")
                assert await read(one, 1) == await read(two, 1) == [("enter", "b")]
            await sync(rooms, "c")
            assert await read(one, 1) == [("enter", "c")]

    async def test_enter_again(self, sync):
        """A second block begins with a snapshot of its own."""
        events = subscribe_queryset(named("open"))
        for number in range(2):
            async with events:
                assert await read(events, 1) == [("snapshot", number)]
                await sync(rooms, f"a{number}")
                await until(lambda: events._unread)

    async def test_hub_holds_nothing_afterwards(self):
        """After the block neither a group nor a task of it is left."""
        async with subscribe_queryset(named("open")) as events:
            tasks = set(get_hub()._tasks)
            assert await read(events, 1) == [("snapshot", 0)]
            assert list(get_hub().audiences)
        await until(lambda: not list(get_hub().audiences))
        await until(lambda: len(get_hub()._tasks) == len(tasks) - 2)
