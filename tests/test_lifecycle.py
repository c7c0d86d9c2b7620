"""The life of a stream: its clock, slow clients, its ends, and what is told of them."""

import asyncio
import logging
from typing import Any

import pytest
from django.contrib.auth.models import User

from django_sse import EventStream, apublish, event_stream, events_dropped, publish
from django_sse.hub import get_hub
from django_sse.lifetime import Lifetime, check_lifetime, make_lifetime
from django_sse.metrics import metrics
from django_sse.reasons import CloseReason
from django_sse.testing import ReceivedStream, StreamClient
from tests.clients import TIMEOUT, until

RETRY = b"retry: 3000\n\n"


class Opened:
    """A stream from both of its sides."""

    def __init__(self, stream: EventStream, exchange: ReceivedStream) -> None:
        self.stream = stream
        self.exchange = exchange
        self.closed = asyncio.Event()
        stream.on_close(self.closed.set)

    async def ended_as(self, reason: CloseReason) -> None:
        """Wait for the cleanup; it must have been *reason* that ended the stream."""
        await asyncio.wait_for(self.closed.wait(), TIMEOUT)
        assert self.stream.reason is reason


@pytest.fixture
def opened(asgi: StreamClient, route: Any) -> Any:
    """Return a function that opens a stream of the group "a" with options of event_stream()."""
    paths = iter(range(100))

    async def open_stream(**options: Any) -> Opened:
        streams: list[EventStream] = []

        @event_stream(**{"groups": "a", **options})
        async def view(request: Any, stream: EventStream) -> None:
            streams.append(stream)

        path = f"opened-{next(paths)}/"
        route(path, view)
        exchange = await asgi.open(f"/{path}")
        await exchange.next_frame()
        return Opened(streams[0], exchange)

    return open_stream


def now(opened: Opened) -> float:
    return opened.stream._hub.loop.time()


class TestHeartbeat:
    async def test_heartbeat_reaches_an_idle_client(self, opened):
        """A stream with nothing to send sends a comment now and then."""
        idle = await opened(heartbeat=0.01)
        assert await idle.exchange.next_frame() == b":\n\n"
        assert await idle.exchange.next_frame() == b":\n\n"
        assert idle.stream.events_sent == 0

    async def test_heartbeat_of_the_settings(self, opened, settings):
        """The setting is the default."""
        settings.DJANGO_SSE = {"HEARTBEAT_SECONDS": 0.01}
        idle = await opened()
        assert await idle.exchange.next_frame() == b":\n\n"

    async def test_heartbeat_waits_for_silence(self, opened):
        """An event is a sign of life too: the heartbeat comes its time after the last write."""
        busy = await opened(heartbeat=10)
        before = now(busy)
        await apublish("a", "x")
        await busy.exchange.next_event()
        last = busy.stream._last_write
        assert last >= before
        busy.stream.on_time(last + 9.4)
        assert not busy.exchange.has_unread
        assert busy.stream.on_time(last + 10) == pytest.approx(last + 20, abs=0.26)
        assert await busy.exchange.next_frame() == b":\n\n"

    async def test_heartbeats_keep_to_half_seconds(self, opened):
        """Those of many streams are written in one go, whenever each was written to last."""
        idle = await opened(heartbeat=10)
        for begun in (100.0, 100.2, 100.4, 100.7):
            idle.stream._own_write = begun
            deadline = idle.stream.on_time(begun + 1)
            assert deadline * 2 == int(deadline * 2)
            assert deadline == pytest.approx(begun + 10, abs=0.26)
            idle.stream.on_time(deadline - 0.6)
            assert not idle.exchange.has_unread
            assert idle.stream.on_time(deadline) == deadline + 10
            assert await idle.exchange.next_frame() == b":\n\n"


