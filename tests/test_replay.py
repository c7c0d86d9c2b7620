"""What a client gets that comes back, comes late, or reads slowly: every event once, in order."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from django.db import transaction

from django_sse import (
    EventStream,
    abroadcast,
    apublish,
    event_stream,
    events_dropped,
    gathering,
    publish,
    sending,
    subscribe,
)
from django_sse.metrics import metrics
from django_sse.positions import START, Position, decode, encode
from django_sse.stores import get_store
from django_sse.testing import ReceivedEvent, ReceivedStream, StreamClient
from tests.clients import TIMEOUT, until

pytestmark = pytest.mark.history


class Site:
    """Streams of any groups, and their clients."""

    def __init__(self, asgi: StreamClient) -> None:
        self.asgi = asgi
        self.streams: list[Any] = []

    async def open(
        self, *groups: str, id: str | None = None, header: str | None = None, **query: object
    ) -> ReceivedStream:
        """Open a stream; *id* goes into the query, *header* into Last-Event-ID."""
        fields = [("group", group) for group in groups]
        fields += [(name, str(value)) for name, value in query.items()]
        fields += [] if id is None else [("last_event_id", id)]
        headers = {} if header is None else {"last-event-id": header}
        return await self.asgi.open(f"/s/?{urlencode(fields)}", headers=headers)

    async def id_now(self, *groups: str) -> str:
        """Return the id of a client that has all there is, and has gone."""
        exchange = await self.open(*groups)
        id = id_of(await exchange.next_frame())
        await exchange.disconnected()
        return id


def store() -> Any:
    """Return the project's store."""
    return get_store()


def position(id: str, group: str) -> Position:
    """Return what *id* says of *group*."""
    said = decode(id)
    assert said is not None
    found = said.position(group)
    assert found is not None
    return found


def id_of(frame: bytes) -> str:
    """Return the id that *frame* tells."""
    [line] = [line for line in frame.decode().split("\n") if line.startswith("id: ")]
    return line[4:]


async def data(exchange: ReceivedStream, count: int) -> list[str]:
    """Return the data of the next *count* events."""
    return [(await exchange.next_event()).data for _ in range(count)]


async def the_rest(exchange: ReceivedStream, *groups: str) -> list[ReceivedEvent]:
    """Return all that comes up to events that are published to each of *groups* now."""
    ends = {f"the end of {group}" for group in groups}
    for group in groups:
        await apublish(group, f"the end of {group}")
    events = []
    while ends:
        events.append(await exchange.next_event())
        ends.discard(events[-1].data)
    return [event for event in events if not event.data.startswith("the end of ")]


@pytest.fixture
def site(asgi: StreamClient, route: Callable[..., None]) -> Site:
    """The pages of the tests: /s/?group=a&group=b, with the options of event_stream."""
    site = Site(asgi)

    def view_of(**options: Any) -> Any:
        @event_stream(groups=lambda request: request.GET.getlist("group"), **options)
        async def view(request: Any, stream: EventStream) -> None:
            site.streams.append(stream)

        return view

    views = {start: view_of(start=start) for start in ("new", "all", 0, 3)}

    async def choose(request: Any) -> Any:
        start = request.GET.get("start", "new")
        return await views[int(start) if start.isdigit() else start](request)

    route("s/", choose)
    return site


class TestFirstFrame:
    async def test_it_has_the_reconnection_time_and_the_id(self, site):
        """A client that drops before its first event can say where it was."""
        await apublish("a", 1)
        exchange = await site.open("a", "b")
        frame = await exchange.next_frame()
        id = id_of(frame)
        assert frame == b"retry: 3000\nid: %b\n\n" % id.encode()
        assert position(id, "a").number == 1
        assert position(id, "b") == START

    async def test_without_a_group_there_is_no_id(self, site):
        """Nothing could be resumed by it."""
        exchange = await site.open()
        assert await exchange.next_frame() == b"retry: 3000\n\n"

    async def test_without_a_store_there_is_no_id(self, site, settings):
        """Nor has an event one."""
        settings.DJANGO_SSE = {"STORE": None}
        exchange = await site.open("a")
        assert await exchange.next_frame() == b"retry: 3000\n\n"
        await apublish("a", "x")
        assert await exchange.next_frame() == b"data: x\n\n"

    async def test_each_event_has_an_id(self, site):
        """It is that of the place behind the event, and goes before its fields."""
        exchange = await site.open("a")
        before = id_of(await exchange.next_frame())
        await apublish("a", {"x": 1}, event="e", retry=5)
        frame = await exchange.next_frame()
        id = id_of(frame)
        assert id != before
        assert frame == b'id: %b\nevent: e\nretry: 5\ndata: {"x":1}\n\n' % id.encode()
        assert position(id, "a").number == 1

    async def test_drop_before_the_first_event(self, site):
        """The id of the first frame resumes right there."""
        exchange = await site.open("a")
        id = id_of(await exchange.next_frame())
        await exchange.disconnected()
        await apublish("a", "missed")
        back = await site.open("a", header=id)
        assert await data(back, 1) == ["missed"]


