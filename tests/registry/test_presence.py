"""Who is in a group, and what it is told of who comes and goes."""

import asyncio
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError

from django_sse import EventStream, EventStreamView, aconnections, event_stream, subscribe
from django_sse.models import Membership, PresentUser
from django_sse.reasons import CloseReason
from django_sse.registry.presence import reconcile
from django_sse.registry.record import Record
from django_sse.stores.database_reading import group_key
from django_sse.testing import StreamClient
from django_sse.visitors import Visitor
from tests.clients import TIMEOUT
from tests.registry.conftest import Seen, open_many
from tests.registry.test_connections import add_dead_worker

pytestmark = pytest.mark.registry

ADA, BEN = Visitor(user_id="1"), Visitor(user_id="2")


async def open_present(visitor: Visitor, *groups: str) -> EventStream:
    [stream] = await open_many(1, visitor=visitor)
    await stream.subscribe(*groups, presence=True)
    return stream


async def test_users_of_a_group_are_each_there_once(alias: str, seen: Seen) -> None:
    """Two tabs are two connections of one user."""
    await open_many(2, "room", visitor=ADA)
    await open_many(1, "room", "other", visitor=BEN)
    await open_many(1, "room")
    assert sorted((await seen(4, group="room")).users) == ["1", "2"]
    assert (await aconnections(group="other")).users == ("2",)
    assert len(await aconnections(user=1)) == 2
    assert await aconnections(group="other", user=1) == ()


async def test_group_is_told_once_of_each_user(alias: str) -> None:
    """By the first tab that joins, and the last that leaves."""
    async with subscribe("room") as events:
        tabs = [await open_present(ADA, "room") for _ in range(2)]
        event = await anext(events)
        assert (event.event, event.data) == ("user_joined", {"user": "1"})
        tabs[0].end(CloseReason.CLIENT)
        other = await open_present(BEN, "room")
        event = await anext(events)
        assert (event.event, event.data) == ("user_joined", {"user": "2"})
        tabs[1].end(CloseReason.CLIENT)
        event = await anext(events)
        assert (event.event, event.data) == ("user_left", {"user": "1"})
        await other.unsubscribe("room")
        event = await anext(events)
        assert (event.event, event.data) == ("user_left", {"user": "2"})


async def test_only_groups_that_ask_are_told(
    sqlite_alias: str, seen: Seen, in_thread: Any
) -> None:
    """And of nobody who is not logged in."""
    await open_many(1, "room", visitor=ADA)
    await open_present(Visitor(), "room")
    stream = await open_present(BEN, "asks")
    await stream.subscribe("asks not")
    await seen(3)
    rows = PresentUser.objects.using(sqlite_alias)
    assert await in_thread(lambda: [row.group_json for row in rows.all()]) == ['"asks"']


async def test_users_of_a_killed_worker_have_left(alias: str, in_thread: Any) -> None:
    """Whoever cleans up behind it tells the group."""

    def add() -> None:
        add_dead_worker(alias)
        Membership.objects.using(alias).update(present_user_id="7", group_key="key")
        assert [change[1:] for change in reconcile(alias)] == [("7", True)]

    await in_thread(add)
    async with subscribe("a") as events:
        await open_many(1, "room")
        event = await anext(events)
        assert (event.event, event.data) == ("user_left", {"user": "7"})


@pytest.mark.parametrize("ended", ["in order", "killed"])
async def test_user_who_comes_back_to_another_worker_is_told_again(
    ended: str, alias: str, in_thread: Any
) -> None:
    """
    A page that asked in between has not seen them, and must be told.

    Their worker has ended, so that connections() is without them. They come back before anybody
    has looked whom the group has lost.
    """

    def end_worker() -> None:
        PresentUser(group_key=group_key("room"), group_json='"room"', user_id="1").save(
            using=alias
        )
        if ended == "killed":
            add_dead_worker(alias)
            Membership.objects.using(alias).update(
                present_user_id="1", group_key=group_key("room"), group_json='"room"'
            )

    await in_thread(end_worker)
    assert (await aconnections(group="room")).users == ()
    async with subscribe("room") as events:
        await open_present(ADA, "room")
        async with asyncio.timeout(TIMEOUT):
            told = [await anext(events), await anext(events)]
    assert [(event.event, event.data) for event in told] == [
        ("user_left", {"user": "1"}),
        ("user_joined", {"user": "1"}),
    ]


async def test_departure_is_told_though_the_rows_could_not_be_written(
    sqlite_alias: str, in_thread: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the group has lost is known only once: it is kept until the registry is written."""
    fails = iter([OperationalError("away")])
    write_rows = Record._write_rows

    def fail_first(self: Record, *args: Any) -> None:
        for error in fails:
            raise error
        write_rows(self, *args)

    monkeypatch.setattr(Record, "_write_rows", fail_first)
    row = PresentUser(group_key=group_key("room"), group_json='"room"', user_id="1")
    await in_thread(lambda: row.save(using=sqlite_alias))
    async with subscribe("room") as events:
        await open_present(BEN, "room")
        async with asyncio.timeout(TIMEOUT):
            told = [await anext(events), await anext(events)]
    assert [(event.event, event.data) for event in told] == [
        ("user_left", {"user": "1"}),
        ("user_joined", {"user": "2"}),
    ]
    assert next(fails, None) is None


def test_two_workers_tell_of_each_change_once(database: str) -> None:
    """Both find it, and one of them has it."""
    Membership.objects.using(database).create(
        connection_id="c", worker_id="w", group_key="k", group_json='"a"', present_user_id="1"
    )
    assert len(reconcile(database)) == 1
    assert reconcile(database) == []
    Membership.objects.using(database).all().delete()
    assert len(reconcile(database)) == 1
    assert reconcile(database) == []


async def test_options_ask_for_presence(
    sqlite_alias: str, route: Any, seen: Seen, in_thread: Any, asgi: StreamClient
) -> None:
    """A decorator, a class and subscribe() each let their groups be told."""

    async def logged_in(request: Any) -> bool:
        request.user = type("User", (), {"pk": 5, "get_username": lambda self: "eve"})()
        return True

    @event_stream(groups="decorated", presence=True, guard=logged_in)
    async def decorated(request: Any, stream: EventStream) -> None: ...

    @event_stream(guard=logged_in)
    async def reading(request: Any) -> Any:
        async with subscribe("read", presence=True) as events:
            yield "ready"
            async for event in events:
                yield event

    class Classy(EventStreamView):
        groups = "class"
        presence = True

        async def has_access(self) -> bool:
            return await logged_in(self.request)

    route("decorated/", decorated)
    route("reading/", reading)
    route("class/", Classy.as_view())
    for path in ("/decorated/", "/reading/", "/class/"):
        await (await asgi.open(path)).next_frame()
    await seen(3, user=5)
    present = Membership.objects.using(sqlite_alias).filter(present_user_id="5")
    groups = await in_thread(lambda: sorted(row.group for row in present))
    assert groups == ["class", "decorated", "read"]


async def test_presence_needs_the_registry(settings: Any) -> None:
    """Who asks for it without one is told at once."""
    settings.DJANGO_SSE = {"REGISTRY": False}
    [stream] = await open_many(1)
    with pytest.raises(ImproperlyConfigured, match="REGISTRY"):
        await stream.subscribe("room", presence=True)
    with pytest.raises(ImproperlyConfigured, match="REGISTRY"):
        subscribe("room", presence=True)
