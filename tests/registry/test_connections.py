"""What the registry has of open streams, and connections() of the registry."""

import datetime
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone

from django_sse import EventStream, aconnections, apublish, connections, event_stream, subscribe
from django_sse.exceptions import InvalidGroup
from django_sse.hub import get_hub
from django_sse.models import Connection, DatabaseNow, Membership, Worker
from django_sse.reasons import CloseReason
from django_sse.testing import areset
from tests.registry.conftest import Opened, Seen, open_many
from tests.servers.waiting import eventually

pytestmark = pytest.mark.registry


async def room(request: Any, stream: EventStream) -> None: ...


async def test_open_streams_are_there_and_gone_when_they_end(
    alias: str, open_at: Opened, route: Any, seen: Seen
) -> None:
    """About a second after it opened a stream is in the registry, with all that is known of it."""
    route("rooms/ä/", event_stream(groups=["room", "müde"])(room), name="room")
    first = await open_at("/rooms/ä/")
    [one] = await seen(1)
    assert one.groups == ("müde", "room")
    assert (one.view, one.path, one.address) == ("room", "/rooms/%C3%A4/", "127.0.0.1")
    assert one.user_id is None
    assert one.worker.rpartition(":")[2].isdecimal()
    second = await open_at("/rooms/ä/")
    assert one in await seen(2)
    first.disconnect()
    [other] = await seen(1)
    assert other != one
    second.disconnect()
    await seen(0)


async def test_groups_that_a_stream_joins_and_leaves_later(
    sqlite_alias: str, open_at: Opened, route: Any, seen: Seen
) -> None:
    """The registry follows the groups of a stream."""
    streams: list[EventStream] = []

    @event_stream(groups="first")
    async def view(request: Any, stream: EventStream) -> None:
        streams.append(stream)

    route("view/", view)
    await open_at("/view/")
    await seen(1, group="first")
    await streams[0].subscribe("second")
    [one] = await seen(1, group="second")
    assert one.groups == ("first", "second")
    await streams[0].unsubscribe("first")
    await seen(0, group="first")
    [one] = await seen(1, group="second")
    assert one.groups == ("second",)


async def test_groups_that_a_generator_reads(
    sqlite_alias: str, open_at: Opened, route: Any, seen: Seen
) -> None:
    """A view that reads by subscribe() watches its groups as one that has them."""

    @event_stream
    async def view(request: Any) -> Any:
        async with subscribe("read") as events:
            yield "ready"
            async for event in events:
                yield event
                break
        async with subscribe("then") as events:
            async for event in events:
                yield event

    route("view/", view)
    exchange = await open_at("/view/")
    await seen(1, group="read")
    await apublish("read", "go on")
    await exchange.next_event()
    await exchange.next_event()
    await seen(1, group="then")
    await seen(0, group="read")


async def test_burst_of_five_thousand_makes_a_dozen_statements(
    alias: str, statements: list[str], seen: Seen
) -> None:
    """However many streams open, they are written together, by statements of many rows."""
    streams = await open_many(5000, "room", "other")
    await until_written(alias, 5000)
    made = made_by_burst(statements)
    assert len(made) <= 12, [sql[:80] for sql in made]
    del statements[:]
    for stream in streams:
        stream.end(CloseReason.CLIENT)
    await until_written(alias, 0)
    made = made_by_burst(statements)
    assert len(made) <= 12, [sql[:80] for sql in made]


def made_by_burst(statements: list[str]) -> list[str]:
    """Return *statements* without this test's own, and what is asked every other second."""
    asked = (
        "SELECT COUNT",
        'SELECT "django_sse_connection"."id" AS "pk", "django_sse_connection"',
    )
    return [sql for sql in statements if not sql.replace("`", '"').startswith(asked)]


async def until_written(alias: str, count: int) -> None:
    async def holds() -> bool:
        members = await Membership.objects.using(alias).acount()
        return await Connection.objects.using(alias).acount() == count and members == 2 * count

    await eventually(holds, within=120)


async def test_events_and_heartbeats_write_nothing(
    sqlite_alias: str, statements: list[str], settings: Any, seen: Seen
) -> None:
    """Between two renewals only the registry is asked what to close, whatever is sent."""
    settings.DJANGO_SSE = {**settings.DJANGO_SSE, "LEASE_SECONDS": 3600}
    [stream] = await open_many(1, "room")
    await seen(1)
    del statements[:]
    for number in range(100):
        await apublish("room", str(number))
        stream.write(stream.heartbeat())
    await eventually(lambda: stream.events_sent == 100)
    await eventually(lambda: len(statements) >= 2)
    assert {sql.partition(" ")[0] for sql in statements} == {"SELECT"}


