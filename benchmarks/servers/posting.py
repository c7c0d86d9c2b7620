"""A publisher that posts to a server by HTTP: one connection, kept, with requests pipelined."""

import asyncio
import re
from typing import cast

__all__ = ["Poster"]

_STATUS = re.compile(rb"HTTP/1\.1 (\d{3})")


class Poster(asyncio.Protocol):
    """
    Posts without waiting for the answers; what is posted in one tick of the loop is one write.

    An answer that is no success ends the process: what it stands for would look like a loss.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._waiting: list[bytes] = []
        self._rest = b""
        self.answers = 0

    async def connect(self) -> None:
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self, "127.0.0.1", self._port)

    def post(self, path: str, body: bytes, media_type: str) -> None:
        head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\n"
            f"Content-Type: {media_type}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._flush)
        self._waiting += head.encode(), body

    def _flush(self) -> None:
        self._transport.write(b"".join(self._waiting))
        self._waiting.clear()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass.

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        for found in _STATUS.finditer(data):
            self.answers += 1
            if not found[1].startswith(b"2"):
                raise SystemExit(f"The server has refused what was posted: {data!r}")
        self._rest = data[data.rfind(b"\n") + 1 :][:16]

    def connection_lost(self, error: Exception | None) -> None:
        raise SystemExit(f"The server has closed the publisher's connection: {error!r}")
