"""The fan-out of one event loop."""

import asyncio
import contextvars
import gc
from typing import Any

import pytest
from channels.layers import channel_layers
from django.core.exceptions import ImproperlyConfigured

from django_sse import (
    EventStream,
    abroadcast,
    apublish,
    event_stream,
    publish,
    subscribe,
)
from django_sse import hub as hub_module
from django_sse.framing import frame
from django_sse.groups import BROADCAST, layer_group
from django_sse.hub import get_hub
from django_sse.metrics import metrics
from django_sse.testing import ReceivedStream, StreamClient
from tests.clients import until
from tests.fake_layer import FakeLayer

request_variable = contextvars.ContextVar("request_variable", default="none")


@pytest.fixture
async def layer() -> FakeLayer:
    """The project's channel layer."""
    layer = FakeLayer()
    channel_layers.set("default", layer)
    return layer


@pytest.fixture
def opened(asgi: StreamClient, route: Any) -> Any:
    """Return a function that opens a stream of the given groups."""
    streams: list[EventStream] = []

    @event_stream(groups=lambda request: request.GET.getlist("group"))
    async def view(request: Any, stream: EventStream) -> None:
        request_variable.set("of a request")
        streams.append(stream)
        await stream.comment("ready")
        if not stream.groups:
            await asyncio.Event().wait()

    route("s/", view)

    async def open_stream(*groups: str) -> tuple[EventStream, ReceivedStream]:
        exchange = await asgi.open("/s/?" + "&".join(f"group={group}" for group in groups))
        while await exchange.next_frame() != b": ready\n\n":
            pass
        return streams[-1], exchange

    return open_stream


def message(group: str, data: str, **fields: Any) -> dict[str, Any]:
    """Return an event as a channel layer brings it."""
    return {"type": "sse.event", "group": group, "data": data, **fields}


