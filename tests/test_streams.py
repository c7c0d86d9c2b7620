"""What a handler can do with its stream."""

import asyncio
import logging
import re
from functools import partial
from typing import Any
from urllib.parse import urlencode

import pytest
from channels.layers import channel_layers
from django.contrib.auth.models import User

from django_sse import EventStream, ServerSentEvent, apublish, broadcast, event_stream, publish
from django_sse.exceptions import InvalidEvent, InvalidGroup, StreamClosed
from django_sse.feeding import check_where
from django_sse.hub import get_hub
from django_sse.lifetime import make_lifetime
from django_sse.metrics import metrics
from django_sse.streams import as_event
from django_sse.testing import ReceivedStream, StreamClient
from tests.clients import TIMEOUT, until
from tests.fake_layer import FakeLayer

RETRY = b"retry: 3000\n\n"


@pytest.fixture
def opened(asgi: StreamClient, route: Any) -> Any:
    """
    Return a function that opens a stream and gives it with its client's side.

    The handler waits, so that tests can use the stream as a handler or its task would.
    """

    streams: list[EventStream] = []

    @event_stream(groups=lambda request: request.GET.getlist("group"))
    async def view(request: Any, stream: EventStream) -> None:
        streams.append(stream)
        await stream.comment("ready")
        await asyncio.Event().wait()

    route("opened/", view)

    async def open_stream(*groups: str, **request: Any) -> tuple[EventStream, ReceivedStream]:
        query = urlencode([("group", group) for group in groups])
        exchange = await asgi.open(f"/opened/?{query}", **request)
        assert await exchange.next_frame() == RETRY
        assert await exchange.next_frame() == b": ready\n\n"
        return streams[-1], exchange

    return open_stream