class TestResume:
    @pytest.mark.parametrize("by", ["header", "id"])
    async def test_what_was_missed_comes_first(self, site, by):
        """In order, then goes on live, by the header or by the query parameter."""
        id = await site.id_now("a")
        for number in range(5):
            await apublish("a", number)
        exchange = await site.open("a", **{by: id})
        assert await data(exchange, 5) == list("01234")
        await apublish("a", "live")
        assert await data(exchange, 1) == ["live"]

    async def test_the_header_wins(self, site):
        """A browser's own id is newer than the one that the page's URL has."""
        old = await site.id_now("a")
        await apublish("a", 1)
        new = await site.id_now("a")
        await apublish("a", 2)
        exchange = await site.open("a", header=new, id=old)
        assert await data(exchange, 1) == ["2"]

    async def test_the_first_frame_has_the_id_that_was_sent(self, site):
        """Until the missed events have come the client is where it was."""
        id = await site.id_now("a")
        await apublish("a", 1)
        exchange = await site.open("a", header=id)
        assert id_of(await exchange.next_frame()) == id

    async def test_nothing_was_missed(self, site):
        """Then nothing is replayed."""
        await apublish("a", "old")
        exchange = await site.open("a", header=await site.id_now("a"))
        await apublish("a", "new")
        assert await data(exchange, 1) == ["new"]

    async def test_resume_behind_each_event(self, site):
        """The id of any event goes on with the next one."""
        exchange = await site.open("a", "b")
        for number in range(6):
            await apublish("ab"[number % 2], number)
        events = [await exchange.next_event() for _ in range(6)]
        assert sorted(event.data for event in events) == list("012345")
        for index, event in enumerate(events):
            back = await site.open("a", "b", header=event.id)
            rest = await the_rest(back, "a", "b")
            expected = [later.data for later in events[index + 1 :]]
            assert sorted(later.data for later in rest) == sorted(expected)
            await back.disconnected()

    async def test_other_groups_than_before(self, site):
        """It has missed events in b; in c it is new, and a is not its own any more."""
        id = await site.id_now("a", "b")
        for group in ("a", "b", "c"):
            await apublish(group, f"{group} missed")
        exchange = await site.open("b", "c", header=id)
        assert await data(exchange, 1) == ["b missed"]
        for group in ("a", "b", "c"):
            await apublish(group, f"{group} live")
        assert sorted(await data(exchange, 2)) == ["b live", "c live"]

    @pytest.mark.parametrize("count", [1, 30, 600])
    async def test_events_of_two_groups_come_once(self, site, count):
        """However many have been missed."""
        id = await site.id_now("a", "b")
        for number in range(count):
            await apublish(["a", "b"], number)
        exchange = await site.open("a", "b", header=id)
        rest = await the_rest(exchange, "a", "b")
        assert [event.data for event in rest] == [str(number) for number in range(count)]

    async def test_events_of_two_groups_among_many_of_one(self, site):
        """They come once where one history is far longer than the other, too."""
        id = await site.id_now("a", "b")
        expected = []
        for number in range(300):
            await apublish("b", f"b{number}")
            await apublish(["a", "b"], f"both{number}")
            expected += [f"b{number}", f"both{number}"]
        for number in range(300):
            await apublish(["b", "a"], f"both again{number}")
            await apublish("a", f"a{number}")
            expected += [f"both again{number}", f"a{number}"]
        exchange = await site.open("a", "b", header=id)
        rest = await the_rest(exchange, "a", "b")
        assert sorted(event.data for event in rest) == sorted(expected)
        assert max(len(event.id) for event in rest) < 100

    async def test_resume_between_the_two_copies_of_an_event(self, site):
        """One that the client has from the one group does not come again from the other."""
        exchange = await site.open("a", "b")
        await apublish(["a", "b"], "both")
        event = await exchange.next_event()
        there = position(event.id, "a")
        assert there != START
        between = encode({"a": there, "b": START}, {there.mark: ["b"]})
        await exchange.disconnected()
        await apublish("b", "next")
        back = await site.open("a", "b", header=between)
        assert await data(back, 1) == ["next"]

    async def test_rights_of_now(self, site):
        """An id gives nobody a group: the view says which."""
        id = await site.id_now("a", "secret")
        await apublish("secret", "s")
        await apublish("a", "x")
        exchange = await site.open("a", header=id)
        assert [event.data for event in await the_rest(exchange, "a")] == ["x"]

    async def test_events_without_history_come_meanwhile(self, site):
        """A client on its way gets them as they are published: no store has them."""
        id = await site.id_now("a")
        for number in range(300):
            await apublish("a", number)
        exchange = await site.open("a", header=id)
        await apublish("a", "only now", history=False)
        rest = [event.data for event in await the_rest(exchange, "a")]
        assert rest.count("only now") == 1
        rest.remove("only now")
        assert rest == [str(number) for number in range(300)]

    async def test_many_clients_come_back_at_once(self, site):
        """They share what is read of the store."""
        id = await site.id_now("a")
        for number in range(50):
            await apublish("a", number)
        reads: list[Any] = []
        read = store().aread

        async def count(*args: Any) -> Any:
            reads.append(args)
            await asyncio.sleep(0)
            return await read(*args)

        store().aread = count
        clients = await asyncio.gather(*[site.open("a", header=id) for _ in range(20)])
        for client in clients:
            assert await data(client, 50) == [str(number) for number in range(50)]
        assert len(reads) < 10


