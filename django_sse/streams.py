"""One open event stream, as a view is given it."""

import asyncio
import contextvars
from collections.abc import AsyncIterable

from django.http import HttpRequest

from django_sse.events import ServerSentEvent
from django_sse.exceptions import InvalidEvent, StreamClosed
from django_sse.feeding import Fed
from django_sse.lifetime import Lifetime
from django_sse.reasons import CloseReason
from django_sse.resuming import Start
from django_sse.signals import event_sent

__all__ = ["EventStream", "as_event", "current_stream"]

#: The stream for which the code of a view runs.
current_stream: "contextvars.ContextVar[EventStream | None]" = contextvars.ContextVar(
    "django_sse_current_stream", default=None
)

# Beyond this much unread, send() waits for the client.
_HIGH_WATER_BYTES = 65_536


def as_event(value: object) -> ServerSentEvent:
    """Return *value* itself if it is an event, else an event with it as data."""
    if isinstance(value, ServerSentEvent):
        return value
    if value is None:
        raise InvalidEvent(
            "None is not an event; pass a ServerSentEvent, a string, or data for JSON."
        )
    return ServerSentEvent(value)


class EventStream(Fed):
    """
    An open ``text/event-stream`` response, as a handler is given it.

    Attributes:
        id: A random string that names the stream in the log.
        last_event_id: Where the client wants to resume; None on a first connection.
        request: The request. None once the stream is only fed by its groups.
        reason: A CloseReason once the stream has ended, else None.
        events_sent: How many events went to the client.
        bytes_sent: How many bytes, frames and heartbeats together.
    """

    __slots__ = ("last_event_id",)

    def __init__(
        self,
        lifetime: Lifetime,
        request: HttpRequest | None = None,
        *,
        last_event_id: str | None = None,
        start: Start = "new",
    ) -> None:
        if request is not None and request.GET.get("heartbeat") == "event":
            lifetime = lifetime.with_beat()
        super().__init__(lifetime, request, last_event_id, start)
        self.last_event_id = last_event_id
        current_stream.set(self)

    async def send(
        self,
        data: object = None,
        *,
        event: str | None = None,
        id: str | None = None,
        retry: int | None = None,
    ) -> None:
        """
        Send one event to this client, and wait while much is unread.

        Args:
            data: A ServerSentEvent, a string, or anything that the encoder writes as JSON. None
                where only the id or the reconnection time is to be set.
            event: The event type.
            id: The client's new last event id.
            retry: The client's new reconnection time, in milliseconds.

        Raises:
            InvalidEvent: If the event cannot be written, or reaches no page for want of data, or
                a ServerSentEvent is given with fields beside it.
            StreamClosed: If the stream has ended.
        """
        if not isinstance(data, ServerSentEvent):
            data = ServerSentEvent(data, event=event, id=id, retry=retry)
        elif (event, id, retry) != (None, None, None):
            raise InvalidEvent(
                f"A ServerSentEvent has fields of its own; {data!r} was sent with event={event!r},"
                f" id={id!r} and retry={retry!r} beside it."
            )
        others = (data.id, data.retry, data.comment)
        if data.data is None and (data.event is not None or others == (None, None, None)):
            raise InvalidEvent("An event without data reaches no page; pass '' or {} as its data.")
        await self._put(data.encode())
        self._own_events += 1
        if event_sent.receivers:
            self._report(event_sent, event=data)

    async def comment(self, text: str) -> None:
        """Send a comment, which no page sees. Raises as send() does."""
        await self._put(ServerSentEvent(comment=text).encode())

    def tell(self, id_line: bytes) -> None:
        """Give the client the id of *id_line*, with no event."""
        if id_line and self.reason is None:
            self._driver.run(lambda: self.write(id_line + b"\n"))

    async def close(self) -> None:
        """End the stream. A browser will reconnect; answer it with 204 to keep it away."""
        self.end(CloseReason.CLOSED)

    async def feed(self, values: AsyncIterable[object]) -> None:
        """Send every value of *values*; close it in the end, whatever happens."""
        try:
            sent = 0
            async for value in values:
                await self.send(as_event(value))
                sent += 1
                if sent % 16 == 0:
                    await asyncio.sleep(0)  # An eager generator must not starve the loop.
        finally:
            if (aclose := getattr(values, "aclose", None)) is not None:
                await aclose()

    async def _put(self, data: bytes) -> None:
        if self.reason is not None:
            raise StreamClosed(f"{self!r} cannot be sent to.")
        self.start()
        self._own_write = self._hub.loop.time()
        self._driver.run(lambda: self.write(data))
        if self._queued_bytes > _HIGH_WATER_BYTES:
            await self.drained()