class TestSend:
    async def test_send_data_and_fields(self, opened):
        """Each argument is a field of the event."""
        stream, exchange = await opened()
        await stream.send({"a": 1}, event="named", id="é 1", retry=500)
        frame = 'event: named\nid: é 1\nretry: 500\ndata: {"a":1}\n\n'.encode()
        assert await exchange.next_frame() == frame

    async def test_send_event(self, opened):
        """An event that is made already is sent as it is."""
        stream, exchange = await opened()
        await stream.send(ServerSentEvent("x", event="e", comment="why"))
        assert await exchange.next_frame() == b": why\nevent: e\ndata: x\n\n"

    async def test_send_no_data(self, opened):
        """Without data only the fields are set; a page hears nothing."""
        stream, exchange = await opened()
        await stream.send(id="7")
        await stream.send("x")
        assert await exchange.next_event() == ("x", "message", "7")
        assert exchange.body.endswith(b"id: 7\n\ndata: x\n\n")

    async def test_send_empty_data(self, opened):
        """An empty string is data: the page hears the event."""
        stream, exchange = await opened()
        await stream.send("", event="named")
        assert await exchange.next_event() == ("", "named", "")

    @pytest.mark.parametrize(
        ("fields", "frame"),
        [({"retry": 5}, b"retry: 5\n\n"), ({"comment": "why"}, b": why\n\n")],
    )
    async def test_send_event_of_fields_alone(self, fields, frame, opened):
        """What is made for something else than a page is sent."""
        stream, exchange = await opened()
        await stream.send(ServerSentEvent(**fields))
        assert await exchange.next_frame() == frame

    async def test_send_event_with_fields_too(self, opened):
        """Fields beside an event would be lost: an error that says so."""
        stream, _ = await opened()
        with pytest.raises(InvalidEvent, match="ServerSentEvent has fields of its own"):
            await stream.send(ServerSentEvent("x"), event="other")

    @pytest.mark.parametrize(
        ("send", "message"),
        [
            (lambda stream: stream.send(object()), "cannot be written as JSON"),
            (lambda stream: stream.send("x", event="a\nb"), "event='a\\\\nb' holds '\\\\n'"),
            (lambda stream: stream.send("x", id="a\0"), "id='a\\\\x00' holds '\\\\x00'"),
            (lambda stream: stream.send("x", retry=-1), "retry=-1 must be a whole number"),
            (lambda stream: stream.send(None), "An event without data reaches no page"),
            (lambda stream: stream.send(event="named"), "An event without data reaches no page"),
            (lambda stream: stream.send(None, event="e", id="7"), "pass '' or {} as its data"),
            (lambda stream: stream.send(ServerSentEvent()), "An event without data reaches no"),
            (lambda stream: stream.send(ServerSentEvent(event="e")), "An event without data"),
            (lambda stream: stream.comment(5), "comment=5 must be a string"),
        ],
    )
    async def test_send_what_cannot_be_sent(self, opened, send, message):
        """The error is raised where it is sent, and the stream goes on."""
        stream, exchange = await opened()
        with pytest.raises(InvalidEvent, match=message):
            await send(stream)
        await stream.send("fine")
        assert (await exchange.next_event()).data == "fine"

    async def test_comment_of_several_lines(self, opened):
        """A comment has a line for each of its own; a browser drops them all."""
        stream, exchange = await opened()
        await stream.comment("one\ntwo")
        assert await exchange.next_frame() == b": one\n: two\n\n"
        assert stream.events_sent == 0

    async def test_counts(self, opened):
        """The stream counts its events, and its bytes with comments and all."""
        stream, exchange = await opened("a")
        await stream.send("x")
        await apublish("a", "y")
        await exchange.next_event()
        await exchange.next_event()
        assert stream.events_sent == 2
        assert stream.bytes_sent == len(exchange.body)

    async def test_send_waits_for_a_client_that_does_not_read(self, opened):
        """send() goes on when the client has read, so that a view cannot fill the memory."""
        stream, exchange = await opened()
        exchange.stall()
        sent: list[int] = []

        async def send_many() -> None:
            for number in range(20):
                await stream.send("x" * 10_000)
                sent.append(number)

        task = asyncio.create_task(send_many())
        for _ in range(50):
            await asyncio.sleep(0)
        assert 0 < len(sent) < 20
        assert not task.done()
        exchange.resume()
        await asyncio.wait_for(task, TIMEOUT)
        assert len(sent) == 20
        for _ in range(20):
            assert len((await exchange.next_event()).data) == 10_000

    async def test_waiting_send_when_the_client_leaves(self, opened):
        """A send() that waits does not wait for a client that has gone."""
        stream, exchange = await opened()
        exchange.stall()

        async def send_many() -> None:
            while True:
                await stream.send("x" * 10_000)

        task = asyncio.create_task(send_many())
        for _ in range(50):
            await asyncio.sleep(0)
        await exchange.disconnected()
        with pytest.raises(StreamClosed):
            await asyncio.wait_for(task, TIMEOUT)


class TestClose:
    async def test_close(self, opened):
        """close() ends the response behind what was sent."""
        stream, exchange = await opened("a")
        await stream.send("last")
        await stream.close()
        body = await exchange.ended()
        assert body.endswith(b"data: last\n\n")
        assert stream.reason == "closed by the view"
        assert stream.groups == frozenset()

    async def test_close_twice(self, opened):
        """The second time nothing happens."""
        stream, exchange = await opened()
        await stream.close()
        await stream.close()
        await exchange.ended()

    async def test_close_before_the_response(self, asgi, route):
        """A stream that is closed before it is served is a complete, short response."""

        @event_stream(groups="a")
        async def view(request, stream):
            await stream.send("one")
            await stream.close()

        route("s/", view)
        assert (await asgi.get("/s/")).body == RETRY + b"data: one\n\n"

    async def test_close_before_anything(self, asgi, route):
        """So is one that is closed with nothing sent."""

        @event_stream(groups="a")
        async def view(request, stream):
            await stream.close()

        route("s/", view)
        assert (await asgi.get("/s/")).body == RETRY

    async def test_use_after_the_end(self, opened):
        """Whoever still uses a stream that has ended is told by StreamClosed."""
        stream, _ = await opened("a")
        await stream.close()
        for use in (stream.send("x"), stream.comment("x"), stream.subscribe("b")):
            with pytest.raises(StreamClosed, match=rf"<EventStream {stream.id} /opened/ ended: c"):
                await use
        await stream.unsubscribe("a")

    async def test_repr(self, opened):
        """A stream says which it is and how it is."""
        stream, _ = await opened()
        assert repr(stream) == f"<EventStream {stream.id} /opened/ open>"