class TestStart:
    @pytest.fixture(autouse=True)
    async def past(self) -> None:
        """Five events of a, one of b."""
        for number in range(5):
            await apublish("a", number)
        await apublish("b", "b")

    @pytest.mark.parametrize(
        ("start", "expected"),
        [("all", "01234"), (3, "234"), ("new", ""), (0, "")],
    )
    async def test_start_without_an_id(self, site, start, expected):
        """All that is kept, the last ones, or nothing of it; then live."""
        exchange = await site.open("a", start=start)
        assert [event.data for event in await the_rest(exchange, "a")] == list(expected)

    async def test_start_counts_for_each_group(self, site):
        """One that has fewer events gives what it has."""
        exchange = await site.open("a", "b", start=3)
        assert sorted(event.data for event in await the_rest(exchange, "a", "b")) == list("234b")

    async def test_an_id_goes_before_it(self, site):
        """A client that comes back has had the past already."""
        id = await site.id_now("a")
        await apublish("a", "missed")
        exchange = await site.open("a", header=id, start="all")
        assert [event.data for event in await the_rest(exchange, "a")] == ["missed"]

    async def test_start_of_a_group_that_is_unknown(self, site):
        """Nothing, and no reset."""
        exchange = await site.open("nobody", start="all")
        assert await the_rest(exchange, "nobody") == []


class TestReset:
    async def test_malformed(self, site):
        """The page is told, once, with the id to go on from; then the stream is as any other."""
        await apublish("a", "old")
        exchange = await site.open("a", header="no id of ours")
        first = await exchange.next_frame()
        id = id_of(first).encode()
        # In one frame: a client that has the id, and leaves then, has been told.
        assert first == b"retry: 3000\nid: %b\nevent: reset\ndata: malformed\n\n" % id
        assert [event.data for event in await the_rest(exchange, "a")] == []
        assert metrics.resets_sent == 1

    @pytest.mark.parametrize("id", ["7", "\u00e9", "a" * 9000, "~" + "m" * 8 + "1", "%00", "a.b"])
    async def test_malformed_of_every_kind(self, site, id):
        """Never a 500, never silence."""
        exchange = await site.open("a", id=id)
        assert exchange.status == 200
        assert (await exchange.next_event())[:2] in (("malformed", "reset"), ("unknown", "reset"))

    async def test_unknown_by_another_secret_key(self, site, settings):
        """An id of before the key was changed."""
        id = await site.id_now("a")
        settings.SECRET_KEY = "another"
        exchange = await site.open("a", header=id)
        assert (await exchange.next_event())[:2] == ("unknown", "reset")

    async def test_unknown_to_other_groups(self, site):
        """An id of none of the stream's groups."""
        id = await site.id_now("b")
        exchange = await site.open("a", header=id)
        assert (await exchange.next_event())[:2] == ("unknown", "reset")

    async def test_unknown_position(self, site):
        """A history that was lost: its place is not in the one there is."""
        await apublish("a", 1)
        for lost in (Position(1, "another1"), Position(9, "another9")):
            exchange = await site.open("a", header=encode({"a": lost}))
            event = await exchange.next_event()
            assert event[:2] == ("unknown", "reset")
            await apublish("a", "next")
            assert await data(exchange, 1) == ["next"]
            back = await site.open("a", header=event.id)
            assert await data(back, 1) == ["next"]

    async def test_outdated(self, site, settings):
        """What followed has been forgotten by now; what is new comes."""
        settings.DJANGO_SSE = {
            "STORE": {
                "BACKEND": "django_sse.stores.memory.MemoryStore",
                "OPTIONS": {"max_events": 5},
            }
        }
        id = await site.id_now("a")
        for number in range(20):
            await apublish("a", number)
        exchange = await site.open("a", header=id)
        assert (await exchange.next_event())[:2] == ("outdated", "reset")
        assert [event.data for event in await the_rest(exchange, "a")] == []

    async def test_reset_of_one_group_of_two(self, site):
        """The other one is resumed."""
        id = await site.id_now("a", "b")
        await apublish("a", 1)
        await apublish("b", 1)
        b = position(id, "b")
        exchange = await site.open("a", "b", header=encode({"a": Position(7, "m" * 8), "b": b}))
        events = [await exchange.next_event() for _ in range(2)]
        assert sorted(event[:2] for event in events) == [("1", "message"), ("unknown", "reset")]

    async def test_history_that_is_lost_while_a_stream_is_open(self, site, monkeypatch):
        """The stream's page is told, and the stream goes on in the new history."""
        monkeypatch.setattr("django_sse.following._LOOK_SECONDS", 0.01)
        exchange = await site.open("a")
        await apublish("a", "before")
        assert await data(exchange, 1) == ["before"]
        store()._processes.clear()
        await apublish("a", "in another history")
        assert (await exchange.next_event())[:2] == ("lost", "reset")
        await apublish("a", "next")
        assert await data(exchange, 1) == ["next"]


