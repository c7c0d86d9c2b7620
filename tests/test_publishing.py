"""Publishing: from wherever code runs, in transactions and out of them, and when it cannot."""

import asyncio
import contextlib
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import async_to_sync
from channels.layers import InMemoryChannelLayer
from django.core.exceptions import ImproperlyConfigured
from django.core.management import BaseCommand, call_command
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse

from django_sse import (
    EventStream,
    ServerSentEvent,
    abroadcast,
    apublish,
    broadcast,
    event_stream,
    publish,
    subscribe,
)
from django_sse.exceptions import EventTooLarge, InvalidEvent, InvalidGroup
from django_sse.metrics import metrics
from django_sse.testing import StreamClient
from tests.clients import TIMEOUT, until
from tests.services import free_port, require_redis

RETRY = b"retry: 3000\n\n"


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What has been given to the channel layer: the group and the data of each event."""
    calls: list[tuple[str, str]] = []
    group_send = InMemoryChannelLayer.group_send

    async def record(self: Any, group: str, message: Any) -> None:
        calls.append((message["group"], message["data"]))
        await group_send(self, group, message)

    monkeypatch.setattr("django_sse.sending.hand", lambda *arguments: False)
    monkeypatch.setattr(InMemoryChannelLayer, "group_send", record)
    return calls


class TestCallers:
    """Each kind of code that publishes; the others are where their layer or server is."""

    async def test_publish_from_a_view_in_a_transaction(
        self, asgi: StreamClient, route: Any, transactional_db: None
    ) -> None:
        """The streams hear of it after the commit."""
        events: list[str] = []

        @event_stream(groups="orders")
        async def orders(request: HttpRequest, stream: EventStream) -> None:
            pass

        @transaction.atomic
        def place(request: HttpRequest) -> HttpResponse:
            publish("orders", "placed")
            publish("orders", "at once", on_commit=False)
            transaction.on_commit(lambda: events.append("committed"))
            return HttpResponse("ok")

        route("orders/", orders)
        route("place/", place)
        stream = await asgi.open("/orders/")
        assert (await asgi.get("/place/", method="POST")).body == b"ok"
        assert (await stream.next_event()).data == "at once"
        assert (await stream.next_event()).data == "placed"
        assert events == ["committed"]

    async def test_publish_from_many_threads(self) -> None:
        """Each thread's events arrive in its order, on the loop that serves."""

        def work(worker: int) -> None:
            for number in range(20):
                publish("room", [worker, number], on_commit=False)

        async with subscribe("room") as events, asyncio.TaskGroup() as tasks:
            for worker in range(6):
                tasks.create_task(asyncio.to_thread(work, worker))
            received = [(await anext(events)).data for _ in range(120)]
        for worker in range(6):
            numbers = [number for sender, number in received if sender == worker]
            assert numbers == list(range(20))

    def test_publish_from_a_management_command(self, sent: list[tuple[str, str]]) -> None:
        """The event has been sent when the command returns."""

        class Command(BaseCommand):
            def handle(self, *args: Any, **options: Any) -> None:
                publish("room", "done", on_commit=False)

        call_command(Command())
        assert sent == [("room", "done")]

    def test_publish_on_a_loop_that_serves_nothing(self, sent: list[tuple[str, str]]) -> None:
        """It queues, as it must not wait; apublish() does not wait for what is queued."""

        async def main() -> None:
            publish("room", 1, on_commit=False)
            publish("room", 2, on_commit=False)
            assert sent == []
            await apublish("room", 3, on_commit=False)
            await until(lambda: len(sent) == 3)

        asyncio.run(main())
        assert [data for _, data in sent if data != "3"] == ["1", "2"]

    async def test_publish_goes_in_order_behind_the_loops_code(
        self, sent: list[tuple[str, str]]
    ) -> None:
        """On the thread of a loop publish() returns before anything is sent."""
        async with subscribe("room") as events:
            publish(["room", "hall"], 1, on_commit=False)
            publish("room", 2, on_commit=False)
            assert sent == []
            assert [(await anext(events)).data for _ in range(2)] == [1, 2]
        assert sent == [("room", "1"), ("hall", "1"), ("room", "2")]