class TestOnClose:
    @pytest.mark.parametrize("ended_by", ["client", "view", "error", "server", "return"])
    async def test_on_close_runs_once_whoever_ended_it(self, asgi, route, ended_by):
        """The callback runs once, whether the client, the view or the server ended the stream."""
        calls: list[str] = []
        done = asyncio.Event()
        streams: list[EventStream] = []

        @event_stream
        async def view(request, stream):
            streams.append(stream)
            stream.on_close(partial(calls.append, "sync"))
            stream.on_close(lambda: done.set())
            await stream.send("open")
            if ended_by == "error":
                raise ValueError
            if ended_by == "view":
                await stream.close()
            elif ended_by != "return":
                await asyncio.Event().wait()

        route("s/", view)
        exchange = await asgi.open("/s/")
        await exchange.next_event()
        if ended_by == "client":
            exchange.disconnect()
        elif ended_by == "server":
            get_hub().shut_down()
        await asyncio.wait_for(done.wait(), TIMEOUT)
        await exchange.disconnected()
        await streams[0].finish()
        assert calls == ["sync"]
        assert metrics.streams_open == 0

    async def test_on_close_of_each_kind(self, opened, sync, transactional_db):
        """Sync with the ORM, async, and a lambda that calls a coroutine function; in order."""
        calls: list[Any] = []
        done = asyncio.Event()
        await sync(User.objects.create_user, "ada")

        def with_orm() -> None:
            calls.append(User.objects.get().username)

        async def as_coroutine(name: str) -> None:
            calls.append((name, await User.objects.acount()))

        stream, exchange = await opened("a")
        stream.on_close(with_orm)
        stream.on_close(partial(as_coroutine, "async"))
        stream.on_close(lambda: as_coroutine("lambda"))
        stream.on_close(done.set)
        await exchange.disconnected()
        await asyncio.wait_for(done.wait(), TIMEOUT)
        assert calls == ["ada", ("async", 1), ("lambda", 1)]

    async def test_on_close_that_fails(self, opened, caplog):
        """A callback that fails is logged, and those after it run."""
        done = asyncio.Event()

        def broken() -> None:
            raise LookupError("no such thing")

        stream, exchange = await opened()
        stream.on_close(broken)
        stream.on_close(done.set)
        await exchange.disconnected()
        await asyncio.wait_for(done.wait(), TIMEOUT)
        assert f"An on_close callback of <EventStream {stream.id}" in caplog.text
        assert "no such thing" in caplog.text

    async def test_on_close_of_a_stream_fed_by_its_groups(self, asgi, route):
        """It runs where the handler has long returned, with the request still there."""
        left = asyncio.Event()
        streams: list[EventStream] = []

        @event_stream(groups="a")
        async def view(request, stream):
            streams.append(stream)
            stream.on_close(left.set)

        route("s/", view)
        exchange = await asgi.open("/s/")
        await exchange.next_frame()
        assert streams[0].request is not None
        exchange.disconnect()
        await asyncio.wait_for(left.wait(), TIMEOUT)

    @pytest.mark.parametrize("callback", [None, 5, "leave"])
    async def test_on_close_of_no_function(self, opened, callback):
        """What cannot be called is an error at once."""
        stream, _ = await opened()
        with pytest.raises(
            TypeError, match=f"takes a function without arguments, not {callback!r}"
        ):
            stream.on_close(callback)

    async def test_on_close_after_the_end(self, opened):
        """A callback that comes too late for the end runs all the same."""
        stream, exchange = await opened()
        await exchange.disconnected()
        await stream.finish()
        done = asyncio.Event()
        stream.on_close(done.set)
        await asyncio.wait_for(done.wait(), TIMEOUT)


