"""disconnect(): whom it ends, how, and that a lossy channel layer does not matter."""

import asyncio
import datetime
import logging
import threading
from typing import Any

import pytest
from channels.layers import channel_layers
from django.core.exceptions import SynchronousOnlyOperation
from django.db import transaction
from django.utils import timezone

from django_sse import EventStream, aconnections, adisconnect, disconnect, event_stream
from django_sse.control import aend_streams
from django_sse.exceptions import InvalidGroup
from django_sse.groups import BROADCAST, layer_group
from django_sse.hub import get_hub
from django_sse.metrics import metrics
from django_sse.models import Connection, DatabaseNow, Worker
from django_sse.orders import ORDER_TYPE, Order
from django_sse.reasons import CloseReason
from django_sse.testing import StreamClient
from django_sse.visitors import Visitor, session_digest
from tests.clients import until
from tests.fake_layer import FakeLayer
from tests.registry.conftest import Seen, open_many
from tests.servers.waiting import eventually

pytestmark = pytest.mark.registry

ADA = Visitor(user_id="1", session=session_digest("ada's"))
BEN = Visitor(user_id="2", session=session_digest("ben's"))


@pytest.fixture
def unregistered(settings: Any) -> None:
    settings.DJANGO_SSE = {"REGISTRY": False}


@pytest.mark.parametrize(
    ("whose", "ended"),
    [
        ({"user": 1}, {"ada", "ada's other"}),
        ({"user": type("User", (), {"pk": 2})()}, {"ben"}),
        ({"session": "ada's"}, {"ada", "ada's other"}),
        ({"session": type("Session", (), {"session_key": "ben's"})()}, {"ben"}),
        ({"group": "room"}, {"ada", "ben", "guest"}),
        ({"group": "room", "user": "1"}, {"ada"}),
        ({"connection": "guest"}, {"guest"}),
        ({"connection": "guest", "user": 1}, set()),
        ({"user": 3}, set()),
    ],
)
@pytest.mark.parametrize("has_registry", [True, False])
async def test_disconnect_ends_those_for_which_all_is_true(
    whose: Any, ended: set[str], has_registry: bool, sqlite_alias: str, settings: Any, seen: Seen
) -> None:
    """By user, session, group and connection, and what is returned is their number."""
    if not has_registry:
        settings.DJANGO_SSE = {"REGISTRY": False}
    named = {
        "ada": (await open_many(1, "room", visitor=ADA))[0],
        "ada's other": (await open_many(1, "other", visitor=ADA))[0],
        "ben": (await open_many(1, "room", visitor=BEN))[0],
        "guest": (await open_many(1, "room"))[0],
    }
    if has_registry:
        await seen(4)
    if whose.get("connection"):
        whose = {**whose, "connection": named["guest"].id}
    assert await adisconnect(**whose) == len(ended)
    await until(lambda: sum(s.reason is not None for s in named.values()) == len(ended))
    assert {name for name, s in named.items() if s.reason is CloseReason.DISCONNECTED} == ended


async def test_disconnect_from_a_thread(sqlite_alias: str, seen: Seen, in_thread: Any) -> None:
    """A management command or a sync view does the same."""
    [stream] = await open_many(1, "room", visitor=ADA)
    await seen(1)
    assert await in_thread(disconnect, user=1) == 1
    await until(lambda: stream.reason is CloseReason.DISCONNECTED)
    await seen(0)


async def test_disconnect_on_the_thread_of_a_loop(unregistered: None) -> None:
    """It would hold up all streams: the error names the one to be awaited."""
    with pytest.raises(SynchronousOnlyOperation, match="adisconnect"):
        disconnect(user=1)


def test_disconnect_of_nothing_is_a_mistake() -> None:
    """It would be every stream of every user."""
    with pytest.raises(TypeError, match="user="):
        disconnect()


def test_disconnect_of_a_group_that_is_no_name() -> None:
    """As everywhere."""
    with pytest.raises(InvalidGroup):
        disconnect(group="")


async def test_client_is_told_to_come_back_much_later(unregistered: None) -> None:
    """The last bytes are a reconnection time, five to fifteen times the usual, and spread."""
    streams = await open_many(20, "room")
    written = {stream: bytearray() for stream in streams}
    for stream in streams:
        stream._send = collecting(written[stream])
    await adisconnect(group="room")
    await until(lambda: all(stream.is_finished for stream in streams))
    pauses = [int(data.removeprefix(b"retry: ")) for data in map(bytes, written.values())]
    assert all(15_000 <= pause <= 45_000 for pause in pauses)
    assert len(set(pauses)) > 10


def collecting(into: bytearray) -> Any:
    async def send(message: Any) -> None:
        into.extend(message["body"])

    return send