class TestDuration:
    async def test_max_duration_ends_the_stream(self, opened):
        """After its time a stream ends; a browser then comes back."""
        short = await opened(max_duration=0.05)
        assert await short.exchange.ended() == RETRY
        await short.ended_as(CloseReason.MAX_DURATION)

    async def test_max_duration_of_the_settings(self, opened, settings):
        """The setting is the default."""
        settings.DJANGO_SSE = {"MAX_DURATION_SECONDS": 0.05}
        short = await opened()
        await short.ended_as(CloseReason.MAX_DURATION)

    async def test_max_duration_is_spread(self, opened):
        """Streams that began together do not end together: the times differ by up to 20 %."""
        streams = [await opened(max_duration=100, heartbeat=1000) for _ in range(10)]
        ends = [one.stream._ends_at - one.stream._last_write for one in streams]
        assert all(90 <= end <= 110 for end in ends)
        assert max(ends) - min(ends) > 1
        start = streams[0].stream._last_write
        assert streams[0].stream.on_time(start + 89) == pytest.approx(start + ends[0])
        assert streams[0].stream.on_time(start + 111) is None
        await streams[0].ended_as(CloseReason.MAX_DURATION)

    async def test_retry(self, opened):
        """The first frame tells the client its reconnection time."""
        assert (await opened(retry=1234)).exchange.body == b"retry: 1234\n\n"
        assert (await opened(retry=0)).exchange.body == b"retry: 0\n\n"


class TestRecheck:
    async def test_recheck_ends_the_stream_after_logout(
        self, asgi, opened, log_in, sync, transactional_db
    ):
        """When the user has logged out elsewhere, the guard refuses and the stream ends."""
        user = await sync(User.objects.create_user, "ada")
        session = await sync(log_in, asgi, user)
        checks = asyncio.Semaphore(0)

        def guard(request: Any) -> bool:
            checks.release()
            return request.user.is_authenticated

        own = await opened(guard=guard, recheck=0.01)
        await checks.acquire()
        for _ in range(2):
            await asyncio.wait_for(checks.acquire(), TIMEOUT)
        assert own.stream.reason is None
        await session.aflush()
        await own.exchange.ended()
        await own.ended_as(CloseReason.GUARD)

    async def test_recheck_sees_lost_rights(self, asgi, opened, log_in, sync, transactional_db):
        """The user is read anew each time: a role that is taken away counts at once."""
        user = await sync(User.objects.create_user, "ada", is_staff=True)
        await sync(log_in, asgi, user)

        async def guard(request: Any) -> bool:
            return (await request.auser()).is_staff

        own = await opened(guard=guard, recheck=0.01)
        await User.objects.aupdate(is_staff=False)
        await own.exchange.ended()
        await own.ended_as(CloseReason.GUARD)

    async def test_recheck_of_the_settings(self, opened, settings):
        """The setting holds for views with a guard, and means nothing for the others."""
        settings.DJANGO_SSE = {"RECHECK_SECONDS": 0.01}
        answers = iter([True, True, False])
        unguarded = await opened()
        guarded = await opened(guard=lambda request: next(answers))
        await guarded.ended_as(CloseReason.GUARD)
        assert unguarded.stream.reason is None

    async def test_recheck_that_fails(self, opened, caplog):
        """A guard that fails is no permission: the stream ends, and the error is logged."""
        asked: list[Any] = []

        def guard(request: Any) -> bool:
            asked.append(request)
            if len(asked) > 1:
                raise LookupError
            return True

        guarded = await opened(guard=guard, recheck=0.01)
        await guarded.ended_as(CloseReason.GUARD)
        assert "The guard of <EventStream" in caplog.text

    async def test_recheck_while_the_client_leaves(self, opened):
        """A guard that is being asked when the client leaves changes nothing of that."""
        asked, answer = asyncio.Event(), asyncio.Event()
        first = True

        async def guard(request: Any) -> bool:
            nonlocal first
            if not first:
                asked.set()
                await answer.wait()
            first = False
            return True

        guarded = await opened(guard=guard, recheck=0.01)
        await asked.wait()
        await guarded.exchange.disconnected()
        answer.set()
        await guarded.ended_as(CloseReason.CLIENT)
        await until(lambda: not get_hub()._tasks)