class TestCreateTask:
    async def test_task_is_cancelled_and_awaited(self, opened):
        """At the end of the stream its tasks are cancelled; their cleanup is waited for."""
        order: list[str] = []
        running, done = asyncio.Event(), asyncio.Event()

        async def work() -> None:
            try:
                running.set()
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                order.append("task")

        stream, exchange = await opened("a")
        stream.on_close(partial(order.append, "callback"))
        stream.on_close(done.set)
        task = stream.create_task(work())
        await running.wait()
        exchange.disconnect()
        await asyncio.wait_for(done.wait(), TIMEOUT)
        assert order == ["task", "callback"]
        assert task.cancelled()

    async def test_task_result(self, opened):
        """The task is an ordinary one: its result can be awaited."""

        async def work() -> int:
            return 5

        stream, _ = await opened()
        assert await stream.create_task(work()) == 5

    async def test_task_that_fails(self, opened, caplog):
        """An error in a task ends the stream, is logged and counted."""

        async def work() -> None:
            raise LookupError("lost")

        stream, exchange = await opened("a")
        stream.create_task(work())
        await exchange.ended()
        assert stream.reason == "error"
        assert metrics.stream_errors == 1
        assert "lost" in caplog.text

    async def test_task_that_fails_before_the_start(self, asgi, route, caplog):
        """So does one in a task while the handler still prepares: it does not vanish."""

        @event_stream
        async def view(request, stream):
            async def work():
                raise LookupError("lost")

            task = stream.create_task(work())
            await asyncio.wait([task])
            await stream.subscribe("a")

        route("s/", view)
        exchange = await asgi.get("/s/")
        assert exchange.status == 500
        assert metrics.stream_errors == 1
        assert "lost" in caplog.text
        assert "LookupError" in caplog.text

    async def test_task_that_ends_before_the_start(self, asgi, route):
        """One that is through while the handler still prepares means nothing for the stream."""

        @event_stream
        async def view(request, stream):
            assert await stream.create_task(asyncio.sleep(0, "done")) == "done"
            await stream.subscribe("a")

        route("s/", view)
        exchange = await asgi.open("/s/")
        await apublish("a", "x")
        assert (await exchange.next_event()).data == "x"

    async def test_task_that_learns_of_the_end_by_sending(self, opened, caplog):
        """A client that leaves is no failure: nothing is logged of it."""
        running, done = asyncio.Event(), asyncio.Event()

        async def work() -> None:
            running.set()
            try:
                await asyncio.Event().wait()
            finally:
                await stream.send("too late")

        stream, exchange = await opened()
        stream.create_task(work())
        stream.on_close(done.set)
        await running.wait()
        exchange.disconnect()
        await asyncio.wait_for(done.wait(), TIMEOUT)
        assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []

    async def test_task_that_fails_as_it_ends(self, opened, caplog):
        """An error in a task's cleanup is logged, and does not keep the rest from running."""
        running, done = asyncio.Event(), asyncio.Event()

        async def work() -> None:
            running.set()
            try:
                await asyncio.Event().wait()
            finally:
                raise LookupError("in finally")

        stream, exchange = await opened()
        stream.create_task(work())
        stream.on_close(done.set)
        await running.wait()
        exchange.disconnect()
        await asyncio.wait_for(done.wait(), TIMEOUT)
        assert "failed as it ended" in caplog.text
        assert "in finally" in caplog.text

    async def test_task_that_is_cancelled_by_the_view(self, asgi, route):
        """A task that the view itself cancels is no error; with nothing left the stream ends."""
        tasks: list[asyncio.Task[Any]] = []

        @event_stream
        async def view(request, stream):
            tasks.append(stream.create_task(asyncio.Event().wait()))

        route("s/", view)
        exchange = await asgi.open("/s/")
        await exchange.next_frame()
        tasks[0].cancel()
        assert await exchange.ended() == RETRY
        assert metrics.stream_errors == 0

    async def test_last_task_of_a_stream_with_groups(self, asgi, route):
        """When its tasks are through, the stream goes on with its groups."""

        @event_stream(groups="a")
        async def view(request, stream):
            stream.create_task(stream.send("from a task"))

        route("s/", view)
        exchange = await asgi.open("/s/")
        assert (await exchange.next_event()).data == "from a task"
        await apublish("a", "from the group")
        assert (await exchange.next_event()).data == "from the group"