class TestMemberships:
    async def test_many_streams_share_one_channel(self, opened, layer):
        """Streams of a group are one channel of the layer, in that group once."""
        for _ in range(5):
            await opened("a")
        assert len(layer.called("new_channel")) == 1
        assert layer.called("group_add").count(layer_group("a")) == 1
        # All streams are in the group of broadcasts, too.
        assert sorted(layer.called("group_add")) == ["sse.all", layer_group("a")]

    async def test_layer_hears_of_the_last_stream(self, opened, layer, monkeypatch):
        """The channel leaves a group after its last stream."""
        monkeypatch.setattr("django_sse.layer_link._LINGER_SECONDS", 0)
        (_, one), (_, two) = await opened("a"), await opened("a", "b")
        await one.disconnected()
        await two.disconnected()
        await until(lambda: len(layer.called("group_discard")) == 2)
        assert sorted(layer.called("group_discard")) == [layer_group("a"), layer_group("b")]
        assert not list(get_hub().audiences)
        assert not list(get_hub().audiences.of("a"))

    async def test_concurrent_joins_of_one_stream(self, opened, layer):
        """A stream that joins groups from several tasks at once is in all of them, each once."""
        stream, exchange = await opened()
        layer.gates["group_add"] = asyncio.Event()
        joins = [
            asyncio.create_task(stream.subscribe(*groups)) for groups in ("ab", "bc", "a", "cd")
        ]
        await until(lambda: layer.in_flight)
        layer.gates["group_add"].set()
        await asyncio.gather(*joins)
        assert stream.groups == set("abcd")
        link = get_hub().link
        wanted = {group: link._memberships[group].wanted for group in "abcd"}
        assert wanted == dict.fromkeys("abcd", 1)
        await exchange.disconnected()
        assert [link._memberships[group].wanted for group in "abcd"] == [0, 0, 0, 0]

    @pytest.mark.history
    async def test_subscription_joins_the_group_of_all(self, layer):
        """Events of many groups at once come by it; nobody need have opened a stream."""
        async with subscribe("a"):
            assert layer.called("group_add") == [layer_group("a"), layer_group(BROADCAST)]

    @pytest.mark.history
    async def test_event_of_another_group_costs_next_to_nothing(self, layer):
        """Of a message to all most is for others: it is not counted, and no frame is made."""
        async with subscribe("a"):
            before = metrics.events_received
            events = [
                {"group": group, "number": 1, "mark": "m" * 8, "previous": "-" * 8, "data": group}
                for group in ("b", "a", "c")
            ]
            get_hub().receive({"type": "sse.event", "group": "", "number": 1, "events": events})
            assert metrics.events_received == before + 1

    @pytest.mark.history
    async def test_group_of_all_that_cannot_be_joined_holds_nothing_up(self, layer):
        """Its server may be away, and that of the group be there."""
        layer.failures["group_add"] = [None, ConnectionError("refused")]
        async with subscribe("a"):
            assert layer.called("group_add") == [layer_group("a"), layer_group(BROADCAST)]

    @pytest.mark.history
    async def test_group_of_all_is_joined_again_where_events_were_missed(self, layer):
        """The layer may have forgotten this membership, and not that of the group."""
        async with subscribe("a"):
            layer.calls.clear()
            following = get_hub().following
            assert following is not None
            following._on_missed(["a"])
            await until(lambda: len(layer.called("group_add")) == 2)
            assert layer.called("group_add") == [layer_group("a"), layer_group(BROADCAST)]

    async def test_unsubscribe_while_another_task_joins(self, opened, layer):
        """Leaving a group while another is joined leaves that one alone."""
        stream, _ = await opened("a", "b")
        layer.gates["group_add"] = asyncio.Event()
        join = asyncio.create_task(stream.subscribe("c"))
        await until(lambda: layer.in_flight)
        await stream.unsubscribe("a")
        layer.gates["group_add"].set()
        await join
        assert stream.groups == {"b", "c"}

    async def test_join_returns_when_the_layer_has_answered(self, opened, layer):
        """Until then nothing may be published that a stream would miss."""
        stream, _ = await opened()
        layer.gates["group_add"] = asyncio.Event()
        join = asyncio.create_task(stream.subscribe("a"))
        await until(lambda: layer.in_flight)
        await asyncio.sleep(0)
        assert not join.done()
        layer.gates["group_add"].set()
        await join
        layer.inbox.put_nowait(message("a", "x"))

    async def test_without_a_layer(self, opened, settings):
        """Streams without groups need no layer; whoever asks for a group is told to add one."""
        settings.CHANNEL_LAYERS = {}
        stream, _ = await opened()
        with pytest.raises(ImproperlyConfigured, match="There is no channel layer 'default'"):
            await stream.subscribe("a")
        with pytest.raises(ImproperlyConfigured, match="CHANNEL_LAYERS = "):
            await subscribe("a").__aenter__()
        assert get_hub().size == 1

    async def test_request_context_does_not_leak(self, opened, layer):
        """The hub's tasks run in no request's context, though a request started them."""
        seen = []
        original = layer.receive

        async def receive(channel: str) -> Any:
            seen.append(request_variable.get())
            return await original(channel)

        layer.receive = receive
        _, exchange = await opened("a")
        layer.inbox.put_nowait(message("a", "x"))
        await exchange.next_event()
        assert set(seen) == {"none"}
        # What runs on the timer and at the end of a tick is the hub's, too.
        assert get_hub().driver.context.get(request_variable) is None


