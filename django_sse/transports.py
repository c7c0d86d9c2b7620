"""The two ways out for a stream's bytes: pushed to the server, or pulled by Django's handler."""

import asyncio
from collections.abc import AsyncGenerator, Callable

from django_sse.backpressure import waiting
from django_sse.contexts import let_go_of_request
from django_sse.streams import EventStream
from django_sse.types import Message, Receive, Send

__all__ = ["pull", "push"]


async def push(stream: EventStream, start: Message, receive: Receive, send: Send) -> None:
    """
    Serve *stream* on a server's own *receive* and *send*, until it ends or the client leaves.

    *start* is the ``http.response.start`` event. One task waits here, for the disconnect; the
    hub writes. When the stream ends from within, that wait is cancelled.
    """
    task = asyncio.current_task()
    assert task is not None
    waker = _Waker(task)
    try:
        await stream.open()
        await send(start)
        del start  # This frame stays as long as the client does.
        stream.serve(waiting(send), waker.wake)
        while (await receive())["type"] != "http.disconnect":
            pass
        waker.is_off = True
        if waker.has_woken:
            # Some servers' receive returns without a wait: take the cancellation here.
            await asyncio.sleep(0)
    except asyncio.CancelledError:
        is_ours = waker.has_woken and task.uncancel() == 0
        if not is_ours and not stream.is_shutting_down:
            raise
    finally:
        waker.is_off = True
        stream.let_go()
        await stream.finish()


class _Waker:
    """Ends the wait of a task, while it waits."""

    __slots__ = ("_task", "has_woken", "is_off")

    def __init__(self, task: "asyncio.Task[None]") -> None:
        self._task = task
        self.is_off = False
        self.has_woken = False

    def wake(self) -> None:
        if not self.is_off and not self.has_woken:
            self.has_woken = True
            self._task.cancel()


async def pull(make: Callable[[], EventStream | bytes]) -> AsyncGenerator[bytes, None]:
    """
    Yield the body of the stream that *make* returns, or the bytes that it returns in place of one.

    Before the first byte the request's thread and database connections are given up: Django
    would keep both for as long as the response lasts.
    """
    let_go_of_request()
    stream, slot = make(), _Slot()
    if isinstance(stream, bytes):
        yield stream
        return
    task = asyncio.current_task()
    is_out = False

    def wake() -> None:
        slot.close()
        # Django waits in the server's send, for a client that does not read.
        if is_out and stream.is_aborted and task is not None:
            task.cancel()

    try:
        await stream.open()
        stream.serve(slot.send, wake)
        while True:
            try:
                chunk = await slot.take()
            except asyncio.CancelledError:
                if stream.is_shutting_down:
                    continue  # It has been ended: its last bytes come, or a deadline.
                raise
            if chunk is None:
                break
            is_out = True
            yield chunk
            is_out = False
    finally:
        is_out = False
        stream.let_go()
        await stream.finish()


class _Slot:
    """Room for one chunk: an ASGI ``send`` on the one side, a taker on the other."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._chunk: bytes | None = None
        self._is_closed = False
        self._filled: asyncio.Future[None] | None = None
        self._emptied: asyncio.Future[None] | None = None

    async def send(self, message: Message) -> None:
        while self._chunk is not None:
            self._emptied = self._loop.create_future()
            await self._emptied
        self._chunk = message["body"]
        _wake(self._filled)

    async def take(self) -> bytes | None:
        """Return the next chunk that is not empty; None when there will be no more."""
        while not self._chunk:
            if self._is_closed:
                return None
            self._chunk = None
            _wake(self._emptied)
            self._filled = self._loop.create_future()
            await self._filled
        chunk, self._chunk = self._chunk, None
        _wake(self._emptied)
        return chunk

    def close(self) -> None:
        """Let take() return None once the slot is empty."""
        self._is_closed = True
        _wake(self._filled)


def _wake(future: "asyncio.Future[None] | None") -> None:
    if future is not None and not future.done():
        future.set_result(None)