class TestSlowClient:
    """A client that does not read, beside one that does."""

    @pytest.fixture(autouse=True)
    def limits(self, settings: Any) -> None:
        settings.DJANGO_SSE = {"QUEUE_MAX_BYTES": 5000, "SEND_TIMEOUT_SECONDS": 60}

    @pytest.fixture
    def dropped(self) -> Any:
        """What events_dropped has told of: the stream and the count."""
        told: list[tuple[Any, int]] = []

        def receiver(stream: Any, count: int, **kwargs: Any) -> None:
            told.append((stream, count))

        events_dropped.connect(receiver)
        yield told
        events_dropped.disconnect(receiver)

    async def test_queue_is_bounded(self, opened, dropped, caplog):
        """Past QUEUE_MAX_BYTES the slow stream ends, told of and counted; others get all."""
        slow, quick = await opened(), await opened()
        slow.exchange.stall()
        for number in range(20):
            await apublish("a", f"{number:03}" * 200)
            assert (await quick.exchange.next_event()).data == f"{number:03}" * 200
        await slow.ended_as(CloseReason.SLOW)
        await until(lambda: dropped)
        [(stream, count)] = dropped
        assert stream is slow.stream
        # 5000 bytes are eight frames of 609 bytes; the ninth is too much.
        assert count == 9
        assert metrics.events_dropped == count
        assert slow.stream._queued_bytes == 0
        assert quick.stream.reason is None

    async def test_slow_stream_lets_go_of_its_request(self, opened):
        """The application's task ends with the stream, though the server's send still waits."""
        slow, quick = await opened(), await opened()
        slow.exchange.stall()
        for _ in range(20):
            await apublish("a", "x" * 1000)
            await quick.exchange.next_event()
        await slow.ended_as(CloseReason.SLOW)
        await asyncio.wait({slow.exchange.task}, timeout=TIMEOUT)
        assert slow.exchange.task.done()

    async def test_queue_is_sent_when_the_client_reads_again(self, opened):
        """Within the bound nothing is lost, and what has piled up is written together."""
        slow = await opened()
        slow.exchange.stall()
        for number in range(8):
            await apublish("a", str(number))
        await until(lambda: slow.stream.events_sent == 8)
        writes = len(slow.exchange.chunks)
        slow.exchange.resume()
        received = [(await slow.exchange.next_event()).data for _ in range(8)]
        assert received == [str(number) for number in range(8)]
        assert len(slow.exchange.chunks) - writes <= 3

    async def test_key_conflates(self, opened):
        """Of the events of one key that wait only the newest is sent, in its own place."""
        slow, quick = await opened(), await opened()
        slow.exchange.stall()
        await apublish("a", "wakes the stalled send")
        await apublish("a", "fills what the server takes")
        await quick.exchange.next_event()
        await quick.exchange.next_event()
        for number in range(50):
            await apublish("a", f"{number:03}" * 100, key="price")
            await quick.exchange.next_event()
            await apublish("a", f"{number:03}" * 100, key="other")
            await quick.exchange.next_event()
        await apublish("a", "last")
        await quick.exchange.next_event()
        assert slow.stream.reason is None
        slow.exchange.resume()
        received = []
        while "last" not in received:
            received.append((await slow.exchange.next_event()).data)
        assert received[-3:] == ["049" * 100, "049" * 100, "last"]
        assert len(received) < 10

    async def test_send_timeout(self, opened, settings):
        """A write that makes no progress for SEND_TIMEOUT_SECONDS ends the stream."""
        settings.DJANGO_SSE = {"SEND_TIMEOUT_SECONDS": 0.05}
        slow, quick = await opened(), await opened()
        slow.exchange.stall()
        for number in range(3):
            await apublish("a", str(number))
            await quick.exchange.next_event()
        await slow.ended_as(CloseReason.SEND_TIMEOUT)
        await asyncio.wait({slow.exchange.task}, timeout=TIMEOUT)
        assert slow.exchange.task.done()
        assert quick.stream.reason is None

    async def test_send_timeout_of_a_heartbeat(self, opened, settings):
        """So does a heartbeat that nobody reads: a client that has vanished is found out."""
        settings.DJANGO_SSE = {"SEND_TIMEOUT_SECONDS": 0.05}
        gone = await opened(heartbeat=0.01)
        gone.exchange.stall()
        await gone.ended_as(CloseReason.SEND_TIMEOUT)

    async def test_last_bytes_that_nobody_reads(self, opened, settings):
        """A stream that ends is not kept by a client that does not read its last bytes."""
        slow = await opened()
        slow.exchange.stall()
        for number in range(1, 4):
            await apublish("a", str(number))
            await until(lambda: slow.stream.events_sent == number)  # noqa: B023
        settings.DJANGO_SSE = {"SEND_TIMEOUT_SECONDS": 0.05}
        await slow.stream.close()
        await slow.ended_as(CloseReason.CLOSED)
        await asyncio.wait({slow.exchange.task}, timeout=TIMEOUT)
        assert slow.exchange.task.done()

    async def test_large_event_for_a_client_that_reads(self, opened):
        """An event above the bound is fine for a client that reads."""
        quick = await opened()
        await quick.stream.send("x" * 20_000)
        assert len((await quick.exchange.next_event()).data) == 20_000
        assert quick.stream.reason is None

    async def test_large_event_before_the_response(self, asgi, route):
        """So it is as the first event, before there is anybody who could be slow."""

        @event_stream
        async def view(request, stream):
            await stream.send("x" * 20_000)

        route("s/", view)
        exchange = await asgi.get("/s/")
        assert exchange.body == RETRY + b"data: " + b"x" * 20_000 + b"\n\n"

    async def test_overflow_before_the_response(self, asgi, route):
        """A stream that overflows before it is served is a short response, not one that hangs."""

        @event_stream(groups="a")
        async def view(request, stream):
            for _ in range(20):
                await apublish("a", "x" * 1000)
            await until(lambda: stream.reason is not None)

        route("s/", view)
        exchange = await asgi.get("/s/")
        assert exchange.status == 200
        assert metrics.events_dropped > 0
        assert metrics.streams_open == 0


