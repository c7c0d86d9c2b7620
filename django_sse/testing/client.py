"""A client that speaks ASGI to an application in the test's own event loop."""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from contextvars import copy_context
from types import TracebackType
from typing import Any
from urllib.parse import quote, unquote, urlencode, urlsplit

from asgiref.sync import SyncToAsync, sync_to_async
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, connections
from django.http.cookie import SimpleCookie
from django.test import Client

from django_sse.asgi import EventStreamHandler
from django_sse.contexts import has_sync_caller
from django_sse.testing.received import ReceivedStream

__all__ = ["StreamClient", "close_connections"]

# What the CSRF middleware takes: any secret, as long as cookie and header say the same.
_CSRF_TOKEN = "a" * 32
# The clients whose requests run in the test's thread. Django closes a connection after each
# request, and before it, and that of the test is in its transaction.
_in_test_thread: set["StreamClient"] = set()
_CLOSING = (request_started, request_finished)


class StreamClient(AbstractAsyncContextManager["StreamClient"]):
    """
    Makes requests to an ASGI application as a browser does, and reads what it streams.

    It keeps cookies. To end what it has left open, use it as an async context manager, or close
    it.

    Under Django's own test cases the application's sync code runs in the test's thread, so that
    it sees the test's transaction, as with Django's client. Elsewhere each request has a thread
    and a database connection of its own, as on a server.

    Args:
        application: An ASGI application; by default the project's views under the package's own
            entry, see django_sse.asgi.get_asgi_application().
        timeout: For how many seconds each wait of its streams waits.
    """

    def __init__(
        self,
        application: Callable[..., Awaitable[object]] | None = None,
        *,
        timeout: float = 5.0,
    ) -> None:
        self.timeout = timeout
        self._application = application
        self._user_agent = Client()
        self._login_is_uncommitted = False
        self._streams: list[ReceivedStream] = []

    @property
    def cookies(self) -> SimpleCookie:
        """The cookies that are sent with each request; a value may be set as a string."""
        return self._user_agent.cookies

    # Users.

    def force_login(self, user: Any, backend: str | None = None) -> None:
        """Log *user* in without a password, as Django's client does."""
        self._user_agent.force_login(user, backend)
        self._login_is_uncommitted = any(
            connection.in_atomic_block for connection in connections.all(initialized_only=True)
        )

    async def aforce_login(self, user: Any, backend: str | None = None) -> None:
        """See force_login()."""
        await sync_to_async(self.force_login)(user, backend)

    # Requests.

    async def open(
        self,
        path: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes | Mapping[str, object] = b"",
        timeout: float | None = None,
    ) -> ReceivedStream:
        """
        Make a request, and wait for the status and the headers. For streams.

        Args:
            path: The path, and the query if there is one.
            method: Unsafe ones get a CSRF token: Django's default cookie and header.
            headers: Further ones, or others than those of a browser's EventSource.
            body: That of the request; a mapping is sent as a form.
            timeout: For how many seconds to wait; by default the client's.

        Raises:
            AssertionError: If no response starts in time.
        """
        stream = self.start(path, method=method, headers=headers, body=body)
        return await stream.started(timeout)

    async def get(self, path: str, **request: Any) -> ReceivedStream:
        """Make a request, and wait for the end of its response. See open()."""
        timeout = request.pop("timeout", None)
        stream = self.start(path, **request)
        await stream.ended(timeout)
        return stream

    async def post(
        self, path: str, body: bytes | Mapping[str, object] = b"", **request: Any
    ) -> ReceivedStream:
        """Post *body*, a mapping as a form, and wait for the end of the response. See open()."""
        return await self.get(path, **{"method": "POST", "body": body, **request})

    def start(
        self,
        path: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes | Mapping[str, object] = b"",
    ) -> ReceivedStream:
        """Begin a request, and return at once. See open()."""
        headers = dict(headers or {})
        if isinstance(body, Mapping):
            headers.setdefault("content-type", "application/x-www-form-urlencoded")
            body = urlencode(body, doseq=True).encode()

        async def reopen(last_event_id: str) -> ReceivedStream:
            resumed = {
                name: value for name, value in headers.items() if name.lower() != "last-event-id"
            }
            if last_event_id:
                resumed["last-event-id"] = last_event_id
            return await self.open(path, method=method, headers=resumed, body=body)

        begin = functools.partial(
            ReceivedStream,
            self._call,
            self.scope(path, method=method, headers=headers),
            body,
            timeout=self.timeout,
            on_start=lambda stream: self.cookies.update(stream.cookies),
            reopen=reopen,
        )
        stream = self._in_context(begin)
        self._streams.append(stream)
        return stream

    def _call(self, *args: Any) -> Awaitable[object]:
        if self._application is None:
            # Not get_asgi_application(): it sets logging up again, and pytest's is lost.
            self._application = EventStreamHandler()
        return self._application(*args)

    def _in_context(self, begin: Callable[[], ReceivedStream]) -> ReceivedStream:
        context = copy_context()
        if has_sync_caller():
            self._keep_connections()
            # As if the request had a thread already: asgiref gives it none.
            context.run(SyncToAsync.thread_sensitive_context.set, None)  # type: ignore[arg-type]
        elif self._login_is_uncommitted:
            raise RuntimeError(
                "force_login() was called in a transaction, which the application cannot see from"
                " its own threads. Let the test commit: @pytest.mark.django_db(transaction=True)."
            )
        return context.run(begin)

    def _keep_connections(self) -> None:
        if not _in_test_thread:
            for signal in _CLOSING:
                signal.disconnect(close_old_connections)
        _in_test_thread.add(self)

    def _keep_connections_no_more(self) -> None:
        if self in _in_test_thread:
            _in_test_thread.remove(self)
            if not _in_test_thread:
                for signal in _CLOSING:
                    signal.connect(close_old_connections)

    def scope(
        self, path: str, *, method: str = "GET", headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """Return a request as a server would describe it."""
        cookies = {name: morsel.coded_value for name, morsel in self.cookies.items()}
        given = {"host": "testserver", "accept": "text/event-stream"}
        if method not in ("GET", "HEAD", "OPTIONS", "TRACE"):
            given["x-csrftoken"] = cookies.setdefault("csrftoken", _CSRF_TOKEN)
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
            "path": unquote(url.path),
            "raw_path": quote(unquote(url.path)).encode(),
            "query_string": url.query.encode(),
            "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in given.items()],
            "client": ("127.0.0.1", 50000),
            "server": ("testserver", 80),
            "state": {},
        }

    # The end.

    def disconnect(self) -> None:
        """Disconnect every stream, and wait for nothing."""
        for stream in self._streams:
            stream.disconnect()

    async def close(self) -> None:
        """
        Disconnect every stream, and wait for the application's tasks.

        Raises:
            AssertionError: If one is not done in time.
        """
        self.disconnect()
        streams, self._streams = self._streams, []
        tasks = {stream.task for stream in streams}
        _, pending = await asyncio.wait(tasks, timeout=self.timeout) if tasks else ((), ())
        self._keep_connections_no_more()
        if pending:
            left = [stream.scope["path"] for stream in streams if stream.task in pending]
            raise AssertionError(
                f"The application still runs {self.timeout:g} s after the client has gone"
                f" from {', '.join(left)}."
            )
        if not has_sync_caller():
            await sync_to_async(_close_own_connections)()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()


def close_connections() -> None:
    """Close those of asgiref's thread, in which an async test makes its ORM calls."""
    SyncToAsync.single_thread_executor.submit(_close_own_connections).result()


def _close_own_connections() -> None:
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()