# A process as a task queue's worker is: it serves nothing, and publishes again and again.
_WORKER = """
import sys
import django
from django.conf import settings

url, name, backend, prefix = sys.argv[1:]
config = {"hosts": [f"{url}?client_name={name}"], "prefix": prefix}
settings.configure(
    CHANNEL_LAYERS={"default": {"BACKEND": backend, "CONFIG": config}},
    INSTALLED_APPS=["django_sse"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
)
django.setup()

import json
import threading
import redis
from django_sse import publish
from django_sse.metrics import metrics

seen = set()
with redis.Redis.from_url(url) as client:
    for number in range(50):
        if number % 5:
            publish("room", number)
        else:
            thread = threading.Thread(target=publish, args=("room", number))
            thread.start()
            thread.join()
        seen |= {entry["id"] for entry in client.client_list() if entry["name"] == name}
print(json.dumps([len(seen), metrics.events_published, metrics.publish_errors]))
"""


@pytest.mark.redis
@pytest.mark.parametrize("backend", ["core.RedisChannelLayer", "pubsub.RedisPubSubChannelLayer"])
def test_publish_in_a_plain_process_keeps_its_connection(backend: str, tmp_path: Path) -> None:
    """Fifty events, from any thread, take a connection of the store and one of the layer."""
    name = f"test-{uuid4().hex}"
    program = [sys.executable, "-c", _WORKER, require_redis(), name, f"channels_redis.{backend}"]
    finished = subprocess.run(
        [*program, name], capture_output=True, text=True, timeout=120, check=False, env=_without()
    )
    assert finished.stderr == ""
    assert finished.returncode == 0
    assert json.loads(finished.stdout) == [2, 50, 0]


def _without() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}


@pytest.fixture
def other_database(transactional_db: None, tmp_path: Path) -> Iterator[str]:
    """The alias of a second database."""
    connection = connections["default"].copy("other")
    connection.settings_dict["NAME"] = str(tmp_path / "other.sqlite3")
    # Before it is known by its alias: Django guards those that a test does not name.
    connection.connect()
    connections.settings["other"] = connection.settings_dict
    connections["other"] = connection
    yield "other"
    connection.close()
    del connections["other"], connections.settings["other"]


@contextlib.contextmanager
def rolled_back() -> Iterator[None]:
    """Roll the block's transaction back, as an error does that is caught outside it."""

    class Undo(Exception):
        pass

    with contextlib.suppress(Undo), transaction.atomic():
        yield
        raise Undo


