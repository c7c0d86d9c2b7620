"""A proxy whose server is away."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

__all__ = ["bad_gateway"]

_ANSWER = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@contextlib.asynccontextmanager
async def bad_gateway(port: int) -> AsyncIterator[asyncio.Event]:
    """Answer every request at *port* with 502; yield an event that is set by the first."""
    asked = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(_ANSWER)
            await writer.drain()
            asked.set()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", port):
        yield asked