class TestAudiences:
    async def test_event_goes_to_the_streams_of_its_group(self, opened, layer):
        """Streams of other groups get nothing of it."""
        (_, a), (_, b), (_, ab) = await opened("a"), await opened("b"), await opened("a", "b")
        layer.inbox.put_nowait(message("a", "for a"))
        layer.inbox.put_nowait(message("b", "for b"))
        assert (await a.next_event()).data == "for a"
        assert (await b.next_event()).data == "for b"
        assert [(await ab.next_event()).data for _ in range(2)] == ["for a", "for b"]
        for exchange in (a, b, ab):
            assert not exchange.has_unread

    async def test_order_is_kept_across_groups(self, opened, layer):
        """A stream of several groups gets their events in the order in which they came."""
        _, exchange = await opened("a", "b", "c")
        for number in range(30):
            layer.inbox.put_nowait(message("abc"[number % 3], str(number)))
        received = [(await exchange.next_event()).data for _ in range(30)]
        assert received == [str(number) for number in range(30)]

    async def test_event_of_several_groups_comes_once(self, opened, layer):
        """Copies of one event that come by several groups are one for each stream."""
        (_, one), (_, both) = await opened("b"), await opened("a", "b")
        for group in "ab":
            layer.inbox.put_nowait(message(group, "x", token="t1", groups=["a", "b"]))
        layer.inbox.put_nowait(message("b", "marker"))
        assert [(await both.next_event()).data for _ in range(2)] == ["x", "marker"]
        assert [(await one.next_event()).data for _ in range(2)] == ["x", "marker"]

    async def test_stream_that_changes_its_groups_in_between(self, opened, layer):
        """What came before a change goes to those who were there; nothing is lost or repeated."""
        stream, exchange = await opened("a")
        hub = get_hub()
        hub.receive(message("a", "before"))
        hub.receive(message("b", "not yet"))
        await stream.subscribe("b")
        hub.receive(message("a", "after"))
        hub.receive(message("b", "b"))
        await stream.unsubscribe("a")
        hub.receive(message("a", "not any more"))
        hub.receive(message("b", "marker"))
        received = [(await exchange.next_event()).data for _ in range(4)]
        assert received == ["before", "after", "b", "marker"]

    async def test_message_for_a_group_without_streams(self, opened, layer):
        """A message that comes late, for a group that was left, is ignored."""
        _, exchange = await opened("a")
        layer.inbox.put_nowait(message("left", "x"))
        layer.inbox.put_nowait(message("a", "marker"))
        assert (await exchange.next_event()).data == "marker"


class TestWrites:
    async def test_burst_is_written_once(self, opened, layer):
        """Events that come together are one write for each stream, and the same bytes for all."""
        exchanges = [(await opened("a"))[1] for _ in range(3)]
        writes = [len(exchange.chunks) for exchange in exchanges]
        for number in range(20):
            layer.inbox.put_nowait(message("a", str(number)))
        for exchange in exchanges:
            assert [(await exchange.next_event()).data for _ in range(20)] == [
                str(number) for number in range(20)
            ]
        assert [len(exchange.chunks) for exchange in exchanges] == [n + 1 for n in writes]
        bodies = {id(exchange.chunks[-1]) for exchange in exchanges}
        assert len(bodies) == 1

    async def test_event_is_encoded_once(self, opened, layer, monkeypatch):
        """However many streams there are, an event is made into bytes once."""
        framed = []

        def note(*args: Any, **kwargs: Any) -> bytes:
            framed.append(args)
            return frame(*args, **kwargs)

        exchanges = [(await opened(*groups))[1] for groups in ("a", "a", "ab")]
        monkeypatch.setattr("django_sse.envelope.frame", note)
        layer.inbox.put_nowait(message("a", "x"))
        for exchange in exchanges:
            await exchange.next_event()
        assert framed == [("x",)]

    async def test_broadcast_is_behind_what_came_before(self, opened, layer):
        """A broadcast does not overtake the events of groups."""
        (_, a), (_, none) = await opened("a"), await opened()
        layer.inbox.put_nowait(message("a", "1"))
        layer.inbox.put_nowait(message("", "2"))
        layer.inbox.put_nowait(message("a", "3"))
        assert [(await a.next_event()).data for _ in range(3)] == ["1", "2", "3"]
        assert (await none.next_event()).data == "2"

    async def test_stream_that_ends_while_it_is_delivered_to(self, opened, layer):
        """A stream that ends itself by an event does not disturb the others' delivery."""
        stream, exchange = await opened()
        others = [(await opened("a"))[1] for _ in range(3)]

        def end(event: Any) -> bool:
            raise LookupError

        await stream.subscribe("a", where=end)
        layer.inbox.put_nowait(message("a", "x"))
        for other in others:
            assert (await other.next_event()).data == "x"
        await exchange.ended()