class TestTransactions:
    pytestmark = pytest.mark.django_db(transaction=True)

    def test_publish_waits_for_the_commit(self, sent: list[tuple[str, str]]) -> None:
        """Nothing is sent before, and the order is kept."""
        with transaction.atomic():
            publish("room", 1)
            publish("hall", 2)
            assert sent == []
        assert sent == [("room", "1"), ("hall", "2")]

    def test_publish_without_a_transaction(self, sent: list[tuple[str, str]]) -> None:
        """It is sent at once."""
        publish("room", 1)
        assert sent == [("room", "1")]

    def test_publish_is_dropped_by_a_rollback(self, sent: list[tuple[str, str]]) -> None:
        """And the next transaction does not bring it back."""
        with rolled_back():
            publish("room", "rolled back")
        with transaction.atomic():
            publish("room", "later")
        assert sent == [("room", "later")]

    def test_publish_in_a_nested_block(self, sent: list[tuple[str, str]]) -> None:
        """The outermost commit counts, not the end of a savepoint."""
        with transaction.atomic():
            with transaction.atomic():
                publish("room", "inner")
            publish("room", "outer")
            assert sent == []
        assert sent == [("room", "inner"), ("room", "outer")]

    def test_publish_in_a_savepoint_that_is_rolled_back(self, sent: list[tuple[str, str]]) -> None:
        """Only what was published inside it is dropped."""
        with transaction.atomic():
            publish("room", "before")
            with rolled_back():
                publish("room", "inside")
            publish("room", "after")
        assert sent == [("room", "before"), ("room", "after")]

    def test_publish_on_commit_false(self, sent: list[tuple[str, str]]) -> None:
        """It is sent at once, and a rollback cannot call it back."""
        with rolled_back():
            publish("room", 1, on_commit=False)
            assert sent == [("room", "1")]
        assert sent == [("room", "1")]

    def test_publish_using_another_database(
        self, sent: list[tuple[str, str]], other_database: str
    ) -> None:
        """Only the transaction of the database that it names counts."""
        with transaction.atomic(using=other_database):
            publish("room", "default")
            publish("room", "other", using=other_database)
            assert sent == [("room", "default")]
            with transaction.atomic():
                publish("room", "not waiting", using="default")
                assert sent == [("room", "default")]
            assert sent == [("room", "default"), ("room", "not waiting")]
        assert sent[2:] == [("room", "other")]

    def test_publish_encodes_at_once(self, sent: list[tuple[str, str]]) -> None:
        """What changes before the commit does not change the event."""
        data = {"state": "new"}
        with transaction.atomic():
            publish("room", data)
            data["state"] = "changed"
        assert sent == [("room", '{"state":"new"}')]

    def test_publish_of_what_cannot_be_encoded_rolls_back(
        self, sent: list[tuple[str, str]]
    ) -> None:
        """The mistake shows where it is made, not behind the commit."""
        with pytest.raises(InvalidEvent), transaction.atomic():
            publish("room", object())
        assert sent == []

    def test_apublish_under_async_to_sync(self, sent: list[tuple[str, str]]) -> None:
        """A coroutine that sync code awaits inside a transaction waits for its commit too."""
        with transaction.atomic():
            async_to_sync(apublish)("room", 1)
            assert sent == []
            async_to_sync(apublish)("room", 2, on_commit=False)
            assert sent == [("room", "2")]
        assert sent == [("room", "2"), ("room", "1")]

    def test_apublish_under_async_to_sync_and_a_rollback(
        self, sent: list[tuple[str, str]]
    ) -> None:
        """A rollback drops what the coroutine has published."""
        with rolled_back():
            async_to_sync(apublish)("room", 1)
        async_to_sync(apublish)("room", 2)
        assert sent == [("room", "2")]

    def test_broadcast_does_not_wait(self, sent: list[tuple[str, str]]) -> None:
        """It says what it has reached, so it is sent inside the transaction."""
        with transaction.atomic():
            assert broadcast("all") == 0
            assert sent == [("", "all")]

    async def test_publish_in_a_thread_of_the_server(
        self, sync: Any, sent: list[tuple[str, str]]
    ) -> None:
        """The transaction is that of the thread, the loop that of the streams."""

        def work() -> None:
            with transaction.atomic():
                publish("room", "committed")
                publish("room", "at once", on_commit=False)

        async with subscribe("room") as events:
            await sync(work)
            assert [(await anext(events)).data for _ in range(2)] == ["at once", "committed"]
        assert len(sent) == 2


async def test_key_replaces_what_a_slow_stream_has_not_sent(
    asgi: StreamClient, route: Any
) -> None:
    """It sends the newest of a group and a key, and all that has no key."""

    @event_stream(groups=["a", "b"])
    async def view(request: HttpRequest, stream: EventStream) -> None:
        pass

    route("s/", view)
    slow = await asgi.open("/s/")
    fast = await asgi.open("/s/")
    slow.stall()
    for _ in range(3):  # As many as the server, Django's handler and a waiting send can hold.
        await apublish("a", "on its way")
        assert (await fast.next_event()).data == "on its way"
    for number in range(3):
        await apublish("a", f"a {number}", key="k")
        await apublish("b", f"b {number}", key="k")
        await apublish("a", f"other {number}", key="other")
        await apublish("a", f"none {number}")
    expected = [f"{name} {number}" for number in range(3) for name in ("a", "b", "other", "none")]
    assert [(await fast.next_event()).data for _ in expected] == expected
    slow.resume()
    kept = [*["on its way"] * 3, "none 0", "none 1", "a 2", "b 2", "other 2", "none 2"]
    assert [(await slow.next_event()).data for _ in kept] == kept
    assert not slow.has_unread


