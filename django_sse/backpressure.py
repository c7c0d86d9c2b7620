"""Making daphne's ``send`` write at once, and wait for the client, as other servers' do."""

import asyncio
import functools
import logging
import sys
from typing import Any

from django_sse.types import Message, Send

__all__ = ["waiting"]

logger = logging.getLogger("django.sse")


def waiting(send: Send) -> Send:
    """
    Return a ``send`` that waits while much is unwritten; *send* itself, if it is not daphne's.

    Daphne's own hands the bytes to Twisted, which keeps what the client does not read, however
    much that is. The one that is returned waits while that is more than the transport's own
    bound (64 KiB), or than the client's window in HTTP/2. Then it waits until the transport has
    written all. It is let go when the client leaves, and when the response is ended by others.

    It also writes at once: Twisted has the system watch the socket, is told that there is room,
    writes, and calls the watch off, for every event of every stream.

    To be called on the loop that serves *send*, for one response that is yet to be ended: from
    then on nobody else can register a producer for it with Twisted.

    Daphne's insides are not documented. Where they are not as expected, *send* is returned, and
    the log says so, once.
    """
    # What a wrapper of the project's has around daphne's send is not looked into.
    function = send.func if isinstance(send, functools.partial) else send
    if not (getattr(function, "__module__", None) or "").startswith("daphne."):
        return send
    try:
        # Source: daphne.server.Server.create_application().
        (request,) = send.args  # type: ignore[attr-defined]
        if request.finished or request.channel is None:
            return send  # It drops all that it is given.
        return _Waiting(send, request)
    except Exception as error:
        _warn_once(type(error).__name__)
        return send


@functools.cache
def _warn_once(kind: str) -> None:
    logger.warning(
        "Daphne's insides are not as expected (%s: %s), so its streams are not held back: what a"
        " client does not read is kept without a bound. Use a version of daphne that this package"
        " is tested with.",
        kind,
        sys.exception(),
    )


class _Waiting:
    """Daphne's send to one response, which waits for room."""

    __slots__ = ("_room", "_send", "_transport", "_unregister")

    def __init__(self, send: Send, request: Any) -> None:
        self._send = send
        self._transport = _plain(request.channel.transport)
        self._unregister = request.unregisterProducer
        # Over TLS an earlier response of the connection may have filled it: none is told again.
        self._room = _Room(is_full=getattr(request.channel, "_waitingForTransport", False))
        request.notifyFinish().addBoth(self._room.end)
        # Last, so that nothing is to be undone if anything is missing.
        request.registerProducer(self._room, True)

    async def __call__(self, message: Message) -> None:
        room = self._room
        # It is full already if an earlier send was cancelled, or TLS has held bytes back.
        while room.made is not None:
            await asyncio.shield(room.made)
        if _is_last(message) and not room.is_over:
            # Twisted logs an error about a response that ends with its producer registered.
            self._unregister()
            room.end()
        if (transport := self._transport) is None or _has_data(transport) or room.is_over:
            await self._send(message)
        else:
            transport.startWriting = _do_nothing
            try:
                await self._send(message)
            finally:
                del transport.startWriting
                if _has_data(transport) and (transport.doWrite() or _has_data(transport)):
                    transport.startWriting()  # For the rest, or to find out what has happened.
        if room.made is not None:
            await asyncio.shield(room.made)


def _plain(transport: Any) -> Any:
    """Return *transport*, if it is a TCP connection without TLS; else None."""
    tcp = sys.modules.get("twisted.internet.tcp")
    is_plain = tcp is not None and isinstance(transport, tcp.Connection) and not transport.TLS
    return transport if is_plain else None


def _has_data(transport: Any) -> bool:
    return bool(transport.dataBuffer or transport._tempDataBuffer)


def _do_nothing() -> None: ...


def _is_last(message: Message) -> bool:
    return message["type"] == "http.response.body" and not message.get("more_body", False)


class _Room:
    """
    A producer, as Twisted calls one who writes: it is told when to pause, and when to go on.

    It does not know of the request, which knows of it: neither keeps the other alive.

    Attributes:
        made: None while there is room. Else what is done as soon as there is, to be shielded.
        is_over: Whether the response has ended, or the client has left.

    Source: twisted.internet.interfaces.IPushProducer.
    """

    __slots__ = ("_loop", "is_over", "made")

    def __init__(self, *, is_full: bool) -> None:
        self._loop = asyncio.get_running_loop()
        self.made: asyncio.Future[None] | None = None
        self.is_over = False
        if is_full:
            self.pauseProducing()

    def pauseProducing(self) -> None:
        # Twisted says so at each write.
        if self.made is None and not self.is_over:
            self.made = self._loop.create_future()

    def resumeProducing(self) -> None:
        if self.made is not None:
            self.made.set_result(None)
            self.made = None

    def stopProducing(self) -> None:
        self.end()

    def end(self, _: object = None) -> None:
        """Let go of who waits, for good. A Deferred gives a result or a failure; it is dropped."""
        self.is_over = True
        self.resumeProducing()
