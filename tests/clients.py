"""A client that speaks ASGI to an application in the test's own event loop."""

import asyncio
import contextlib
import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Self
from urllib.parse import quote, urlsplit

from django.http.cookie import SimpleCookie

from django_sse.types import Message

__all__ = ["TIMEOUT", "AsgiClient", "Exchange", "Received", "until"]

#: How long a test waits for what it expects, on a machine however slow; one that passes never
#: waits as long.
TIMEOUT = 30.0


async def until(holds: Callable[[], object], timeout: float = TIMEOUT) -> None:
    """Let the loop run until ``holds()`` is true."""
    async with asyncio.timeout(timeout):
        while not holds():  # noqa: ASYNC110 - there is no event for what tests look at
            await asyncio.sleep(0)


class Received(NamedTuple):
    """One event as a page's listener gets it."""

    data: str
    event: str = "message"
    id: str = ""

    def json(self) -> Any:
        """Return the data, parsed."""
        return json.loads(self.data)


class Exchange:
    """
    One request to an ASGI application, and what comes back.

    The application's task runs beside the test. Nothing here sleeps: each wait is for something
    that the application does.
    """

    def __init__(self, app: Any, scope: dict[str, Any], body: bytes = b"") -> None:
        self.scope = scope
        #: The body as it came: one item for each ``http.response.body``.
        self.chunks: list[bytes] = []
        #: The same, with each message's ``more_body``.
        self.messages: list[Message] = []
        self.status = 0
        self.headers: dict[str, str] = {}
        self.raw_headers: list[tuple[bytes, bytes]] = []
        #: How often ``receive`` was called after the request's body.
        self.receives = 0
        #: Raised by ``send`` once the client has gone, as some servers do.
        self.send_error: Exception | None = None
        self.is_ended = False
        self._request = [{"type": "http.request", "body": body, "more_body": False}]
        self._unread = b""
        self._last_id = ""
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._gone = asyncio.Event()
        self._changed = asyncio.Condition()
        self.task = asyncio.get_running_loop().create_task(app(scope, self._receive, self._send))
        self.task.add_done_callback(lambda task: self._wake())

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
        else:
            self.chunks.append(message.get("body", b""))
            self._unread += message.get("body", b"")
            self.is_ended = not message.get("more_body", False)
        self._wake()

    def _wake(self) -> None:
        async def notify() -> None:
            async with self._changed:
                self._changed.notify_all()

        with contextlib.suppress(RuntimeError):  # The loop is closing.
            self._notifying = asyncio.get_running_loop().create_task(notify())

    async def _until(self, what: str, holds: Any, timeout: float) -> None:
        try:
            async with asyncio.timeout(timeout), self._changed:
                await self._changed.wait_for(lambda: holds() or self.task.done())
        except TimeoutError:
            raise AssertionError(f"No {what} within {timeout} s. So far: {self!r}") from None
        if not holds():
            self.task.result()
            raise AssertionError(f"The application ended with no {what}. So far: {self!r}")

    def __repr__(self) -> str:
        return f"<Exchange {self.scope['path']} {self.status} {b''.join(self.chunks)!r}>"

    # The client's side.

    @property
    def body(self) -> bytes:
        """All that has come of the body."""
        return b"".join(self.chunks)

    @property
    def cookies(self) -> SimpleCookie:
        """The cookies that the response sets."""
        cookies = SimpleCookie()
        for name, value in self.raw_headers:
            if name.lower() == b"set-cookie":
                cookies.load(value.decode())
        return cookies

    async def started(self, timeout: float = TIMEOUT) -> Self:
        """Wait for the status and the headers."""
        await self._until("response", lambda: self.status, timeout)
        return self

    async def ended(self, timeout: float = TIMEOUT) -> bytes:
        """Wait for the end of the response and of the application's task. Return the body."""
        await self._until("end of the response", lambda: self.is_ended, timeout)
        await asyncio.wait_for(asyncio.shield(self.task), timeout)
        return self.body

    async def next_frame(self, timeout: float = TIMEOUT) -> bytes:
        """Return the next frame as it came: all up to and with the next blank line."""
        await self._until("frame", lambda: b"\n\n" in self._unread, timeout)
        frame, self._unread = self._unread.split(b"\n\n", 1)
        return frame + b"\n\n"

    async def next_event(self, timeout: float = TIMEOUT) -> Received:
        """Return the next event that a browser would dispatch; frames without data are skipped."""
        while True:
            event = self._interpret(await self.next_frame(timeout))
            if event is not None:
                return event

    def _interpret(self, frame: bytes) -> Received | None:
        data: list[str] = []
        kind = "message"
        for line in frame.decode().split("\n"):
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "data":
                data.append(value)
            elif name == "event":
                kind = value or "message"
            elif name == "id":
                self._last_id = value
        return Received("\n".join(data), kind, self._last_id) if data else None

    @property
    def has_unread(self) -> bool:
        """Whether a whole frame waits to be read."""
        return b"\n\n" in self._unread

    def disconnect(self) -> None:
        """Go away, as a closed tab does. What waits in ``send`` is let go."""
        self._gone.set()
        self._flowing.set()

    async def disconnected(self, timeout: float = TIMEOUT) -> None:
        """Go away, and wait until the application has ended."""
        self.disconnect()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait_for(asyncio.shield(self.task), timeout)

    def stall(self) -> None:
        """Read nothing more: the application's next ``send`` waits."""
        self._flowing.clear()

    def resume(self) -> None:
        """Read on."""
        self._flowing.set()


class AsgiClient:
    """Makes requests to *app*, and ends what is left of them in close()."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.cookies: dict[str, str] = {}
        self._exchanges: list[Exchange] = []

    def scope(
        self, path: str, *, method: str = "GET", headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """Return a request as a server would describe it. Unsafe methods get a CSRF token."""
        cookies = dict(self.cookies)
        given = {"host": "testserver", "accept": "text/event-stream"}
        if method not in ("GET", "HEAD"):
            cookies["csrftoken"] = given["x-csrftoken"] = "a" * 32
        if cookies:
            given["cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
        given.update({name.lower(): value for name, value in (headers or {}).items()})
        url = urlsplit(path)
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": url.path,
            "raw_path": quote(url.path).encode(),
            "query_string": url.query.encode(),
            "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in given.items()],
            "client": ("127.0.0.1", 50000),
            "server": ("testserver", 80),
            "state": {},
        }

    def start(self, path: str, *, body: bytes = b"", **request: Any) -> Exchange:
        """Begin a request, see scope(), and return at once."""
        exchange = Exchange(self.app, self.scope(path, **request), body)
        self._exchanges.append(exchange)
        return exchange

    async def open(self, path: str, **request: Any) -> Exchange:
        """Begin a request, and wait for the status and headers. For streams."""
        return await self.start(path, **request).started()

    async def get(self, path: str, **request: Any) -> Exchange:
        """Make a request, and wait for the end of its response."""
        exchange = self.start(path, **request)
        await exchange.ended()
        return exchange

    async def close(self) -> None:
        """Disconnect everywhere, and wait for the application's tasks."""
        for exchange in self._exchanges:
            exchange.disconnect()
        if self._exchanges:
            tasks = [exchange.task for exchange in self._exchanges]
            await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), TIMEOUT)
