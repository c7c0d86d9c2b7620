"""The two ways out for a stream's bytes."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from django_sse import EventStream, apublish
from django_sse.hub import get_hub
from django_sse.lifetime import make_lifetime
from django_sse.metrics import metrics
from django_sse.reasons import CloseReason
from django_sse.transports import pull, push
from tests.clients import TIMEOUT, until

START = {"type": "http.response.start", "status": 200, "headers": []}
DISCONNECT = {"type": "http.disconnect"}
RETRY = b"retry: 3000\n\n"


class Server:
    """A server's two callables, for one request."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.receives = 0

    async def receive(self) -> dict[str, Any]:
        self.receives += 1
        return await self.messages.get()

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)

    @property
    def is_complete(self) -> bool:
        return bool(self.sent) and self.sent[-1].get("more_body") is False


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
async def stream() -> EventStream:
    """A stream of the group "a" that has started."""
    stream = EventStream(make_lifetime())
    stream.start()
    await stream.subscribe("a")
    return stream


class TestPush:
    @pytest.fixture
    async def task(self, stream: EventStream, server: Server) -> AsyncIterator[Any]:
        """The server's task, in which the stream is served."""
        task = asyncio.create_task(push(stream, START, server.receive, server.send))
        await until(lambda: server.receives)
        yield task
        server.messages.put_nowait(DISCONNECT)
        await asyncio.gather(task, return_exceptions=True)

    async def test_headers_then_bytes(self, task, stream, server):
        """The headers go first; then the hub writes."""
        await apublish("a", "x")
        await until(lambda: b"x" in server.body)
        assert server.sent[0] is START
        assert server.body == RETRY + b"data: x\n\n"
        assert all(message["more_body"] for message in server.sent[1:])

    async def test_disconnect(self, task, stream, server):
        """A disconnect ends the stream and the task."""
        server.messages.put_nowait(DISCONNECT)
        await asyncio.wait_for(task, TIMEOUT)
        assert stream.reason is CloseReason.CLIENT
        assert get_hub().size == 0

    async def test_other_messages(self, task, stream, server):
        """What a server says besides is no disconnect: the rest of a body, say."""
        server.messages.put_nowait({"type": "http.request", "body": b"", "more_body": False})
        await until(lambda: server.receives == 2)
        assert stream.reason is None

    async def test_end_from_within(self, task, stream, server):
        """When the stream ends, the response is completed, and the task with it."""
        await stream.close()
        await asyncio.wait_for(task, TIMEOUT)
        assert server.is_complete
        assert task.cancelling() == 0
        assert stream.reason is CloseReason.CLOSED

    async def test_end_and_disconnect_at_once(self, task, stream, server):
        """Both in one moment are an end, and no cancellation is left over for the server."""
        await stream.close()
        server.messages.put_nowait(DISCONNECT)
        await asyncio.wait_for(task, TIMEOUT)
        assert task.cancelling() == 0

    async def test_server_cancels(self, task, stream):
        """A server that cancels the application gets its CancelledError, after the cleanup."""
        cleaned = asyncio.Event()
        stream.on_close(cleaned.set)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert cleaned.is_set()
        assert stream.reason is CloseReason.CLIENT

    async def test_server_cancels_as_the_stream_ends(self, task, stream):
        """It does so too where the stream ends in the same moment."""
        await stream.close()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert get_hub().size == 0

    async def test_server_cancels_while_the_process_ends(self, task, stream):
        """A process that goes cleans up in peace: the cancellation has been obeyed already."""
        get_hub().shut_down()
        task.cancel()
        await asyncio.wait_for(task, TIMEOUT)
        assert stream.reason is CloseReason.SHUTDOWN

    async def test_server_cancels_during_the_cleanup(self, task, stream, server):
        """The cleanup is seen through, and then the cancellation raised."""
        begun, go_on, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def clean_up() -> None:
            begun.set()
            await go_on.wait()
            ended.set()

        stream.on_close(clean_up)
        server.messages.put_nowait(DISCONNECT)
        await begun.wait()
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended.is_set()

    async def test_stream_that_has_ended_before(self, stream, server):
        """A stream that is closed before it is served is a complete response."""
        await stream.send("x")
        await stream.close()
        await asyncio.wait_for(push(stream, START, server.receive, server.send), TIMEOUT)
        assert server.body == RETRY + b"data: x\n\n"
        assert server.is_complete

    async def test_stream_that_was_given_up_before(self, stream, server):
        """So is one that nobody waits for any more."""
        stream.end(CloseReason.NOT_SERVED)
        await asyncio.wait_for(push(stream, START, server.receive, server.send), TIMEOUT)
        assert server.is_complete
        assert get_hub().size == 0

    async def test_receive_that_never_waits(self, stream, server):
        """A server whose receive() returns at once when the client has gone is understood."""

        async def receive() -> dict[str, Any]:
            return DISCONNECT

        await asyncio.wait_for(push(stream, START, receive, server.send), TIMEOUT)
        assert stream.reason is CloseReason.CLIENT

    async def test_ended_stream_and_receive_that_never_waits(self, stream, server):
        """The end that comes before such a receive() leaves no cancellation behind."""

        async def receive() -> dict[str, Any]:
            return DISCONNECT

        await stream.close()
        task = asyncio.create_task(push(stream, START, receive, server.send))
        await asyncio.wait_for(task, TIMEOUT)
        assert task.cancelling() == 0

    async def test_headers_that_cannot_be_sent(self, stream, server):
        """A server that fails at the headers gets its error back, after the cleanup."""
        cleaned = asyncio.Event()
        stream.on_close(cleaned.set)

        async def send(message: Any) -> None:
            raise OSError("gone")

        with pytest.raises(OSError, match="gone"):
            await push(stream, START, server.receive, send)
        assert cleaned.is_set()

    @pytest.mark.parametrize(
        ("error", "reason", "errors"),
        [
            (OSError("broken pipe"), CloseReason.CLIENT, 0),
            (RuntimeError("a bug"), CloseReason.ERROR, 1),
        ],
    )
    async def test_send_that_fails_later(self, stream, server, error, reason, errors, caplog):
        """A send that finds the connection gone is the client's leaving; another error is one."""
        send, is_broken = server.send, False

        async def may_fail(message: Any) -> None:
            if is_broken:
                raise error
            await send(message)

        task = asyncio.create_task(push(stream, START, server.receive, may_fail))
        await until(lambda: server.body == RETRY)
        is_broken = True
        await apublish("a", "x")
        await asyncio.wait_for(task, TIMEOUT)
        assert stream.reason is reason
        assert metrics.stream_errors == errors
        assert len([one for one in caplog.records if one.levelno >= logging.WARNING]) == errors

    async def test_served_while_the_process_ends(self, server):
        """A stream that comes to be served just then ends at once, with a reconnection time."""
        get_hub().shut_down()
        stream = EventStream(make_lifetime())
        await asyncio.wait_for(push(stream, START, server.receive, server.send), TIMEOUT)
        assert server.is_complete
        assert server.body.startswith(RETRY + b"retry: ")
        assert stream.reason is CloseReason.SHUTDOWN

    async def test_receive_that_fails(self, stream, server):
        """So does one that fails while it waits for the disconnect."""

        async def receive() -> dict[str, Any]:
            raise RuntimeError("broken")

        with pytest.raises(RuntimeError, match="broken"):
            await push(stream, START, receive, server.send)
        assert stream.reason is CloseReason.CLIENT
        assert get_hub().size == 0