class TestVanishedClient:
    @pytest.mark.parametrize("error", [OSError("broken pipe"), RuntimeError("closed")])
    async def test_send_that_raises(self, opened, error, caplog):
        """A server whose send raises once the client has gone ends the stream; it is no error."""
        gone = await opened()
        gone.exchange.send_error = error
        gone.exchange.disconnect()
        await apublish("a", "x")
        await gone.ended_as(CloseReason.CLIENT)
        assert metrics.stream_errors == 0
        assert not [record for record in caplog.records if record.levelno >= logging.ERROR]

    async def test_disconnect_while_a_send_waits(self, opened):
        """A client that leaves while it is written to ends the stream; what waits is dropped."""
        gone = await opened()
        gone.exchange.stall()
        for number in range(1, 4):
            await apublish("a", str(number))
            await until(lambda: gone.stream.events_sent == number)  # noqa: B023
        gone.exchange.disconnect()
        await gone.ended_as(CloseReason.CLIENT)
        assert metrics.streams_open == 0

    async def test_publish_after_the_client_left(self, opened):
        """Nothing is written to a client that has gone."""
        gone, there = await opened(), await opened()
        await gone.exchange.disconnected()
        await apublish("a", "x")
        await there.exchange.next_event()
        assert b"data" not in gone.exchange.body
        assert gone.stream.events_sent == 0


