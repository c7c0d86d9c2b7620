"""The way of bytes to one client."""

import asyncio
from collections.abc import Awaitable, Hashable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from django_sse.driver import Driver
from django_sse.readers import Readers
from django_sse.runs import Item

if TYPE_CHECKING:
    from django_sse.types import Message, Send

__all__ = ["Outlet"]

# What one send of queued events takes at most, in bytes, or one event.
_SEND_BYTES = 131_072


class Outlet:
    """
    Writes to one client through its ASGI ``send``, and queues while that waits.

    A subclass says what happens at each turn, by the methods whose names begin with ``on_``.
    """

    __slots__ = (
        "_closing",
        "_drained",
        "_driver",
        "_in_flight",
        "_own_bytes",
        "_own_events",
        "_own_write",
        "_queue",
        "_queue_max_bytes",
        "_queued_bytes",
        "_readers",
        "_send",
        "_task",
        "_waits_since",
        "is_finished",
    )

    def __init__(self, driver: Driver, queue_max_bytes: int) -> None:
        self._driver = driver
        self._queue_max_bytes = queue_max_bytes
        self._send: Send | None = None
        # None: writes go straight out. Until attach(), and while a send waits, they queue here.
        self._queue: dict[Hashable, bytes] | None = {}
        self._queued_bytes = 0
        self._in_flight = 0  # Bytes of the send that waits.
        self._task: asyncio.Task[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._waits_since = 0.0
        self._closing = False
        self.is_finished = False
        # Without what its readers have written; see join().
        self._readers: Readers | None = None
        self._own_events = self._own_bytes = 0
        self._own_write = 0.0

    @property
    def events_sent(self) -> int:
        """How many events went to the client."""
        return self._own_events + (self._readers.events_sent if self._readers is not None else 0)

    @property
    def bytes_sent(self) -> int:
        """How many bytes, frames and heartbeats together."""
        return self._own_bytes + (self._readers.bytes_sent if self._readers is not None else 0)

    @property
    def _last_write(self) -> float:
        """When an event was written last, by the loop's time in seconds."""
        if self._readers is None:
            return self._own_write
        return max(self._own_write, self._readers.last_write)

    def join(self, readers: Readers) -> None:
        """Have *readers* write what comes, while no send waits."""
        if self._readers is None and self._queue is None and not self._closing:
            assert self._send is not None
            self._own_events -= readers.events_sent
            self._own_bytes -= readers.bytes_sent
            self._readers = readers
            readers.add(self, self._send)

    def part(self) -> None:
        """Undo join()."""
        if (readers := self._readers) is not None:
            readers.discard(self)
            self._own_write = self._last_write
            self._own_events += readers.events_sent
            self._own_bytes += readers.bytes_sent
            self._readers = None

    def attach(self, send: "Send", first: bytes) -> None:
        """Begin: write *first*, then what was queued, to *send*, which has sent the headers."""
        data = b"".join([first, *(self._queue or {}).values()])
        self._queue, self._queued_bytes, self._send = None, 0, send
        self._driver.run(lambda: self._start(_final(data) if self._closing else _body(data)))
        self._own_bytes += len(data)
        if self._queue is None:
            self._become_idle()

    def write(self, data: bytes) -> None:
        """Write *data*, or queue it. To be called inside ``Driver.run()``."""
        if self._closing:
            return
        if self._queue is None:
            self._start(_body(data))
            self._own_bytes += len(data)
        else:
            self._enqueue(object(), data)

    def write_each(self, items: Iterable[Item]) -> None:
        """Queue *items* one by one, so that a newer one takes the place of its key's."""
        for item in items:
            if self._closing or self._queue is None:
                return
            self._enqueue(item.delivery.key or object(), item.frame)

    def offer(self, item: Item) -> bool:
        """Queue *item*, in the place of its key's, if it fits. Return whether it does."""
        assert self._queue is not None
        key, frame = item.delivery.key or object(), item.frame
        has_room = self.has_room(len(frame) - len(self._queue.get(key, b"")))
        if has_room:
            self._enqueue(key, frame)
        return has_room

    def has_room(self, size: int) -> bool:
        """Tell whether *size* bytes more can be written, or queued."""
        held = self._in_flight + self._queued_bytes
        return self._queue is None or held + size <= self._queue_max_bytes

    def close_response(self, last: bytes) -> None:
        """End the response with *last*, behind what is queued."""
        if self._closing:
            return
        self.part()
        self._closing = True
        if self._queue is not None:
            self._queue[object()] = last
            self._queued_bytes += len(last)
        else:
            self._driver.run(lambda: self._start(_final(last)))
            self._own_bytes += len(last)
            if self._queue is None:
                self._become_idle()

    def abort(self) -> None:
        """Drop what is queued, and the send that waits: nothing more is written."""
        self.part()
        self._closing = True
        self._queue, self._queued_bytes = {}, 0
        if self._task is not None:
            self._task.cancel()
        self._wake_drained()
        self._finish_once()

    @property
    def is_aborted(self) -> bool:
        """Whether the end came by abort()."""
        return self.is_finished and self._queue is not None

    async def drained(self) -> None:
        """Wait until the client has read all but what its server and the network hold."""
        while self._queue is not None and not self._closing:
            if self._drained is None:
                self._drained = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._drained)

    async def go_on(self, rest: Awaitable[None]) -> None:
        """Await the send that waits, then send what was queued meanwhile. See Driver.start()."""
        loop = asyncio.get_running_loop()
        try:
            await rest
            while self._queue:
                self._waits_since = loop.time()
                await self._send_queued()
        except asyncio.CancelledError as error:
            if self._task is None or self._task.cancelling():
                raise
            self.on_send_error(error)  # What the server waits for was cancelled, not this task.
        except Exception as error:
            self.on_send_error(error)
        else:
            self._queue, self._task = None, None
            self._become_idle()

    async def _send_queued(self) -> None:
        assert self._queue is not None
        assert self._send is not None
        # Not all at once: a server may copy what it cannot write yet.
        queue, size = self._queue, 0
        frames: list[bytes] = []
        while queue and (not frames or size < _SEND_BYTES):
            frames.append(queue.pop(next(iter(queue))))
            size += len(frames[-1])
        self._queued_bytes, self._in_flight = self._queued_bytes - size, size
        self._own_bytes += size
        data, is_last = b"".join(frames), self._closing and not queue
        await self._send(_final(data) if is_last else _body(data))

    def _start(self, message: "Message") -> None:
        assert self._send is not None
        try:
            task = self._driver.start(self._send(message), self)
        except (Exception, asyncio.CancelledError) as error:
            self.on_send_error(error)
        else:
            if task is not None:
                self._wait(task, len(message["body"]))

    def on_wait(self, steps: Iterator[Any], waits_for: Any, size: int) -> None:
        """See Reader."""
        self._wait(self._driver.hand_over(steps, waits_for, self), size)

    def _wait(self, task: "asyncio.Task[None]", size: int) -> None:
        self.part()
        self._task, self._queue, self._in_flight = task, {}, size
        self._waits_since = asyncio.get_running_loop().time()

    def _enqueue(self, key: Hashable, data: bytes) -> None:
        assert self._queue is not None
        # Taken out first: the newest of a key goes to the end, behind what it may refer to.
        self._queued_bytes += len(data) - len(self._queue.pop(key, b""))
        self._queue[key] = data
        # One alone is never too much: it may be the first, for a client that is yet to be served.
        if self._queued_bytes > self._queue_max_bytes and len(self._queue) > 1:
            self.on_overflow(len(self._queue))

    def _become_idle(self) -> None:
        self._wake_drained()
        if self._closing:
            self._finish_once()

    def _finish_once(self) -> None:
        if not self.is_finished:
            self.is_finished = True
            self.on_finished()

    def _wake_drained(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._drained = None

    def on_send_error(self, error: BaseException) -> None:
        """Called when the server's send has failed."""
        raise NotImplementedError

    def on_overflow(self, count: int) -> None:
        """Called when *count* frames wait that together are over the bound."""
        raise NotImplementedError

    def on_finished(self) -> None:
        """Called once, when nothing more is going to be written."""
        raise NotImplementedError


def _body(body: bytes) -> "Message":
    return {"type": "http.response.body", "body": body, "more_body": True}


def _final(body: bytes) -> "Message":
    return {"type": "http.response.body", "body": body, "more_body": False}
