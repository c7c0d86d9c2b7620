"""The signals, as receivers of a project see them."""

import asyncio
import threading
from typing import Any

import pytest
from django.dispatch import Signal

from django_sse import (
    EventStream,
    ServerSentEvent,
    apublish,
    event_published,
    event_sent,
    event_stream,
    events_dropped,
    publish,
    stream_closed,
    stream_opened,
)
from django_sse.metrics import metrics
from tests.clients import TIMEOUT, until

SIGNALS = {
    "event_published": event_published,
    "event_sent": event_sent,
    "events_dropped": events_dropped,
    "stream_closed": stream_closed,
    "stream_opened": stream_opened,
}


@pytest.fixture(params=["sync", "async"])
def told(request: pytest.FixtureRequest) -> Any:
    """What receivers of every signal were told: its name, sender and arguments."""
    calls: list[tuple[str, Any, dict[str, Any]]] = []
    receivers: list[tuple[Signal, Any]] = []

    def connect(name: str, signal: Signal) -> None:
        def note(sender: Any, signal: Signal, **named: Any) -> None:
            calls.append((name, sender, named))

        async def anote(sender: Any, signal: Signal, **named: Any) -> None:
            await asyncio.sleep(0)
            calls.append((name, sender, named))

        receiver = note if request.param == "sync" else anote
        signal.connect(receiver)
        receivers.append((signal, receiver))

    for name, signal in SIGNALS.items():
        connect(name, signal)
    yield calls
    for signal, receiver in receivers:
        signal.disconnect(receiver)


@pytest.fixture
def view(route: Any) -> list[EventStream]:
    """A view at /s/ of the group "a"; its streams."""
    streams: list[EventStream] = []

    @event_stream(groups="a")
    async def handler(request: Any, stream: EventStream) -> None:
        streams.append(stream)
        await stream.send("first", event="e")

    route("s/", handler)
    return streams


class TestStreams:
    async def test_life_of_a_stream(self, asgi, view, told):
        """Opened, an event sent for each event, closed with the reason; with the stream."""
        exchange = await asgi.open("/s/")
        await exchange.next_event()
        await apublish("a", {"n": 1})
        await exchange.next_event()
        await exchange.disconnected()
        await until(lambda: told and told[-1][0] == "stream_closed")
        [stream] = view
        of_the_stream = [call for call in told if call[0] != "event_published"]
        assert {sender for _, sender, _ in of_the_stream} == {EventStream}
        assert all(named["stream"] is stream for _, _, named in of_the_stream)
        names = [name for name, _, _ in of_the_stream]
        assert sorted(names) == ["event_sent", "event_sent", "stream_closed", "stream_opened"]
        sent = [named["event"] for name, _, named in of_the_stream if name == "event_sent"]
        assert sent == [ServerSentEvent("first", event="e"), ServerSentEvent({"n": 1})]
        assert of_the_stream[-1][2]["reason"] == "client left"

    async def test_closed_comes_after_the_cleanup(self, asgi, route, told):
        """When stream_closed is sent, the callbacks have run."""
        order: list[str] = []

        @event_stream
        async def view(request, stream):
            stream.on_close(lambda: order.append("callback"))
            stream.on_close(lambda: order.extend(name for name, _, _ in told if "closed" in name))
            await stream.send("x")

        route("s/", view)
        await asgi.get("/s/")
        assert order == ["callback"]
        assert [name for name, _, _ in told].count("stream_closed") == 1

    async def test_opened_comes_before_the_first_byte(self, asgi, view, told):
        """stream_opened is sent before the body begins."""
        exchange = await asgi.open("/s/")
        await exchange.next_frame()
        assert "stream_opened" in [name for name, _, _ in told]

    async def test_stream_that_is_never_served(self, asgi, route, told):
        """A stream that never became a response is not told of."""

        @event_stream(groups="a")
        async def view(request, stream):
            raise LookupError

        route("s/", view)
        assert (await asgi.get("/s/")).status == 500
        assert told == []


class TestPublished:
    async def test_published(self, told):
        """event_published has the groups and the event, from apublish() and publish()."""
        await apublish(["a", "b"], {"n": 1}, event="e", retry=3)
        publish("a", "text")
        await until(lambda: len(told) == 2)
        assert told == [
            (
                "event_published",
                None,
                {"groups": ("a", "b"), "event": ServerSentEvent({"n": 1}, event="e", retry=3)},
            ),
            ("event_published", None, {"groups": ("a",), "event": ServerSentEvent("text")}),
        ]

    def test_published_from_sync_code(self, told):
        """From a thread without a loop the receivers have run when publish() returns."""
        publish("a", 1)
        assert [name for name, _, _ in told] == ["event_published"]


@pytest.mark.parametrize("kind", ["sync", "async"])
class TestFailingReceivers:
    @pytest.fixture
    def failing(self, kind):
        def fail(**kwargs: Any) -> None:
            raise LookupError("receiver")

        async def afail(**kwargs: Any) -> None:
            raise LookupError("receiver")

        receiver = fail if kind == "sync" else afail
        for signal in SIGNALS.values():
            signal.connect(receiver)
        yield
        for signal in SIGNALS.values():
            signal.disconnect(receiver)

    async def test_streams_go_on(self, asgi, view, failing, caplog):
        """A receiver that fails is logged by Django; the stream does not notice."""
        exchange = await asgi.open("/s/")
        assert (await exchange.next_event()).data == "first"
        await apublish("a", "live")
        assert (await exchange.next_event()).data == "live"
        await exchange.disconnected()
        await until(lambda: metrics.streams_open == 0)
        assert "receiver" in caplog.text
        assert metrics.stream_errors == 0
        assert metrics.publish_errors == 0

    def test_publish_does_not_raise(self, failing, caplog):
        """Nor does publish()."""
        publish("a", 1)
        assert "receiver" in caplog.text


class TestReceiverThatBlocks:
    async def test_delivery_does_not_wait_for_receivers(self, asgi, view):
        """A sync receiver that takes its time holds no event up: it runs in a thread."""
        release = threading.Event()
        entered: list[Any] = []

        def slow(event: ServerSentEvent, **kwargs: Any) -> None:
            entered.append(event.data)
            release.wait(TIMEOUT)

        event_sent.connect(slow)
        try:
            exchange = await asgi.open("/s/")
            await exchange.next_event()
            for number in range(3):
                await apublish("a", number)
                await exchange.next_event()
            await until(lambda: entered)
            assert entered == ["first"]
            release.set()
            await until(lambda: len(entered) == 4)
        finally:
            release.set()
            event_sent.disconnect(slow)
        assert entered == ["first", 0, 1, 2]