class TestClosed:
    async def test_closed_is_done_when_the_client_has_gone(self, opened):
        """Who waits for `closed` goes on when the stream has ended."""
        stream, exchange = await opened("a")
        waiter = asyncio.create_task(wait_for_the_end(stream))
        await asyncio.sleep(0)
        assert not stream.closed.done()
        exchange.disconnect()
        assert await asyncio.wait_for(waiter, TIMEOUT) == "client left"
        assert stream.closed.done()
        await stream.closed

    async def test_closed_with_a_time_limit(self, opened):
        """A wait that is given up leaves `closed` as it was, for this waiter and for others."""
        stream, exchange = await opened("a")
        other = asyncio.create_task(wait_for_the_end(stream))
        for _ in range(2):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.001):
                    await stream.closed
        exchange.disconnect()
        assert await asyncio.wait_for(other, TIMEOUT) == "client left"
        await stream.closed

    async def test_closed_first_asked_for_after_the_end(self, opened):
        """It is done then."""
        stream, exchange = await opened("a")
        await exchange.disconnected()
        assert stream.closed.done()


async def wait_for_the_end(stream: EventStream) -> Any:
    await stream.closed
    return stream.reason


class TestSubscribe:
    async def test_subscribe_and_unsubscribe(self, opened):
        """Groups come and go while the stream is open."""
        stream, exchange = await opened()
        await stream.subscribe("a", "b")
        await stream.subscribe("b", "c")
        assert stream.groups == {"a", "b", "c"}
        await stream.unsubscribe("a", "unknown")
        assert stream.groups == {"b", "c"}
        await apublish("a", "not for it")
        await apublish("b", "b")
        await apublish("c", "c")
        assert [(await exchange.next_event()).data for _ in "bc"] == ["b", "c"]
        await stream.unsubscribe("b", "c")
        assert stream.groups == frozenset()

    async def test_subscribe_leaves_no_gap(self, opened):
        """What is published after subscribe() has returned is sent."""
        stream, exchange = await opened()
        for number in range(5):
            await stream.subscribe(f"group {number}")
            publish(f"group {number}", str(number))
        received = [(await exchange.next_event()).data for _ in range(5)]
        assert received == ["0", "1", "2", "3", "4"]

    async def test_subscribe_to_a_group_twice(self, opened):
        """An event comes once, and one unsubscribe() is enough."""
        stream, exchange = await opened()
        await stream.subscribe("a")
        await stream.subscribe("a", "a")
        await apublish("a", "once")
        await stream.unsubscribe("a")
        await apublish("a", "never")
        await stream.subscribe("b")
        await apublish("b", "marker")
        assert [(await exchange.next_event()).data for _ in range(2)] == ["once", "marker"]

    async def test_unsubscribe_after_the_event(self, opened):
        """What was published before unsubscribe() is still sent, where the layer was as quick."""
        stream, exchange = await opened("a")
        await apublish("a", "before")
        await exchange.next_event()
        await stream.unsubscribe("a")
        await apublish("a", "after")
        await stream.send("marker")
        assert (await exchange.next_event()).data == "marker"

    @pytest.mark.parametrize("groups", [[5], [""], ["a", None], [b"a"]])
    async def test_subscribe_to_no_group(self, opened, groups):
        """A group that is no name is an error; the stream stays as it was."""
        stream, _ = await opened("before")
        with pytest.raises(InvalidGroup, match=r"Group .* must be a string"):
            await stream.subscribe(*groups)
        with pytest.raises(InvalidGroup):
            await stream.unsubscribe(*groups)
        assert stream.groups == {"before"}

    async def test_max_groups(self, opened, settings):
        """The limit counts all groups of a stream."""
        settings.DJANGO_SSE = {"MAX_GROUPS": 3}
        stream, _ = await opened("a", "b")
        await stream.subscribe("b", "c")
        with pytest.raises(InvalidGroup, match=r"4 groups are more than DJANGO_SSE\['MAX_GROUPS'"):
            await stream.subscribe("d")
        assert stream.groups == {"a", "b", "c"}

    async def test_subscribe_while_the_client_leaves(self, opened):
        """A stream that ends while it joins is in no group afterwards."""
        layer = FakeLayer()
        channel_layers.set("default", layer)
        stream, exchange = await opened()
        layer.gates["group_add"] = asyncio.Event()
        joining = asyncio.create_task(stream.subscribe("a"))
        await until(lambda: layer.in_flight)
        await exchange.disconnected()
        layer.gates["group_add"].set()
        await joining
        assert stream.groups == frozenset()
        assert not list(get_hub().audiences)