async def test_counts_are_written_with_the_lease(sqlite_alias: str, seen: Seen) -> None:
    """What a stream has been sent is in the registry some time later, and the worker's counts."""
    await open_many(1, "room")
    await seen(1)
    await apublish("room", "hello")

    async def holds() -> bool:
        [one] = await aconnections()
        worker = await Worker.objects.using(sqlite_alias).aget()
        is_told = one.events_sent == worker.counters["events_sent"] == 1
        return is_told and one.bytes_sent > 10 and worker.counters["streams_open"] == 1

    await eventually(holds)


async def test_shutdown_deletes_the_rows(sqlite_alias: str, seen: Seen, in_thread: Any) -> None:
    """A process that ends in order leaves nothing behind."""
    await open_many(2, "room")
    await seen(2)
    await areset()
    for model in (Worker, Connection, Membership):
        assert await in_thread(model.objects.using(sqlite_alias).count) == 0


async def test_rows_of_an_expired_worker_are_deleted(
    alias: str, seen: Seen, in_thread: Any
) -> None:
    """A worker that does not renew its lease is gone for readers at once, then for good."""
    await in_thread(add_dead_worker, alias)
    assert await in_thread(connections) == ()
    await open_many(1, "room")
    await seen(1)
    await eventually(lambda: in_thread(lambda: not rows_of_dead_worker(alias)))


def add_dead_worker(alias: str) -> None:
    past = DatabaseNow() - datetime.timedelta(seconds=1)
    dead = Worker(id="dead", hostname="host", pid=1, started_at=timezone.now(), lease_until=past)
    dead.save(using=alias)
    left = Connection(id="left", worker_id="dead", opened_at=timezone.now())
    left.save(using=alias)
    Membership(connection_id="left", worker_id="dead", group_json='"a"').save(using=alias)
    assert len(rows_of_dead_worker(alias)) == 3


def rows_of_dead_worker(alias: str) -> list[Any]:
    return [
        *Worker.objects.using(alias).filter(id="dead"),
        *Connection.objects.using(alias).filter(worker="dead"),
        *Membership.objects.using(alias).filter(worker="dead"),
    ]


async def test_worker_whose_rows_were_taken_away_writes_them_anew(
    alias: str, seen: Seen, in_thread: Any, caplog: Any
) -> None:
    """One that stood still for longer than its lease comes back with all of its streams."""
    await open_many(2, "room")
    before = await seen(2)

    def delete() -> None:
        for model in (Membership, Connection, Worker):
            model.objects.using(alias).all().delete()

    await in_thread(delete)
    after = await seen(2, group="room")
    assert {one.id for one in after} == {one.id for one in before}
    assert "had run out" in caplog.text


async def test_worker_whose_clock_is_wrong(alias: str, seen: Seen, monkeypatch: Any) -> None:
    """Leases go by the clock of the database alone."""
    wrong = timezone.now() + datetime.timedelta(days=400)
    monkeypatch.setattr(timezone, "now", lambda: wrong)
    await open_many(1, "room")
    [one] = await seen(1)
    assert one.opened_at.year == wrong.year
    lease = await Worker.objects.using(alias).aget()
    assert lease.lease_until < wrong - datetime.timedelta(days=300)


async def test_registry_can_be_turned_off(
    settings: Any, statements: list[str], open_at: Opened, route: Any
) -> None:
    """Then streams make no statement, and who asks for connections is told why not."""
    settings.DJANGO_SSE = {"REGISTRY": False}
    route("room/", event_stream(groups="room")(room))
    exchange = await open_at("/room/")
    await apublish("room", "x")
    await exchange.next_event()
    assert not statements
    registrar: Any = get_hub().observer
    assert not registrar._changed
    with pytest.raises(ImproperlyConfigured, match="REGISTRY"):
        await aconnections()


def test_group_that_is_no_name(sqlite_alias: str) -> None:
    """A mistake is told, where an empty answer would hide it."""
    with pytest.raises(InvalidGroup):
        connections(group="")


async def test_odd_characters_do_not_keep_rows_from_being_written(
    alias: str, open_at: Opened, route: Any, seen: Seen
) -> None:
    """What a client may bring in its path is written so that every database takes it."""
    route("rooms/<path:name>/", event_stream(groups="room \0 \U0001f600")(named))
    await open_at("/rooms/%00%F0%9F%98%80'%22/")
    [one] = await seen(1)
    assert one.path == "/rooms/%00%F0%9F%98%80'%22/"
    assert one.groups == ("room \0 \U0001f600",)


async def named(request: Any, stream: EventStream, name: str) -> None: ...
