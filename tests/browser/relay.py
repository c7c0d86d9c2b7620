"""A proxy between a browser and a server, which does to streams what networks do."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from tests.services import free_port

__all__ = ["Relay", "relaying"]

_STREAM = b"accept: text/event-stream"


class Relay:
    """
    Passes connections on.

    Attributes:
        port: Where it listens.
        upstream: The port of the server that new connections go to.
        holds_back: Whether it keeps what a stream brings until its end, as proxies do that buffer.
    """

    def __init__(self, upstream: int) -> None:
        self.port = free_port()
        self.upstream = upstream
        self.holds_back = False
        self._passages: set[_Passage] = set()

    def silence_streams(self) -> None:
        """Let the streams of now bring nothing more, and not tell the browser that they end."""
        for passage in self._passages:
            passage.is_silent = passage.is_stream

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass one connection on, until the browser closes it."""
        passage = _Passage(self, reader, writer)
        self._passages.add(passage)
        with contextlib.suppress(OSError):
            await passage.run()
        self._passages.remove(passage)
        writer.close()


class _Passage:
    """One connection. A browser uses it again, for a stream as well."""

    is_stream = False
    is_silent = False

    def __init__(
        self, relay: Relay, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._relay = relay
        self._reader = reader
        self._writer = writer

    async def run(self) -> None:
        server = await asyncio.open_connection("127.0.0.1", self._relay.upstream)
        answering = asyncio.create_task(self._answer(server[0]))
        try:
            while request := await self._reader.read(65_536):
                self.is_stream = self.is_stream or _STREAM in request.lower()
                server[1].write(request)
        finally:
            answering.cancel()
            server[1].close()

    async def _answer(self, server: asyncio.StreamReader) -> None:
        held = b""
        with contextlib.suppress(OSError):
            while answer := await server.read(65_536):
                held += answer
                if not (self.is_stream and self._relay.holds_back) and not self.is_silent:
                    self._writer.write(held)
                    held = b""
        if not self.is_silent:
            self._writer.write(held)
            self._writer.close()


@contextlib.asynccontextmanager
async def relaying(upstream: int) -> AsyncIterator[Relay]:
    """Pass connections on to the server at the port *upstream*."""
    relay = Relay(upstream)
    server = await asyncio.start_server(relay.serve, "127.0.0.1", relay.port)
    try:
        yield relay
    finally:
        server.close()