class TestWhere:
    async def test_where_chooses(self, opened):
        """Of the group's events only those are sent for which it is true."""
        stream, exchange = await opened("all")
        await stream.subscribe("a", where=lambda event: event.data["n"] % 2 == 0)
        for n in range(4):
            await apublish("a", {"n": n}, event="count")
        await apublish("all", {"n": 5})
        received = [(await exchange.next_event()).json()["n"] for _ in range(3)]
        assert received == [0, 2, 5]
        assert stream.events_sent == 3

    async def test_where_sees_the_event(self, opened):
        """It is given the event as it was published: type, and data as JSON would bring it."""
        seen: list[ServerSentEvent] = []

        def where(event: ServerSentEvent) -> bool:
            seen.append(event)
            return True

        stream, exchange = await opened()
        await stream.subscribe("a", where=where)
        await apublish("a", {"when": 1, "é": [None]}, event="e", retry=5)
        await apublish("a", "text")
        await exchange.next_event()
        await exchange.next_event()
        event = ServerSentEvent({"when": 1, "é": [None]}, event="e", retry=5)
        assert seen == [event, ServerSentEvent("text")]

    async def test_where_that_fails(self, opened, caplog):
        """An error ends the stream, rather than sending what may not be seen; others go on."""
        _, other_exchange = await opened("a")
        stream, exchange = await opened()
        await stream.subscribe("a", where=lambda event: event.data["missing"])
        await apublish("a", {"n": 1})
        await exchange.ended()
        assert stream.reason == "error"
        assert metrics.stream_errors == 1
        assert "KeyError: 'missing'" in caplog.text
        assert (await other_exchange.next_event()).json() == {"n": 1}
        assert b'"n"' not in exchange.body

    async def test_where_holds_for_its_groups_only(self, opened):
        """Each group has its own; subscribing again sets it anew."""
        stream, exchange = await opened()
        await stream.subscribe("a", where=lambda event: False)
        await stream.subscribe("b", where=lambda event: True)
        await apublish("a", "no")
        await apublish("b", "b")
        assert (await exchange.next_event()).data == "b"
        await stream.subscribe("a")
        await apublish("a", "now")
        assert (await exchange.next_event()).data == "now"

    async def test_where_is_forgotten_with_its_group(self, opened):
        """After unsubscribe() the group has none."""
        stream, exchange = await opened()
        await stream.subscribe("a", where=lambda event: False)
        await stream.unsubscribe("a")
        await stream.subscribe("a")
        await apublish("a", "all of it")
        assert (await exchange.next_event()).data == "all of it"

    async def test_where_and_an_event_of_several_groups(self, opened):
        """An event that comes by two groups is sent if it may be by one of them."""
        stream, exchange = await opened("b")
        await stream.subscribe("a", where=lambda event: False)
        await apublish(["a", "b"], "by b")
        await apublish(["b", "a"], "by b again")
        await apublish("b", "marker")
        received = [(await exchange.next_event()).data for _ in range(3)]
        assert received == ["by b", "by b again", "marker"]

    async def test_where_does_not_hold_for_a_broadcast(self, opened):
        """A broadcast is for every stream."""
        stream, exchange = await opened()
        await stream.subscribe("a", where=lambda event: False)
        broadcast("all")
        assert (await exchange.next_event()).data == "all"

    async def test_where_that_is_no_sync_function(self, opened):
        """A coroutine function cannot be asked for each event of each stream: an error."""

        async def where(event: ServerSentEvent) -> bool:
            return True

        stream, _ = await opened()
        for wrong in (where, "text", 5):
            with pytest.raises(TypeError, match=r"where=.* must be a sync function of the event"):
                await stream.subscribe("a", where=wrong)
        assert stream.groups == frozenset()
        check_where(None)


