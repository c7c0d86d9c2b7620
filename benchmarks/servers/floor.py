"""
The floor: the least that an event can cost in Python on uvloop.

A protocol that answers anything with an endless chunked response. An event is encoded once, and
written once to each connection of its group. No HTTP parser, no ASGI, no framework, no slow
clients.
"""

import asyncio
import collections
import json
import re
import socket
from pathlib import Path
from typing import Any, cast

from benchmarks import publisher
from benchmarks.events import GROUP

__all__ = ["run"]

_HEAD = (
    b"HTTP/1.1 200 OK\r\n"
    b"Content-Type: text/event-stream\r\n"
    b"Cache-Control: no-store\r\n"
    b"Transfer-Encoding: chunked\r\n"
    b"\r\n"
)
_NAME = re.compile(rb"[?]group=(\w+)")
_groups: dict[str, set[asyncio.Transport]] = collections.defaultdict(set)


class _Stream(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass.
        self._group: set[asyncio.Transport] = set()

    def data_received(self, data: bytes) -> None:
        self._transport.write(_HEAD)
        name = _NAME.search(data)
        self._group = _groups[name[1].decode() if name else GROUP]
        self._group.add(self._transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._group.discard(self._transport)


async def _publish(group: str, data: dict[str, Any]) -> None:
    frame = b"data: %s\n\n" % json.dumps(data, separators=(",", ":")).encode()
    chunk = b"%x\r\n%s\r\n" % (len(frame), frame)
    for connection in _groups[group]:
        connection.write(chunk)


def run(listening: socket.socket, control: socket.socket, directory: Path) -> None:
    """Serve on *listening* for ever."""
    import uvloop

    uvloop.run(_serve(listening, control))


async def _serve(listening: socket.socket, control: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Stream, sock=listening, backlog=65_535)
    greeting = {"port": listening.getsockname()[1], "headers": {}}
    await publisher.connect(control, _publish, greeting)
    await server.serve_forever()