class TestShutdown:
    async def test_shutdown_ends_every_stream(self, opened):
        """Each stream ends with a reconnection time of its own, and its cleanup runs."""
        streams = [await opened(retry=2000) for _ in range(10)]
        get_hub().shut_down()
        retries = set()
        for one in streams:
            body = await one.exchange.ended()
            first, last = body.split(b"\n\n")[:2]
            assert first == b"retry: 2000"
            retries.add(int(last.removeprefix(b"retry: ")))
            await one.ended_as(CloseReason.SHUTDOWN)
        assert min(retries) >= 2000
        assert max(retries) <= 4000
        assert len(retries) > 5
        assert metrics.streams_open == 0

    async def test_shutdown_spreads_short_reconnection_times(self, opened):
        """A time of 0 is spread too: over a second."""
        streams = [await opened(retry=0) for _ in range(5)]
        get_hub().shut_down()
        retries = []
        for one in streams:
            last = (await one.exchange.ended()).split(b"\n\n")[1]
            retries.append(int(last.removeprefix(b"retry: ")))
        assert max(retries) > 0
        assert max(retries) <= 1000

    async def test_shutdown_twice(self, opened):
        """A second signal changes nothing."""
        one = await opened()
        get_hub().shut_down()
        get_hub().shut_down()
        await one.ended_as(CloseReason.SHUTDOWN)

    async def test_stuck_cleanup_is_bounded(self, opened, monkeypatch, caplog):
        """A callback and a task that do not end are left behind, with a warning."""
        monkeypatch.setattr("django_sse.lifecycle._EXIT_SECONDS", 0.01)
        one = await opened()
        release, stuck = asyncio.Event(), asyncio.Event()

        async def obstinate() -> None:
            while not release.is_set():
                try:
                    stuck.set()
                    await release.wait()
                except asyncio.CancelledError:
                    continue

        one.stream.create_task(obstinate())
        one.stream.on_close(asyncio.Event().wait)
        await stuck.wait()
        try:
            get_hub().shut_down()
            await until(lambda: get_hub().size == 0)
            assert "1 tasks of <EventStream" in caplog.text
            assert "did not end in 0.01 s" in caplog.text
            assert "took over 0.01 s" in caplog.text
        finally:
            release.set()

    async def test_client_that_does_not_read_does_not_hold_up_the_exit(self, opened, monkeypatch):
        """Nor does a client that does not read its last bytes."""
        monkeypatch.setattr("django_sse.lifecycle._EXIT_SECONDS", 0.3)
        slow = await opened()
        slow.exchange.stall()
        for number in range(1, 4):
            await apublish("a", str(number))
            await until(lambda: slow.stream.events_sent == number)  # noqa: B023
        get_hub().shut_down()
        await slow.ended_as(CloseReason.SHUTDOWN)
        await asyncio.wait({slow.exchange.task}, timeout=TIMEOUT)
        assert slow.exchange.task.done()


class TestMetrics:
    async def test_counts(self, opened):
        """What the process has done is counted; what is open goes down again."""
        one, two = await opened(), await opened()
        publish("a", "x")
        await one.exchange.next_event()
        await two.exchange.next_event()
        assert (metrics.streams_open, metrics.streams_opened) == (2, 2)
        assert (metrics.events_published, metrics.events_received) == (1, 1)
        await one.exchange.disconnected()
        await one.ended_as(CloseReason.CLIENT)
        assert (metrics.streams_open, metrics.streams_opened) == (1, 2)
        assert metrics.events_sent == 1
        assert metrics.bytes_sent == len(one.exchange.body)


class TestLifetime:
    def test_settings_fill_in(self, settings):
        """What is not given comes from the settings; the recheck only with a guard."""
        settings.DJANGO_SSE = {
            "HEARTBEAT_SECONDS": 5,
            "RECONNECTION_TIME_MS": 100,
            "MAX_DURATION_SECONDS": 60,
            "RECHECK_SECONDS": 7,
        }

        async def guard() -> bool:
            return True

        expected = Lifetime(heartbeat=5, retry=100, max_duration=60)
        assert make_lifetime() == expected
        assert make_lifetime(recheck=9) == expected
        guarded = make_lifetime(guard=guard)
        assert (guarded.recheck, guarded.guard) == (7, guard)
        assert make_lifetime(guard=guard, recheck=9).recheck == 9
        given = make_lifetime(heartbeat=1, retry=0, max_duration=2)
        assert given == Lifetime(heartbeat=1, retry=0, max_duration=2)

    @pytest.mark.parametrize("name", ["heartbeat", "max_duration", "recheck"])
    @pytest.mark.parametrize("value", [0, -1, True, "5", float("nan"), float("inf")])
    def test_seconds_that_are_none(self, name, value):
        """Each number of seconds is one, and above 0."""
        with pytest.raises(ValueError, match=f"{name}="):
            check_lifetime(**{name: value})

    def test_retry_that_is_none(self):
        """So with the milliseconds."""
        with pytest.raises(ValueError, match="retry=-5 must be a whole number"):
            check_lifetime(retry=-5)