class TestMalformedMessages:
    @pytest.mark.parametrize(
        "malformed",
        [
            {},
            {"type": "sse.event"},
            {"type": "sse.event", "group": "a"},
            {"type": "sse.event", "group": "a", "data": 5},
            {"type": "other", "group": ["a"], "data": "x"},
            {"type": "sse.event", "group": "a", "data": "\ud800"},
            {"type": "sse.event", "group": None, "data": "x"},
            {"type": "sse.event", "group": "a", "data": "x", "groups": ["a", ["b"]]},
            {"type": "sse.event", "group": "a", "data": "x", "key": ["k"]},
            {"type": "sse.event", "group": "a", "data": "x", "mark": 5},
            {"type": "sse.event", "group": "a", "data": "x", "mark": "m", "number": "1"},
            {"type": "sse.event", "group": "a", "data": "x", "mark": "m", "number": 1},
        ],
    )
    async def test_malformed_message_is_ignored(self, opened, layer, caplog, malformed):
        """What is no event is logged and dropped; what comes after it arrives."""
        _, exchange = await opened("a")
        layer.inbox.put_nowait(malformed)
        layer.inbox.put_nowait(message("a", "fine"))
        assert (await exchange.next_event()).data == "fine"
        assert metrics.events_received == 1
        assert "A message of the channel layer is not an event" in caplog.text


class TestBroadcast:
    async def test_failing_layer_does_not_hold_streams_up(
        self, opened, layer, caplog, monkeypatch
    ):
        """A stream opens though the layer is down; broadcasts come once it is back."""
        monkeypatch.setattr("django_sse.broadcasts._RETRY_SECONDS", 0.001)
        layer.failures["group_add"] = [ConnectionError("down") for _ in range(3)]
        (_, one), (_, two) = await opened(), await opened()
        await until(lambda: layer.called("group_add").count("sse.all") == 4)
        assert caplog.text.count("This worker's streams get no broadcast yet") == 1
        await abroadcast("back")
        assert (await one.next_event()).data == "back"
        assert (await two.next_event()).data == "back"

    async def test_broadcast_counts_the_open_streams(self, opened):
        """The number is that of this process's open streams, in groups or not."""
        assert await abroadcast("nobody") == 0
        exchanges = [(await opened(*groups))[1] for groups in ("a", "", "ab")]
        assert await abroadcast("all") == 3
        for exchange in exchanges:
            assert (await exchange.next_event()).data == "all"
        await exchanges[0].disconnected()
        assert await abroadcast("two") == 2


class TestGetHub:
    async def test_one_hub_for_a_loop(self):
        """Each loop has one hub."""
        assert get_hub() is get_hub()

    def test_hub_of_a_closed_loop_is_disposed_of(self):
        """A loop that was closed takes its hub along when the next one is made."""

        async def make() -> Any:
            hub = get_hub()
            hub.shut_down()
            while hub._tasks:
                await asyncio.wait(set(hub._tasks))
            return hub

        first = asyncio.run(make())
        second = asyncio.run(make())
        assert first is not second
        assert list(hub_module._hubs.values()) == [second]

    async def test_hub_lets_streams_go(self, opened):
        """Nothing refers to a stream that has ended: not the hub, not its timer."""
        _, exchange = await opened("a")
        await exchange.disconnected()
        hub = get_hub()
        await until(lambda: hub.size == 0 and not hub._tasks)
        assert not hub.streams
        assert not list(hub.audiences)
        assert not any(hub.timer._slots.values())
        gc.collect()

    async def test_streams_that_end_do_not_pile_up(self, asgi, route):
        """A thousand short streams leave nothing behind."""

        @event_stream
        async def view(request):
            yield "x"

        route("s/", view)
        for _ in range(100):
            await asgi.get("/s/")
        hub = get_hub()
        await until(lambda: hub.size == 0)
        assert not hub.streams
        assert len(hub._tasks) <= 1
        assert metrics.streams_opened == 100


async def test_publish_on_the_loops_thread_is_in_order(opened):
    """What a coroutine publishes without waiting arrives in that order."""
    _, exchange = await opened("a")
    for number in range(20):
        publish("a", number)
    assert [(await exchange.next_event()).json() for _ in range(20)] == list(range(20))


async def test_apublish_reaches_every_loops_own_streams(opened):
    """apublish() on the serving loop goes straight through the layer."""
    _, exchange = await opened("a")
    await apublish("a", 1)
    assert (await exchange.next_event()).json() == 1
