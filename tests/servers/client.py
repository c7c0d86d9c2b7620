"""A client of HTTP/1.1 and of event streams, made by hand over a socket."""

import asyncio
import contextlib
import dataclasses
import json
import socket
import struct
from collections.abc import AsyncIterator, Mapping
from typing import Any, Self

from tests.networks import socket_in
from tests.servers.waiting import TIMEOUT

__all__ = ["Answer", "EndOfStream", "StreamClient", "connect", "fetch"]


class EndOfStream(Exception):
    """The response has ended as HTTP says a response ends."""


async def connect(
    port: int, *, receive_buffer: int | None = None, namespace: str | None = None
) -> socket.socket:
    """
    Return a socket that is connected to a port of the own host, or of a network namespace.

    A small *receive_buffer* fills the sooner, unread.
    """
    sock = socket.socket() if namespace is None else socket_in(namespace)
    sock.setblocking(False)
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    try:
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    except BaseException:
        sock.close()
        raise
    return sock


class _Reader:
    """Bytes of a socket up to a mark, or by their number."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = bytearray()

    async def until(self, mark: bytes) -> bytes:
        while mark not in self._buffer:
            await self._more()
        return self._take(self._buffer.index(mark) + len(mark))

    async def exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            await self._more()
        return self._take(count)

    async def _more(self) -> None:
        data = await asyncio.get_running_loop().sock_recv(self._sock, 65_536)
        if not data:
            raise ConnectionError(f"The server hung up; unread so far: {bytes(self._buffer)!r}")
        self._buffer += data

    def _take(self, count: int) -> bytes:
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """A response that has a length."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class StreamClient:
    """One request on one connection, its response read piece by piece."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._reader = _Reader(sock)
        self._frames = bytearray()
        self.status = 0
        self.headers: dict[str, str] = {}

    @classmethod
    async def open(
        cls,
        port: int,
        path: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        receive_buffer: int | None = None,
        namespace: str | None = None,
        timeout: float = TIMEOUT,
    ) -> Self:
        """Send a request, and read the head of its response."""
        client = cls(await connect(port, receive_buffer=receive_buffer, namespace=namespace))
        try:
            async with asyncio.timeout(timeout):
                await client.send_request(method, path, headers or {})
                await client.read_head()
        except BaseException:
            client.close()
            raise
        return client

    async def send_request(self, method: str, path: str, headers: Mapping[str, str]) -> None:
        fields = {"Host": "127.0.0.1", "Accept": "text/event-stream, */*", **headers}
        lines = [f"{method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in fields.items()), "", ""]
        await asyncio.get_running_loop().sock_sendall(self._sock, "\r\n".join(lines).encode())

    async def read_head(self) -> None:
        head = (await self._reader.until(b"\r\n\r\n")).decode("latin-1")
        status_line, *lines = head.strip().split("\r\n")
        self.status = int(status_line.split(" ")[1])
        for line in lines:
            name, _, value = line.partition(":")
            self.headers[name.strip().lower()] = value.strip()

    async def _chunk(self) -> bytes:
        """Return the next chunk, or nothing at the end of the response."""
        size = int((await self._reader.until(b"\r\n")).split(b";")[0], 16)
        chunk = await self._reader.exactly(size)
        assert await self._reader.exactly(2) == b"\r\n"
        return chunk

    async def body(self, timeout: float = TIMEOUT) -> bytes:
        """Return the whole body."""
        async with asyncio.timeout(timeout):
            if "content-length" in self.headers:
                return await self._reader.exactly(int(self.headers["content-length"]))
            chunks = []
            while chunk := await self._chunk():
                chunks.append(chunk)
            return b"".join(chunks)

    async def next_frame(self, timeout: float = TIMEOUT) -> bytes:
        """
        Return the next frame of an event stream, its blank line included.

        Raises:
            EndOfStream: If the response has ended.
            ConnectionError: If the connection has ended, and the response has not.
            TimeoutError: If none comes in time.
        """
        async with asyncio.timeout(timeout):
            while b"\n\n" not in self._frames:
                chunk = await self._chunk()
                if not chunk:
                    assert not self._frames, f"The stream ended inside {bytes(self._frames)!r}"
                    raise EndOfStream
                self._frames += chunk
        end = self._frames.index(b"\n\n") + 2
        frame = bytes(self._frames[:end])
        del self._frames[:end]
        return frame

    async def next_event(self, timeout: float = TIMEOUT) -> dict[str, str]:
        """Return the fields of the next frame that a browser would dispatch as an event."""
        async with asyncio.timeout(timeout):
            while True:
                fields = _fields(await self.next_frame(timeout))
                if "data" in fields:
                    return fields

    async def rest(self, timeout: float = TIMEOUT, *, whole: bool = True) -> list[bytes]:
        """Return the frames from here to the end of the response; if not *whole*, to a hang-up."""
        frames = []
        with contextlib.suppress(EndOfStream, *() if whole else (ConnectionError,)):
            async with asyncio.timeout(timeout):
                while True:
                    frames.append(await self.next_frame(timeout))
        return frames

    def close(self) -> None:
        """Close the connection as a browser does that leaves the page."""
        self._sock.close()

    def reset(self) -> None:
        """Break the connection off, as a machine does that knows of it no more."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()


def _fields(frame: bytes) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in frame.decode().split("\n"):
        name, colon, value = line.partition(":")
        if colon and name:
            value = value.removeprefix(" ")
            fields[name] = f"{fields[name]}\n{value}" if name in fields else value
    return fields


@contextlib.asynccontextmanager
async def _opened(port: int, path: str, **options: Any) -> AsyncIterator[StreamClient]:
    client = await StreamClient.open(port, path, **options)
    try:
        yield client
    finally:
        client.close()


async def fetch(port: int, path: str, *, timeout: float = TIMEOUT, **options: Any) -> Answer:
    """Return the answer to one request on a connection of its own."""
    async with _opened(port, path, timeout=timeout, **options) as client:
        return Answer(client.status, client.headers, await client.body(timeout))