class TestAttributes:
    async def test_attributes(self, opened):
        """id, request, groups and last_event_id are what they say."""
        stream, _ = await opened("a", headers={"last-event-id": "9"})
        other, _ = await opened("a")
        assert stream.id != other.id
        assert len(stream.id) == 16
        assert stream.request is not None
        assert stream.request.path == stream.path == "/opened/"
        assert stream.groups == {"a"}
        assert (stream.last_event_id, other.last_event_id) == ("9", None)
        assert stream.reason is None

    async def test_request_is_let_go(self, asgi, route):
        """A stream that is only fed by its groups does not keep its request in memory."""
        streams: list[EventStream] = []

        @event_stream(groups="a")
        async def view(request, stream):
            streams.append(stream)

        route("s/", view)
        exchange = await asgi.open("/s/")
        await exchange.next_frame()
        assert streams[0].request is None
        # It may get code of its own again.
        done = asyncio.Event()
        streams[0].on_close(done.set)
        exchange.disconnect()
        await asyncio.wait_for(done.wait(), TIMEOUT)

    async def test_started(self, opened):
        """Whoever asks late hears that the response has begun."""
        stream, _ = await opened()
        assert stream.started.done()
        fresh = EventStream(make_lifetime())
        assert not fresh.is_started
        fresh.start()
        fresh.start()
        assert fresh.started.done()


class TestFeed:
    async def test_feed(self, opened):
        """feed() sends what an async iterable gives."""

        async def values() -> Any:
            yield "one"
            yield {"two": 2}

        stream, exchange = await opened()
        await stream.feed(values())
        assert (await exchange.next_event()).data == "one"
        assert (await exchange.next_event()).json() == {"two": 2}

    async def test_feed_closes_what_it_reads(self, opened):
        """The iterable is closed whatever happens."""
        closed = asyncio.Event()

        async def values() -> Any:
            try:
                yield "one"
                yield object()
            finally:
                closed.set()

        stream, _ = await opened()
        with pytest.raises(InvalidEvent):
            await stream.feed(values())
        assert closed.is_set()


class TestAsEvent:
    def test_as_event(self):
        """An event is itself, None none, anything else the data of one."""
        event = ServerSentEvent("x")
        assert as_event(event) is event
        assert as_event("x") == event
        assert as_event({"a": 1}) == ServerSentEvent({"a": 1})
        with pytest.raises(InvalidEvent, match="None is not an event; pass a ServerSentEvent"):
            as_event(None)


async def test_log(asgi, route, caplog, log_in, sync, transactional_db):
    """The log says who opened and closed what: id, path, user, seconds, events, bytes."""
    caplog.set_level(logging.INFO, "django.sse")
    user = await sync(User.objects.create_user, "ada")
    await sync(log_in, asgi, user)

    @event_stream
    async def view(request, stream):
        assert (await request.auser()).is_authenticated
        await stream.send("x")

    route("s/", view)
    exchange = await asgi.get("/s/")
    opened, closed = [record.getMessage() for record in caplog.records]
    stream_id = opened.split()[1]
    assert opened == f"Stream {stream_id} opened: /s/, user ada"
    assert re.fullmatch(
        rf"Stream {stream_id} closed \(finished\): /s/, user ada, \d+\.\d s, 1 events,"
        rf" {len(exchange.body)} bytes",
        closed,
    )