async def test_order_that_the_layer_loses_is_found_in_the_registry(
    alias: str, seen: Seen, monkeypatch: Any
) -> None:
    """Without a word by the channel layer, and to a hub that is not of the caller's process."""
    monkeypatch.setattr("django_sse.control._has_others", lambda order: False)
    [stream, other] = await open_many(2, "room", visitor=ADA)
    await seen(2)
    assert await adisconnect(connection=stream.id) == 1
    await eventually(lambda: stream.reason)
    assert stream.reason is CloseReason.DISCONNECTED
    assert other.reason is None


async def test_reason_of_another_version(sqlite_alias: str, seen: Seen, in_thread: Any) -> None:
    """A worker obeys a newer one, whose word it does not know."""
    [stream] = await open_many(1, "room")
    await seen(1)
    rows = Connection.objects.using(sqlite_alias)
    await in_thread(lambda: rows.update(closing="from the future"))
    await eventually(lambda: stream.reason)
    assert stream.reason is CloseReason.DISCONNECTED


async def test_order_goes_to_every_hub(unregistered: None) -> None:
    """It is one message to the group of all, and carries no key of a session."""
    channel_layers.set("default", layer := FakeLayer())
    assert await adisconnect(session="secret key") == 0
    assert layer.called("group_send") == [layer_group(BROADCAST)]
    message = layer.inbox.get_nowait()
    assert "secret" not in str(message)
    assert Order.unpack(message) == Order.of(session="secret key")


async def test_hub_obeys_what_the_layer_brings(unregistered: None) -> None:
    """As from another process."""
    [stream] = await open_many(1, "room", visitor=ADA)
    get_hub().receive(Order.of(user=1, reason=CloseReason.LOGGED_OUT).to_message())
    assert stream.reason is CloseReason.LOGGED_OUT


async def test_hub_survives_an_order_that_is_none(unregistered: None, caplog: Any) -> None:
    """Whatever comes, the receiving goes on."""
    get_hub().receive({"type": ORDER_TYPE, "user": "1"})
    assert "is not an event" in caplog.text


@pytest.mark.parametrize("is_sync", [True, False])
async def test_layer_that_fails(
    is_sync: bool, unregistered: None, in_thread: Any, caplog: Any
) -> None:
    """It is logged and counted; the caller's work goes on, and the own streams end."""
    [stream] = await open_many(1, "room", visitor=ADA)
    channel_layers.set("default", layer := FakeLayer())
    layer.failures["group_send"] = [OSError("no Redis")]
    if is_sync:
        assert await in_thread(disconnect, user=1) == 1
    else:
        assert await adisconnect(user=1) == 1
    await until(lambda: stream.reason is not None)
    assert metrics.layer_errors == 1
    assert "no Redis" in caplog.text


async def test_registry_that_fails(sqlite_alias: str, settings: Any, caplog: Any) -> None:
    """The workers are told all the same."""
    settings.DJANGO_SSE = {"REGISTRY": "nowhere"}
    [stream] = await open_many(1, "room", visitor=ADA)
    with caplog.at_level(logging.WARNING):
        assert await adisconnect(user=1) == 1
    await until(lambda: stream.reason is not None)
    assert "is not in the registry" in caplog.text
    assert metrics.registry_errors


async def test_ended_streams_are_not_seen_any_more(sqlite_alias: str, seen: Seen) -> None:
    """The rows go a second later."""
    await open_many(3, "room")
    await seen(3)
    assert await adisconnect(group="room") == 3
    await seen(0)
    assert await aconnections(group="room") == ()


def add_connection(alias: str) -> None:
    """Let another worker, that lives, have one stream of user 1."""
    in_an_hour = DatabaseNow() + datetime.timedelta(hours=1)
    at = {"started_at": timezone.now(), "lease_until": in_an_hour}
    Worker(id="other", hostname="host", pid=1, **at).save(using=alias)
    opened = {"worker_id": "other", "opened_at": timezone.now()}
    Connection(id="theirs", user_id="1", **opened).save(using=alias)


def closing(alias: str) -> str:
    return Connection.objects.using(alias).get(pk="theirs").closing


async def test_disconnect_is_no_part_of_the_callers_transaction(
    server_alias: str, in_thread: Any
) -> None:
    """Others see it before the commit, and a rollback does not take it back."""
    alias = server_alias
    await in_thread(add_connection, alias)
    release = threading.Event()

    def in_transaction() -> int:
        with transaction.atomic(using=alias):
            Worker.objects.using(alias).update(pid=2)
            count = disconnect(user=1)
            assert release.wait(10)
            transaction.set_rollback(True, using=alias)
        return count

    async def is_noted() -> bool:
        return bool(await in_thread(closing, alias) == "disconnected")

    call = asyncio.ensure_future(in_thread(in_transaction))
    try:
        await eventually(is_noted)
    finally:
        release.set()
    assert await call == 1
    assert await is_noted()