class TestHistory:
    async def test_event_without_history(self, site):
        """It goes to whoever is there, has no id, and is not replayed."""
        id = await site.id_now("a")
        exchange = await site.open("a")
        await exchange.next_frame()
        await apublish("a", "now", history=False)
        assert await exchange.next_frame() == b"data: now\n\n"
        await apublish("a", "kept")
        assert await data(exchange, 1) == ["kept"]
        back = await site.open("a", header=id)
        assert [event.data for event in await the_rest(back, "a")] == ["kept"]

    @pytest.mark.django_db(transaction=True)
    async def test_rollback_publishes_nothing(self, site, sync):
        """Nor does it take a number: the next event follows the one before."""
        exchange = await site.open("a")

        def roll_back() -> None:
            try:
                with transaction.atomic():
                    publish("a", "never")
                    raise LookupError
            except LookupError:
                pass
            with transaction.atomic():
                publish("a", "committed")

        await apublish("a", "first")
        await sync(roll_back)
        events = [await exchange.next_event() for _ in range(2)]
        assert [event.data for event in events] == ["first", "committed"]
        assert [position(event.id, "a").number for event in events] == [1, 2]

    async def test_many_threads_publish_in_the_order_of_the_store(self, site, sync):
        """What an open stream gets, a replay gives again, in the same order."""
        id = await site.id_now("a")
        exchange = await site.open("a")

        def publish_25(name: int) -> None:
            for number in range(25):
                publish("a", f"{name}.{number}")

        def publish_from_threads() -> None:
            threads = [threading.Thread(target=publish_25, args=(name,)) for name in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        await sync(publish_from_threads)
        live = await data(exchange, 100)
        for name in range(4):
            own = [one for one in live if one.startswith(f"{name}.")]
            assert own == [f"{name}.{n}" for n in range(25)]
        stored = store().read("a", START, 1000).entries
        assert live == [entry.message["data"] for entry in stored]
        back = await site.open("a", header=id)
        assert await data(back, 100) == live


class TestWhileAReplayRuns:
    async def test_events_come_once_and_in_order(self, site):
        """What is published meanwhile comes behind what was missed."""
        id = await site.id_now("a")
        for number in range(500):
            await apublish("a", number)
        opening = asyncio.ensure_future(site.open("a", header=id))
        for number in range(500, 1000):
            await apublish("a", number)
        exchange = await opening
        assert await data(exchange, 1000) == [str(number) for number in range(1000)]

    async def test_client_that_reads_the_replay_slowly(self, site, settings):
        """The store is read as the client reads; nothing piles up."""
        settings.DJANGO_SSE = {"QUEUE_MAX_BYTES": 20_000}
        id = await site.id_now("a")
        for number in range(400):
            await apublish("a", f"{number} " + "x" * 1000)
        exchange = site.asgi.start(f"/s/?group=a&last_event_id={id}")
        await exchange.started()
        exchange.stall()
        await until(lambda: site.streams[-1]._queue is not None)
        stream = site.streams[-1]
        for number in range(400, 420):
            await apublish("a", f"{number} " + "x" * 1000)
        assert stream._queued_bytes < 400_000
        exchange.resume()
        received = [one.split()[0] for one in await data(exchange, 420)]
        assert received == [str(number) for number in range(420)]

    async def test_the_store_fails_for_a_while(self, site, monkeypatch):
        """The stream stays, and goes on when the store is back."""
        monkeypatch.setattr("django_sse.feeding._RETRY_SECONDS", 0)
        id = await site.id_now("a", "b")
        for number in range(3):
            await apublish("a", number)
            await apublish("b", number)
        failures = [None, OSError("away"), OSError("away"), None]
        read = store().aread

        async def fail(*args: Any) -> Any:
            error = failures.pop(0) if failures else None
            if error is not None:
                raise error
            return await read(*args)

        monkeypatch.setattr(store(), "aread", fail)
        exchange = await site.open("a", "b", header=id)
        rest = await the_rest(exchange, "a", "b")
        assert sorted(event.data for event in rest) == list("001122")
        assert metrics.store_errors == 2
        assert not failures


class TestWhere:
    @pytest.fixture
    def even(self, asgi, route) -> Site:
        """Streams of the even numbers of the group a, and all of b."""
        site = Site(asgi)

        @event_stream
        async def view(request: Any, stream: EventStream) -> None:
            site.streams.append(stream)
            await stream.subscribe("a", where=lambda event: str(event.data)[-1] in "02468a")
            await stream.subscribe("b")

        route("s/", view)
        return site

    async def test_replay_is_chosen_from_too(self, even):
        """Events that the stream does not want are no part of its past."""
        id = await even.id_now()
        for number in range(6):
            await apublish("a", number)
        await apublish("b", "b")
        exchange = await even.open(header=id)
        assert sorted(event.data for event in await the_rest(exchange, "a", "b")) == list("024b")

    async def test_reset_is_for_all(self, even):
        """No choice applies to it."""
        exchange = await even.open(header="malformed")
        assert (await exchange.next_event())[:2] == ("malformed", "reset")
        lost = encode({"a": Position(7, "m" * 8), "b": START})
        exchange = await even.open(header=lost)
        assert (await exchange.next_event())[:2] == ("unknown", "reset")

    async def test_an_event_of_two_groups(self, even):
        """One that the one group's choice refuses comes by the other."""
        id = await even.id_now()
        await apublish(["a", "b"], 1)
        exchange = await even.open(header=id)
        assert [event.data for event in await the_rest(exchange, "a", "b")] == ["1"]


async def until_sent(stream: EventStream, publishing: Awaitable[object]) -> None:
    """Publish an event, and wait until the stream has written or queued it."""
    sent = stream.events_sent
    await publishing
    await until(lambda: stream.events_sent > sent)


async def waits(stream: Any) -> bool:
    """Tell whether a send of the stream waits for the client, and not for a tick or two only."""
    for _ in range(20):
        if stream._queue is None:
            return False
        await asyncio.sleep(0)
    return True


async def behind(stream: Any) -> None:
    """Wait until the stream has stopped queueing."""
    await until(lambda: stream not in stream.audience.live)


async def live(stream: Any) -> None:
    """Wait until the stream has caught up."""
    await until(lambda: stream in stream.audience.live)


async def stall(site: Site, exchange: ReceivedStream, group: str) -> tuple[Any, list[str]]:
    """
    Let the client stop reading, until its server's send waits.

    Returns:
        The stream, and the data of the events that this took.
    """
    stream = site.streams[-1]
    await until(lambda: stream._queue is None)
    exchange.stall()
    published: list[str] = []
    while not await waits(stream):
        published.append(f"wait{len(published)}")
        await until_sent(stream, apublish(group, published[-1]))
    return stream, published


class TestSlowClient:
    @pytest.fixture(autouse=True)
    def small_queue(self, settings) -> None:
        settings.DJANGO_SSE = {"QUEUE_MAX_BYTES": 500}

    @pytest.fixture
    def dropped(self):
        """Return how many events each signal told of."""
        counts: list[int] = []

        async def receiver(stream: Any, count: int, **kwargs: Any) -> None:
            counts.append(count)

        events_dropped.connect(receiver)
        yield counts
        events_dropped.disconnect(receiver)

    async def test_gets_everything_in_order(self, site, dropped):
        """Beyond the bound nothing is queued; the store has it when the client reads on."""
        exchange = await site.open("a")
        stream, waiting = await stall(site, exchange, "a")
        for number in range(300):
            await apublish("a", f"{number} " + "x" * 50)
        await behind(stream)
        assert stream._queued_bytes <= 600
        exchange.resume()
        received = [one.split()[0] for one in await data(exchange, 300 + len(waiting))]
        assert received == [*waiting, *map(str, range(300))]
        await live(stream)
        assert [event.data for event in await the_rest(exchange, "a")] == []
        assert dropped == []
        assert metrics.events_dropped == 0

    async def test_falls_behind_again_and_again(self, site):
        """Each time it goes on from where it was."""
        exchange = await site.open("a", "b")
        for turn in range(5):
            stream, expected = await stall(site, exchange, "a")
            for number in range(30):
                await apublish(["a", "b"] if number % 3 else "b", f"{turn}.{number} {'x' * 40}")
                expected.append(f"{turn}.{number} {'x' * 40}")
            await behind(stream)
            exchange.resume()
            assert sorted(await data(exchange, len(expected))) == sorted(expected)
            await live(stream)

    async def test_stops_reading_while_the_store_is_read(self, site, monkeypatch):
        """What has been read by then waits for it, whatever its size: the place is behind it."""
        exchange = await site.open("a")
        stream, waiting = await stall(site, exchange, "a")
        for number in range(30):
            await apublish("a", f"{number} " + "x" * 50)
        await behind(stream)
        asked, gate, aread = asyncio.Event(), asyncio.Event(), store().aread

        async def wait(*args: Any) -> Any:
            asked.set()
            await gate.wait()
            return await aread(*args)

        monkeypatch.setattr(store(), "aread", wait)
        exchange.resume()
        await asked.wait()
        exchange.stall()
        while not await waits(stream):
            await until_sent(stream, abroadcast("to all"))
        gate.set()
        await until(lambda: stream._queued_bytes > 500)
        exchange.resume()
        rest = [event.data.split()[0] for event in await the_rest(exchange, "a")]
        assert [one for one in rest if one != "to"] == [*waiting, *map(str, range(30))]

    async def test_others_are_not_held_up(self, site):
        """A fast client of the same groups gets each event at once."""
        fast, slow = await site.open("a"), await site.open("a")
        _, waiting = await stall(site, slow, "a")
        for number in range(50):
            await apublish("a", f"{number} " + "x" * 50)
        expected = [*waiting, *map(str, range(50))]
        assert [one.split()[0] for one in await data(fast, len(expected))] == expected
        slow.resume()
        assert [one.split()[0] for one in await data(slow, len(expected))] == expected

    async def test_key_conflates(self, site):
        """Of the events of one key that wait the newest is sent."""
        exchange = await site.open("a")
        stream, waiting = await stall(site, exchange, "a")
        for number in range(100):
            await apublish("a", f"{number} " + "x" * 50, key="k")
        await apublish("a", "other " + "x" * 50)
        await until(lambda: stream.audience.place.positions["a"].number == 101 + len(waiting))
        exchange.resume()
        received = [event.data.split()[0] for event in await the_rest(exchange, "a")]
        assert received[: len(waiting)] == waiting
        assert received[-2:] == ["99", "other"]
        assert len(received) < 12

    async def test_events_without_history_are_dropped(self, site, dropped):
        """Nowhere could they be read again: the signal tells of them."""
        exchange = await site.open("a")
        stream, waiting = await stall(site, exchange, "a")
        for number in range(20):
            await apublish("a", "x" * 50, history=False)
            await apublish("a", f"{number} " + "x" * 50)
        await behind(stream)
        exchange.resume()
        rest = [event.data for event in await the_rest(exchange, "a")]
        kept = [one.split()[0] for one in rest if not one.startswith("x")]
        assert kept == [*waiting, *map(str, range(20))]
        assert metrics.events_dropped > 0
        await until(lambda: sum(dropped) == 20 - (len(rest) - len(kept)))

    async def test_live_stream_drops_what_has_no_history(self, site, dropped):
        """One that a full queue has no room for is told of and counted; the stream goes on."""
        exchange = await site.open("a")
        stream, waiting = await stall(site, exchange, "a")
        await until_sent(stream, apublish("a", "first " + "x" * 300))
        await apublish("a", "no room " + "x" * 300, history=False)
        await until(lambda: dropped == [1])
        await until_sent(stream, apublish("a", "small", history=False))
        assert stream in stream.audience.live
        exchange.resume()
        rest = [event.data.split()[0] for event in await the_rest(exchange, "a")]
        assert rest == [*waiting, "first", "small"]
        assert metrics.events_dropped == 1

    async def test_live_stream_keeps_the_newest_of_a_key(self, site, dropped):
        """What has no history takes the place of its key's, in a queue that has no more room."""
        exchange = await site.open("a")
        stream, waiting = await stall(site, exchange, "a")
        for number in range(20):
            newest = f"{number:02} " + "x" * 300
            await until_sent(stream, apublish("a", newest, key="k", history=False))
        exchange.resume()
        rest = [event.data.split()[0] for event in await the_rest(exchange, "a")]
        assert rest == [*waiting, "19"]
        assert dropped == []

    async def test_broadcast(self, site):
        """A stream that is behind gets it at once, among what waits; it is in no history."""
        exchange = await site.open("a")
        stream, waiting = await stall(site, exchange, "a")
        for number in range(30):
            await apublish("a", f"{number} " + "x" * 50)
        await behind(stream)
        await abroadcast("to all")
        await until(lambda: any(b"to all" in one for one in stream._queue.values()))
        exchange.resume()
        rest = [event.data.split()[0] for event in await the_rest(exchange, "a")]
        assert rest.count("to") == 1
        assert [one for one in rest if one != "to"] == [*waiting, *map(str, range(30))]

    async def test_unsubscribe_while_behind(self, site):
        """What waits in a group that is left is not sent."""
        exchange = await site.open("a", "b")
        stream, _ = await stall(site, exchange, "a")
        for number in range(30):
            await apublish("a", f"a{number} " + "x" * 50)
            await apublish("b", f"b{number} " + "x" * 50)
        await behind(stream)
        await stream.unsubscribe("b")
        await apublish("b", "not this")
        exchange.resume()
        rest = [event.data.split()[0] for event in await the_rest(exchange, "a")]
        assert [one for one in rest if one[0] == "a"] == [f"a{number}" for number in range(30)]
        assert len([one for one in rest if one[0] == "b"]) < 30
        assert "not" not in rest
        await live(stream)

    async def test_subscribe_while_behind(self, site):
        """A group that comes in begins with what is new."""
        exchange = await site.open("a")
        stream, _ = await stall(site, exchange, "a")
        await apublish("b", "before")
        for number in range(30):
            await apublish("a", f"a{number} " + "x" * 50)
        await behind(stream)
        await stream.subscribe("b")
        for number in range(30):
            await apublish("b", f"b{number} " + "x" * 50)
        exchange.resume()
        rest = [event.data.split()[0] for event in await the_rest(exchange, "a", "b")]
        assert [one for one in rest if one[0] == "a"] == [f"a{number}" for number in range(30)]
        assert [one for one in rest if one[0] == "b"] == [f"b{number}" for number in range(30)]
        assert "before" not in rest

    async def test_leaves_all_its_groups_while_behind(self, site):
        """Then there is nothing to catch up with."""
        exchange = await site.open("a")
        stream, _ = await stall(site, exchange, "a")
        for number in range(30):
            await apublish("a", f"a{number} " + "x" * 50)
        await behind(stream)
        await stream.unsubscribe("a")
        exchange.resume()
        await stream.send("own")
        received = await exchange.next_event()
        while received.data != "own":
            received = await exchange.next_event()
        await stream.subscribe("a")
        assert [event.data for event in await the_rest(exchange, "a")] == []

    async def test_client_that_leaves_while_behind(self, site):
        """Nothing of it is left."""
        exchange = await site.open("a")
        stream, _ = await stall(site, exchange, "a")
        for number in range(30):
            await apublish("a", f"a{number} " + "x" * 50)
        await behind(stream)
        tail = stream._hub.following._tails["a"]
        assert tail._watchers == 1
        await exchange.disconnected()
        await until(lambda: stream._hub.size == 0)
        await until(lambda: tail._watchers == 0)
        assert list(stream._hub.audiences) == []


class TestHandlers:
    @pytest.fixture
    def late(self, asgi: StreamClient, route: Callable[..., None]) -> Site:
        """A view that sends before it subscribes."""

        @event_stream
        async def view(request: Any, stream: EventStream) -> None:
            await stream.send("own")
            await until(lambda: stream.bytes_sent)
            await stream.subscribe("a")

        route("s/", view)
        return Site(asgi)

    async def test_subscribe_after_the_first_send(self, late):
        """The id goes on the wire once the stream has a group; what is missed comes then."""
        exchange = await late.open()
        assert await exchange.next_frame() == b"retry: 3000\n\n"
        assert await exchange.next_frame() == b"data: own\n\n"
        id = id_of(await exchange.next_frame())
        await apublish("a", "missed")
        back = await late.open(header=id)
        assert [event.data for event in await the_rest(back, "a")] == ["own", "missed"]

    async def test_reset_after_the_first_send(self, late):
        """The page is told all the same."""
        exchange = await late.open(header="nothing")
        events = [(await exchange.next_event())[:2] for _ in range(2)]
        assert events == [("own", "message"), ("malformed", "reset")]

    async def test_groups_one_by_one(self, asgi, route):
        """An id of both is used for each; the reset comes only where no group is known."""

        @event_stream
        async def view(request: Any, stream: EventStream) -> None:
            await stream.subscribe("a")
            await stream.subscribe("b")

        route("s/", view)
        site = Site(asgi)
        id = await site.id_now()
        for group in ("a", "b"):
            await apublish(group, group)
        exchange = await site.open(header=id)
        assert sorted(event[:2] for event in await the_rest(exchange, "a", "b")) == [
            ("a", "message"),
            ("b", "message"),
        ]

    async def test_own_id(self, asgi, route):
        """A handler may send ids of its own where it has no group."""

        @event_stream
        async def view(request: Any, stream: EventStream) -> None:
            await stream.send(stream.last_event_id, id="mine")

        route("s/", view)
        exchange = await Site(asgi).open(header="theirs")
        assert await exchange.next_event() == ("theirs", "message", "mine")


class TestGenerators:
    @pytest.fixture
    def site(self, asgi, route) -> Site:
        """A generator that reads the group a, and resumes."""

        @event_stream
        async def view(request: Any) -> Any:
            id = request.headers.get("Last-Event-ID")
            async with subscribe("a", last_event_id=id) as events:
                async for event in events:
                    yield event

        route("s/", view)
        return Site(asgi)

    async def test_resume(self, site):
        """The id is told before the first event; it goes on from there."""
        exchange = await site.open()
        assert await exchange.next_frame() == b"retry: 3000\n\n"
        id = id_of(await exchange.next_frame())
        await apublish("a", "first")
        assert await data(exchange, 1) == ["first"]
        await exchange.disconnected()
        await apublish("a", "second")
        back = await site.open(header=id)
        assert await data(back, 2) == ["first", "second"]

    async def test_reset(self, site):
        """It comes as the first event, with the id to go on from."""
        await apublish("a", "old")
        exchange = await site.open(header="malformed")
        event = await exchange.next_event()
        assert event[:2] == ("malformed", "reset")
        await apublish("a", "new")
        back = await site.open(header=event.id)
        assert await data(back, 1) == ["new"]


async def read(events: Any, count: int) -> list[Any]:
    async with asyncio.timeout(TIMEOUT):
        return [(await anext(events)).data for _ in range(count)]


def reading(*groups: str, **options: Any) -> Any:
    """Return a subscription."""
    return subscribe(*groups, **options)


class TestSubscriptions:
    async def test_events_have_ids(self):
        """Each stands for all of the groups, and resumes them."""
        async with reading("a", "b") as events:
            await apublish("a", 1)
            await apublish("b", 2)
            first = await anext(events)
            await anext(events)
        async with reading("a", "b", last_event_id=first.id) as events:
            assert await read(events, 1) == [2]
            await apublish(["a", "b"], 3)
            assert await read(events, 1) == [3]

    @pytest.fixture
    def small_pieces(self, monkeypatch):
        """Let few events come as one: the first piece is taken, whatever its size."""
        monkeypatch.setattr(sending, "_HANDED_AT_ONCE", 5)
        for name in ("_MIN_SECONDS", "_MAX_SECONDS"):  # None of them waits for more.
            monkeypatch.setattr(gathering, name, 0)

    @pytest.mark.usefixtures("small_pieces")
    async def test_falls_behind(self, settings):
        """A reader that is slow loses nothing, and holds little."""
        settings.DJANGO_SSE = {"QUEUE_MAX_BYTES": 500}
        async with reading("a") as events:
            for number in range(300):
                await apublish("a", number)
            assert len(events._queue) < 50
            assert await read(events, 300) == list(range(300))
            next_one = asyncio.ensure_future(anext(events))
            await until(lambda: events.audience.live.keys() == {events})
            await apublish("a", "live")
            assert (await next_one).data == "live"
        assert metrics.events_dropped == 0

    async def test_what_has_no_history_and_no_room(self, settings):
        """It is dropped and counted; of a key the newest is read; the subscription goes on."""
        settings.DJANGO_SSE = {"QUEUE_MAX_BYTES": 500}
        async with reading("a") as events:
            await apublish("a", "first " + "x" * 300)
            await until(lambda: len(events._queue) == 1)
            await apublish("a", "no room " + "x" * 300, history=False)
            await until(lambda: metrics.events_dropped == 1)
            for number in range(20):
                await apublish("a", f"{number:02} " + "x" * 100, key="k", history=False)
            await apublish("a", "last", history=False)
            await until(lambda: len(events._queue) == 3)
            received = [str(one).split()[0] for one in await read(events, 3)]
        assert received == ["first", "19", "last"]
        assert metrics.events_dropped == 1

    async def test_falls_behind_with_keys(self, settings):
        """Of one key the newest is read."""
        settings.DJANGO_SSE = {"QUEUE_MAX_BYTES": 500}
        async with reading("a") as events:
            for number in range(300):
                await apublish("a", number, key="k")
            await apublish("a", "last")
            received = [await anext(events)]
            while received[-1].data != "last":
                received.append(await anext(events))
            assert received[-2].data == 299
            assert len(received) < 50

    @pytest.mark.parametrize("id", ["7", "x" * 9000, "", None])
    async def test_reset(self, id):
        """An id of no use is told; none is none."""
        async with reading("a", last_event_id=id) as events:
            await apublish("a", "x")
            first = await anext(events)
            assert first.data == ("malformed" if id else "x")
            assert first.event == ("reset" if id else None)

    @pytest.mark.usefixtures("small_pieces")
    async def test_a_wait_that_is_given_up_while_behind(self, settings):
        """A time limit on the reading loses nothing."""
        settings.DJANGO_SSE = {"QUEUE_MAX_BYTES": 300}
        gate, aread = asyncio.Event(), store().aread

        async def wait(group: str, *args: Any) -> Any:
            if group == "b":
                await gate.wait()
            return await aread(group, *args)

        async with reading("a", "b") as events:
            for number in range(40):
                await apublish("a", number)
                await apublish("b", number)
            await until(lambda: not events.audience.live)
            received = []
            store().aread = wait
            while events._queue:
                received.append((await anext(events)).data)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await anext(events)
            gate.set()
            received += await read(events, 80 - len(received))
            assert sorted(received) == sorted([*range(40), *range(40)])

    @pytest.mark.usefixtures("small_pieces")
    async def test_leaves_while_behind(self, settings):
        """Nothing is left to watch for it."""
        settings.DJANGO_SSE = {"QUEUE_MAX_BYTES": 300}
        async with reading("a") as events:
            for number in range(100):
                await apublish("a", number)
            await until(lambda: not events.audience.live)
            tail = events._hub.following._tails["a"]
            assert tail._watchers == 1
        assert tail._watchers == 0