class TestPull:
    async def test_bytes_in_order(self, stream):
        """Who iterates gets what is written, in order and without empty pieces."""
        chunks = []
        async with aclosing(pull(lambda: stream)) as body:
            chunks.append(await anext(body))
            for number in range(3):
                await stream.send(str(number))
            await stream.close()
            chunks += [chunk async for chunk in body]
        assert b"".join(chunks) == RETRY + b"data: 0\n\ndata: 1\n\ndata: 2\n\n"
        assert all(chunks)

    async def test_stream_is_made_when_it_is_read(self):
        """Nothing happens before the first piece is asked for."""
        made: list[EventStream] = []

        def make() -> EventStream:
            made.append(EventStream(make_lifetime()))
            return made[0]

        body = pull(make)
        assert not made
        assert await anext(body) == RETRY
        await body.aclose()
        assert made[0].reason is CloseReason.CLIENT

    async def test_bytes_in_place_of_a_stream(self):
        """What is no stream is one piece."""
        assert [chunk async for chunk in pull(lambda: b"retry: 9\n\n")] == [b"retry: 9\n\n"]

    async def test_closed_by_the_reader(self, stream):
        """aclose() is the client's leaving; the cleanup has run when it returns."""
        cleaned = asyncio.Event()
        stream.on_close(cleaned.set)
        body = pull(lambda: stream)
        await anext(body)
        await body.aclose()
        assert cleaned.is_set()
        assert stream.reason is CloseReason.CLIENT

    async def test_closed_while_it_waits(self, stream):
        """A reader that is cancelled while it waits for the next piece has left."""
        body = pull(lambda: stream)
        await anext(body)
        task = asyncio.ensure_future(anext(body))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert stream.reason is CloseReason.CLIENT
        assert get_hub().size == 0

    async def test_reader_that_takes_its_time(self, stream):
        """While the reader is busy with a piece, one more is kept, then the stream queues."""
        body = pull(lambda: stream)
        await anext(body)
        for number in range(5):
            await stream.send(str(number))
        await stream.close()
        rest = [chunk async for chunk in body]
        assert b"".join(rest) == b"".join(b"data: %d\n\n" % number for number in range(5))
        assert len(rest) <= 3

    async def test_cancelled_while_the_process_ends(self, stream):
        """A reader that is cancelled then still gets the last bytes."""
        body = pull(lambda: stream)
        await anext(body)
        task = asyncio.ensure_future(anext(body))
        await asyncio.sleep(0)
        get_hub().shut_down()
        task.cancel()
        last = await asyncio.wait_for(task, TIMEOUT)
        assert last.startswith(b"retry: ")
        with pytest.raises(StopAsyncIteration):
            await anext(body)
        assert stream.reason is CloseReason.SHUTDOWN

    async def test_given_up_while_the_reader_is_busy(self, stream):
        """A reader that is stuck with a piece is cancelled when its stream is given up."""
        stuck = asyncio.Event()

        async def read() -> None:
            async with aclosing(pull(lambda: stream)) as body:
                async for _ in body:
                    stuck.set()
                    await asyncio.Event().wait()

        task = asyncio.create_task(read())
        await stuck.wait()
        stream.end(CloseReason.SEND_TIMEOUT)
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, TIMEOUT)
        assert get_hub().size == 0

    async def test_ended_while_the_reader_is_busy(self, stream):
        """One whose stream just ends may finish with its piece."""
        read: list[bytes] = []
        busy, go_on = asyncio.Event(), asyncio.Event()

        async def read_all() -> None:
            async with aclosing(pull(lambda: stream)) as body:
                async for chunk in body:
                    read.append(chunk)
                    busy.set()
                    await go_on.wait()

        task = asyncio.create_task(read_all())
        await busy.wait()
        await stream.send("last")
        await stream.close()
        go_on.set()
        await asyncio.wait_for(task, TIMEOUT)
        assert b"".join(read) == RETRY + b"data: last\n\n"
