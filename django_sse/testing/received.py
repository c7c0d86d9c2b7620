"""What comes back from an application: a response, and if it is a stream, its events."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Self

from django.http.cookie import SimpleCookie

from django_sse.testing.frames import ReceivedEvent, fields_of
from django_sse.testing.hints import ahints
from django_sse.types import Message

__all__ = ["ReceivedStream"]

# How much of a body a failure shows: its end.
_SHOWN_CHARACTERS = 2000


class ReceivedStream(AsyncIterator[ReceivedEvent], AbstractAsyncContextManager["ReceivedStream"]):
    """
    One request to an ASGI application, and what comes back. StreamClient makes it.

    The application's task runs beside the test. Nothing here sleeps: each wait is for something
    that the application does, for the client's *timeout* unless it is given another. A wait that
    fails is an AssertionError, which shows what has come so far; where the application has
    raised, it is that error.

    Attributes:
        status: The status code; 0 until the response starts.
        headers: Its headers, by their names in lower case.
        scope: The request, as the application got it.
        chunks: The body as it came: one item for each ``http.response.body``.
        messages: All that the application has sent, in ASGI's form.
        task: The application's task.
        receives: How often it has called ``receive`` after the request's body.
        send_error: Raised by ``send`` once the client has gone, as some servers do.
        is_ended: Whether the response is complete.
    """

    def __init__(
        self,
        application: Callable[..., Awaitable[object]],
        scope: dict[str, Any],
        body: bytes = b"",
        *,
        timeout: float,
        on_start: Callable[["ReceivedStream"], object] | None = None,
        reopen: Callable[[str], Awaitable["ReceivedStream"]] | None = None,
    ) -> None:
        self.scope = scope
        self.timeout = timeout
        self.status = 0
        self.headers: dict[str, str] = {}
        self.raw_headers: list[tuple[bytes, bytes]] = []
        self.chunks: list[bytes] = []
        self.messages: list[Message] = []
        self.receives = 0
        self.send_error: Exception | None = None
        self.is_ended = False
        self._request: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
        self._on_start = on_start
        self._reopen = reopen
        self._unread = b""
        self._last_id = ""
        self._events_read = 0
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._gone = asyncio.Event()
        self._changed = asyncio.Event()
        coroutine = application(scope, self._receive, self._send)
        self.task: asyncio.Future[object] = asyncio.ensure_future(coroutine)
        self.task.add_done_callback(lambda _: self._changed.set())

    # The server's side.

    async def _receive(self) -> Message:
        if self._request:
            return self._request.pop()
        self.receives += 1
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        await self._flowing.wait()
        if self._gone.is_set():
            if self.send_error is not None:
                raise self.send_error
            return  # As daphne, uvicorn and hypercorn do.
        self.messages.append(message)
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.raw_headers = list(message["headers"])
            self.headers = {
                name.decode().lower(): value.decode("latin-1") for name, value in self.raw_headers
            }
            if self._on_start is not None:
                self._on_start(self)
        else:
            self.chunks.append(message.get("body", b""))
            self._unread += message.get("body", b"")
            self.is_ended = not message.get("more_body", False)
        self._changed.set()

    # The client's side: the response.

    @property
    def body(self) -> bytes:
        """All that has come of the body."""
        return b"".join(self.chunks)

    def json(self) -> Any:
        """Return the body that has come, parsed."""
        return json.loads(self.body)

    @property
    def cookies(self) -> SimpleCookie:
        """The cookies that the response sets."""
        cookies = SimpleCookie()
        for name, value in self.raw_headers:
            if name.lower() == b"set-cookie":
                cookies.load(value.decode())
        return cookies

    async def started(self, timeout: float | None = None) -> Self:
        """Wait for the status and the headers."""
        await self._until("response", lambda: self.status, timeout)
        return self

    async def ended(self, timeout: float | None = None) -> bytes:
        """Wait for the end of the response and of the application's task. Return the body."""
        await self._until("end of the response", lambda: self.is_ended, timeout)
        await self._until("end of the application", self.task.done, timeout)
        self.task.result()
        return self.body

    # Its events.

    async def next_event(self, timeout: float | None = None) -> ReceivedEvent:
        """Return the next event that a browser would dispatch; frames without data are skipped."""
        return await self._next_event("event", timeout)

    async def events(self, count: int, timeout: float | None = None) -> list[ReceivedEvent]:
        """Return the next *count* events; *timeout* is that of each."""
        return [
            await self._next_event(f"event ({number} of {count})", timeout)
            for number in range(1, count + 1)
        ]

    async def __anext__(self) -> ReceivedEvent:
        """Return the next event; the iteration ends with the response."""
        while True:
            await self._until("event", lambda: self.has_unread or self.is_ended, None)
            if not self.has_unread:
                raise StopAsyncIteration
            if (event := self._interpret(self._take_frame())) is not None:
                return event

    async def next_frame(self, timeout: float | None = None) -> bytes:
        """Return the next frame as it came: all up to and with the next blank line."""
        await self._until("frame", lambda: self.has_unread, timeout)
        frame = self._take_frame()
        self._interpret(frame)
        return frame

    async def _next_event(self, what: str, timeout: float | None) -> ReceivedEvent:
        while True:
            await self._until(what, lambda: self.has_unread, timeout)
            if (event := self._interpret(self._take_frame())) is not None:
                return event

    @property
    def has_unread(self) -> bool:
        """Whether a whole frame waits to be read."""
        return b"\n\n" in self._unread

    def _take_frame(self) -> bytes:
        frame, self._unread = self._unread.split(b"\n\n", 1)
        return frame + b"\n\n"

    def _interpret(self, frame: bytes) -> ReceivedEvent | None:
        fields = fields_of(frame)
        self._last_id = fields.get("id", self._last_id)
        if "data" not in fields:
            return None
        self._events_read += 1
        return ReceivedEvent(fields["data"], fields.get("event") or "message", self._last_id)

    # What a client does.

    @property
    def last_event_id(self) -> str:
        """The id of the last event that the test has read; "" if there is none."""
        found, rest = self._last_id, self._unread
        # A browser takes the ids of frames without data at once.
        while b"\n\n" in rest:
            frame, rest = rest.split(b"\n\n", 1)
            fields = fields_of(frame)
            if "data" in fields:
                break
            found = fields.get("id", found)
        return found

    def disconnect(self) -> None:
        """Go away, as a closed tab does. What waits in ``send`` is let go."""
        self._gone.set()
        self._flowing.set()

    async def disconnected(self, timeout: float | None = None) -> None:
        """Go away, and wait until the application has ended."""
        self.disconnect()
        await self._until("end of the application", self.task.done, timeout)
        if not self.task.cancelled():
            self.task.result()

    async def reconnect(self, timeout: float | None = None) -> "ReceivedStream":
        """
        Go away, and come back with the last event id, as a browser does after a failure.

        What has come and was not read counts as lost on the way. Return the new stream.
        """
        if self._reopen is None:
            raise RuntimeError("Only a stream that a StreamClient has opened can reconnect.")
        if self._flowing.is_set() and not self.task.done():
            # Every stream begins with an id: a browser that has got its headers has that, too.
            await self._until("first frame", lambda: self.chunks, timeout)
        await self.disconnected(timeout)
        return await self._reopen(self.last_event_id)

    def stall(self) -> None:
        """Read nothing more: the application's next ``send`` waits."""
        self._flowing.clear()

    def resume(self) -> None:
        """Read on."""
        self._flowing.set()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # What went wrong in the block is what the test is to show.
        with contextlib.suppress(*([Exception] if error else [])):
            await self.disconnected()

    # Failures.

    async def _until(self, what: str, holds: Callable[[], object], timeout: float | None) -> None:
        seconds = self.timeout if timeout is None else timeout
        try:
            async with asyncio.timeout(seconds):
                while not (holds() or self.task.done()):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            message = f"No {what} within {seconds:g} s. {self._so_far()}"
            raise AssertionError("\n".join([message, *await ahints()])) from None
        if not holds():
            if not self.task.cancelled():
                self.task.result()
            raise AssertionError(f"The application ended with no {what}. {self._so_far()}")

    def _so_far(self) -> str:
        kind = self.headers.get("content-type", "no content type")
        state = f"status {self.status}, {kind}" if self.status else "no response yet"
        lines = [
            f"{self.scope['method']} {self.scope['path']}: {state}; events read: "
            f"{self._events_read}."
        ]
        if not self._flowing.is_set():
            lines.append("The client is stalled: it reads nothing until resume().")
        if self._gone.is_set():
            lines.append("The client has disconnected.")
        text = self.body.decode(errors="replace").strip()
        if not text:
            return "\n".join([*lines, "Nothing has come of the body."])
        shown = text if len(text) <= _SHOWN_CHARACTERS else f"…{text[-_SHOWN_CHARACTERS:]}"
        return "\n".join([*lines, "Came so far:", *(f"    {line}" for line in shown.split("\n"))])

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.scope['path']} {self.status} {self.body!r}>"