def _publish(**arguments: Any) -> None:
    publish(**{"groups": "room", "data": 1, "on_commit": False, **arguments})


def _apublish(**arguments: Any) -> None:
    asyncio.run(apublish(**{"groups": "room", "data": 1, "on_commit": False, **arguments}))


def _broadcast(**arguments: Any) -> None:
    broadcast(**{"data": 1, **arguments})


def _abroadcast(**arguments: Any) -> None:
    asyncio.run(abroadcast(**{"data": 1, **arguments}))


TO_GROUPS = [_publish, _apublish]
ALL = [*TO_GROUPS, _broadcast, _abroadcast]
Call = Callable[..., None]


class TestMistakes:
    """Each is the caller's own: it raises at once, and says what to do."""

    @pytest.fixture(autouse=True)
    def _nothing_is_sent(self, sent: list[tuple[str, str]]) -> Iterator[None]:
        yield
        assert sent == []
        assert (metrics.events_published, metrics.publish_errors) == (0, 0)

    @pytest.mark.parametrize("call", ALL)
    def test_no_channel_layer(self, call: Call, settings: Any) -> None:
        """The message names the setting, and shows a value for one process."""
        settings.CHANNEL_LAYERS = {}
        with pytest.raises(ImproperlyConfigured, match=r"no channel layer 'default'.*InMemory"):
            call()

    @pytest.mark.parametrize("call", ALL)
    def test_other_channel_layer(self, call: Call, settings: Any) -> None:
        """The alias that DJANGO_SSE names is the one that is missed."""
        settings.DJANGO_SSE = {"CHANNEL_LAYER": "events"}
        with pytest.raises(ImproperlyConfigured, match="no channel layer 'events'"):
            call()

    @pytest.mark.parametrize("call", ALL)
    def test_event_that_is_too_large(self, call: Call, settings: Any) -> None:
        """The message names the size and the limit."""
        settings.DJANGO_SSE = {"MAX_EVENT_BYTES": 20}
        with pytest.raises(EventTooLarge, match=r"takes 28 bytes;.*'MAX_EVENT_BYTES'\] is 20"):
            call(data="x" * 20)

    @pytest.mark.parametrize("call", ALL)
    def test_data_that_is_no_json(self, call: Call) -> None:
        """The message names its type."""
        with pytest.raises(InvalidEvent, match="Data of type object cannot be written as JSON"):
            call(data=object())

    @pytest.mark.parametrize("call", ALL)
    def test_event_as_data(self, call: Call) -> None:
        """Its id and comment would be lost on the way: its fields are to be named."""
        with pytest.raises(InvalidEvent, match="not a ServerSentEvent"):
            call(data=ServerSentEvent("x", event="y"))

    @pytest.mark.parametrize("call", ALL)
    def test_event_type_of_two_lines(self, call: Call) -> None:
        """It would smuggle a field into the stream."""
        with pytest.raises(InvalidEvent, match="event='a"):
            call(event="a\ndata: b")

    @pytest.mark.parametrize("call", TO_GROUPS)
    @pytest.mark.parametrize("groups", [7, None, b"room", ["room", 7], "", ["room", ""]])
    def test_group_that_is_no_name(self, call: Call, groups: Any) -> None:
        """One that is wrong keeps the event from all of them."""
        with pytest.raises(InvalidGroup, match="string"):
            call(groups=groups)

    @pytest.mark.parametrize("call", TO_GROUPS)
    def test_no_group(self, call: Call) -> None:
        """An empty list is a query gone wrong, as a rule."""
        with pytest.raises(InvalidGroup, match="name at least one"):
            call(groups=[])

    @pytest.mark.parametrize("call", TO_GROUPS)
    @pytest.mark.parametrize("key", [7, b"key", ("a", "b")])
    def test_key_that_is_no_string(self, call: Call, key: Any) -> None:
        """The message names the value, its type and the rule."""
        with pytest.raises(InvalidEvent) as caught:
            call(key=key)
        assert str(caught.value) == (
            f"key={key!r} is a {type(key).__name__}; it must be a string."
        )

    @pytest.mark.parametrize("call", TO_GROUPS)
    @pytest.mark.parametrize("retry", [-1, 1.5, "10", True])
    def test_retry_that_is_no_time(self, call: Call, retry: Any) -> None:
        """It is a whole number of milliseconds."""
        with pytest.raises(InvalidEvent, match="retry="):
            call(retry=retry)


