"""The ASGI entry in which Django answers the request, and the stream lives on without it."""

import asyncio
from typing import Any

import django
from django.core.handlers.asgi import ASGIHandler
from django.http.response import HttpResponseBase

from django_sse import loops
from django_sse.contexts import StreamContext
from django_sse.http import EventStreamResponse
from django_sse.lifecycle import only_served
from django_sse.streams import EventStream
from django_sse.transports import push
from django_sse.types import Message, Receive, Send

__all__ = ["EventStreamHandler", "get_asgi_application"]


def get_asgi_application() -> "EventStreamHandler":
    """
    Return the project's ASGI application: in place of django.core.asgi.get_asgi_application().

    Every response but an event stream goes Django's own way.
    """
    django.setup(set_prefix=False)
    return EventStreamHandler()


class _Exchange:
    """One request's ASGI callables, as Django is given them, and the stream that it leaves."""

    __slots__ = ("_disconnect", "_receive", "_send", "_start", "stream")

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._disconnect: Message | None = None
        self.stream: EventStream | None = None
        self._start: Message | None = None

    def leave(self, stream: EventStream, start: Message) -> None:
        """Take it that *stream* is to follow the event *start*."""
        self.stream, self._start = stream, start

    def take_start(self) -> Message:
        """Return that event, once: nothing is to keep it as long as the stream."""
        start, self._start = self._start, None
        assert start is not None
        return start

    async def receive(self) -> Message:
        # Some servers tell of the disconnect once, and Django may be the one who hears it.
        if self._disconnect is None:
            message = await self._receive()
            if message["type"] != "http.disconnect":
                return message
            self._disconnect = message
        return self._disconnect

    async def __call__(self, message: Any) -> None:
        await self._send(message)


class EventStreamHandler(ASGIHandler):
    """
    Django's ASGI handler, which does not stay for event streams.

    The request is answered through middleware, URLs and view as ever, with ``request_finished``
    and the end of the request's thread and database connections. Then the response's stream is
    served by the hub, on the server's own ``send``.
    """

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """See ASGIHandler."""
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
        elif getattr(type(asyncio.current_task()), "cancel", None) is asyncio.Task.cancel:
            await self._serve(scope, receive, send)
        else:
            # Granian's own tasks (--task-impl rust) stop for good at the first wait that follows
            # an exception which they have caught, and cannot be cancelled.
            await asyncio.create_task(self._serve(scope, receive, send))

    async def _serve(self, scope: Any, receive: Receive, send: Send) -> None:
        loops.serve(asyncio.get_running_loop())
        exchange = await self._answer(scope, receive, send)
        if exchange.stream is not None:
            await push(exchange.stream, exchange.take_start(), exchange.receive, send)

    async def _answer(self, scope: Any, receive: Receive, send: Send) -> _Exchange:
        # A method of its own: a stream that leaves nothing of its view running keeps nothing of
        # the request's context either.
        exchange = _Exchange(receive, send)
        async with StreamContext() as context:
            with only_served(lambda: exchange.stream):
                await self.handle(scope, exchange.receive, exchange)
            if exchange.stream is not None:
                context.outlive()
        return exchange

    async def send_response(self, response: HttpResponseBase, send: Any) -> None:
        """See ASGIHandler. An event stream is kept for later: here only its headers are taken."""
        stream = response.stream if isinstance(response, EventStreamResponse) else None
        if stream is not None and isinstance(send, _Exchange):
            send.leave(
                stream,
                {
                    "type": "http.response.start",
                    "status": response.status_code,
                    "headers": _encode_headers(response),
                },
            )
        else:
            await super().send_response(response, send)


def _encode_headers(response: HttpResponseBase) -> list[tuple[bytes, bytes]]:
    cookies = [("Set-Cookie", cookie.OutputString()) for cookie in response.cookies.values()]
    return [
        (name.lower().encode("ascii"), value.encode("latin-1"))
        for name, value in [*response.items(), *cookies]
    ]