async def test_disconnect_in_a_transaction_that_has_taken_the_file(
    sqlite_alias: str, in_thread: Any
) -> None:
    """On SQLite nobody else may write then: it is noted when the transaction is over."""
    await in_thread(add_connection, sqlite_alias)

    def in_transaction() -> int:
        with transaction.atomic(using=sqlite_alias):
            Worker.objects.using(sqlite_alias).update(pid=2)
            return disconnect(user=1)

    assert await in_thread(in_transaction) == 1

    async def is_noted() -> bool:
        return bool(await in_thread(closing, sqlite_alias) == "disconnected")

    await eventually(is_noted)
    assert metrics.registry_errors == 0


async def test_disconnect_in_a_broken_transaction(alias: str, in_thread: Any) -> None:
    """Nothing can be asked there; the order goes out all the same."""
    await in_thread(add_connection, alias)

    def in_transaction() -> int:
        with transaction.atomic(using=alias):
            transaction.set_rollback(True, using=alias)
            return disconnect(user=1)

    async def is_noted() -> bool:
        return bool(await in_thread(closing, alias) == "disconnected")

    await in_thread(in_transaction)
    await eventually(is_noted)


async def test_disconnect_in_a_test_case(sqlite_alias: str, in_thread: Any) -> None:
    """There it is part of the test's own transaction, and undone with it."""

    def in_test() -> tuple[int, str]:
        atomics: Any = transaction.atomic(using=sqlite_alias)
        atomics._from_testcase = True  # As Django's TestCase does it.
        with atomics:
            add_connection(sqlite_alias)
            found = disconnect(user=1), closing(sqlite_alias)
            transaction.set_rollback(True, using=sqlite_alias)
        return found

    assert await in_thread(in_test) == (1, "disconnected")
    assert await in_thread(Connection.objects.using(sqlite_alias).count) == 0


async def test_stream_that_is_being_opened_obeys(
    unregistered: None, asgi: StreamClient, route: Any
) -> None:
    """What is ordered while its view is at work is not missed."""
    begun, go_on = asyncio.Event(), asyncio.Event()
    streams: list[EventStream] = []

    @event_stream(groups="room")
    async def view(request: Any, stream: EventStream) -> None:
        streams.append(stream)
        begun.set()
        await go_on.wait()

    route("view/", view)
    opening = asyncio.ensure_future(asgi.open("/view/"))
    await begun.wait()
    await adisconnect(group="room")
    await until(lambda: streams[0].reason is not None)
    go_on.set()
    exchange = await opening
    assert exchange.status == 200
    retry = int((await exchange.ended()).split(b"\n\n")[-2].removeprefix(b"retry: "))
    assert retry >= 15_000
    assert streams[0].reason is CloseReason.DISCONNECTED
    assert get_hub().size == 0


async def test_client_of_one_who_has_logged_out_comes_back_soon(unregistered: None) -> None:
    """Who has changed the password has another session by then, and is logged in all the same."""
    streams = await open_many(20, "room", visitor=ADA)
    written = {stream: bytearray() for stream in streams}
    for stream in streams:
        stream._send = collecting(written[stream])
    await aend_streams(Order.of(user=1, reason=CloseReason.LOGGED_OUT))
    await until(lambda: all(stream.is_finished for stream in streams))
    pauses = [int(data.removeprefix(b"retry: ")) for data in map(bytes, written.values())]
    assert all(3_000 <= pause <= 6_000 for pause in pauses)
    assert len(set(pauses)) > 10


async def test_guard_that_refuses_many_streams_of_one_user_gives_one_order(
    unregistered: None, monkeypatch: Any
) -> None:
    """It has asked all of them; those of another user have their own."""
    orders: list[Order] = []

    async def tell(order: Order) -> None:
        orders.append(order)

    monkeypatch.setattr("django_sse.registrar.tell_workers", tell)
    streams = await open_many(50, "room", visitor=ADA) + await open_many(1, "room", visitor=BEN)
    for stream in streams:
        stream.end(CloseReason.GUARD)
    await until(lambda: len(orders) >= 2)
    await until(lambda: get_hub().size == 0)
    assert sorted(str(order.user) for order in orders) == ["1", "2"]


async def test_guard_that_refuses_again_later_gives_another_order(
    unregistered: None, monkeypatch: Any
) -> None:
    """It may be another right that has gone meanwhile."""
    orders: list[Order] = []

    async def tell(order: Order) -> None:
        orders.append(order)

    monkeypatch.setattr("django_sse.registrar.tell_workers", tell)
    monkeypatch.setattr("django_sse.registrar._GUARD_SECONDS", 0.01)
    first, second = await open_many(2, "room", visitor=ADA)
    first.end(CloseReason.GUARD)
    registrar: Any = get_hub().observer
    await until(lambda: len(orders) == 1 and not registrar._refused)
    second.end(CloseReason.GUARD)
    await until(lambda: len(orders) == 2)