class TestFailingLayer:
    """A server that is not there is nobody's mistake: publishing goes on."""

    @pytest.fixture(
        autouse=True, params=["core.RedisChannelLayer", "pubsub.RedisPubSubChannelLayer"]
    )
    def _closed_port(self, request: pytest.FixtureRequest, settings: Any) -> None:
        hosts = [f"redis://127.0.0.1:{free_port()}/0"]
        backend = f"channels_redis.{request.param}"
        settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend, "CONFIG": {"hosts": hosts}}}
        settings.DJANGO_SSE = {"CHANNEL_LAYER_TIMEOUT_SECONDS": 0.3}

    @pytest.mark.parametrize("call", ALL)
    def test_call_returns(self, call: Call, caplog: pytest.LogCaptureFixture) -> None:
        """It raises nothing; the loss is logged and counted."""
        call()
        name = "'room'" if call in TO_GROUPS else "''"
        [record] = [record for record in caplog.records if record.name == "django.sse"]
        assert record.levelno == logging.ERROR
        assert record.getMessage().startswith(f"An event for {name} was not published: ")
        assert (metrics.events_published, metrics.publish_errors) == (0, 1)

    def test_each_group_is_logged_and_counted(self, caplog: pytest.LogCaptureFixture) -> None:
        """One that fails does not keep the next from being tried."""
        _publish(groups=["a", "b"])
        assert caplog.text.count("An event for 'a' was not published: ") == 1
        assert caplog.text.count("An event for 'b' was not published: ") == 1
        assert metrics.publish_errors == 2

    @pytest.mark.django_db(transaction=True)
    def test_commit_is_not_disturbed(self, caplog: pytest.LogCaptureFixture) -> None:
        """What else waits for the commit runs too."""
        ran = []
        with transaction.atomic():
            publish("room", 1)
            transaction.on_commit(lambda: ran.append(True))
        assert ran == [True]
        assert metrics.publish_errors == 1

    async def test_publish_on_the_loops_thread(self, caplog: pytest.LogCaptureFixture) -> None:
        """It has returned long before; the loss is logged and counted just the same."""
        publish("room", 1, on_commit=False)
        await apublish("room", 2)
        async with asyncio.timeout(TIMEOUT):
            while metrics.publish_errors < 2:  # noqa: ASYNC110 - there is no event for a count
                await asyncio.sleep(0)
        assert caplog.text.count("An event for 'room' was not published") == 2


class TestBroadcast:
    async def test_broadcast_counts_the_streams_of_this_process(
        self, asgi: StreamClient, route: Any
    ) -> None:
        """Those that are open, whatever their groups; one that has left is none."""

        @event_stream
        async def view(request: HttpRequest, stream: EventStream, group: str) -> None:
            await stream.subscribe(group)

        def say(request: HttpRequest) -> HttpResponse:
            return HttpResponse(broadcast({"to": "all"}, event="notice"))

        route("s/<group>/", view)
        route("say/", say)
        exchanges = [await asgi.open(f"/s/{group}/") for group in ("a", "a", "b")]
        assert (await asgi.get("/say/", method="POST")).body == b"3"
        for exchange in exchanges:
            assert await exchange.next_event() == ('{"to":"all"}', "notice", "")
        await exchanges.pop().disconnected()
        assert await abroadcast("again") == 2
        for exchange in exchanges:
            assert (await exchange.next_event()).data == "again"

    def test_broadcast_with_no_stream(self, sent: list[tuple[str, str]]) -> None:
        """It is sent all the same: other processes may have some."""
        assert broadcast("x") == 0
        assert async_to_sync(abroadcast)("y") == 0
        assert sent == [("", "x"), ("", "y")]
