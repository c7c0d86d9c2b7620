"""
aiohttp-sse: its sse_response() fed by an asyncio.Queue, on aiohttp's own server and uvloop.

It has no groups: what is here is a queue for each stream, in a dictionary of groups. The JSON text
of an event is made once; the response encodes it for each stream. No middleware, no sessions.
"""

import asyncio
import collections
import json
import socket
from pathlib import Path
from typing import Any

from benchmarks import publisher
from benchmarks.events import GROUP

__all__ = ["run"]

_queues: dict[str, set[asyncio.Queue[str]]] = collections.defaultdict(set)


def run(listening: socket.socket, control: socket.socket, directory: Path) -> None:
    """Serve on *listening* for ever."""
    import uvloop

    uvloop.run(_serve(listening, control))


async def _serve(listening: socket.socket, control: socket.socket) -> None:
    from aiohttp import web

    application = web.Application()
    application.router.add_get("/events", _events)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.SockSite(runner, listening, backlog=65_535).start()
    greeting = {"port": listening.getsockname()[1], "headers": {}}
    await publisher.connect(control, _publish, greeting)
    await asyncio.Event().wait()


async def _events(request: Any) -> Any:
    from aiohttp_sse import sse_response

    queues = _queues[request.query.get("group", GROUP)]
    queue: asyncio.Queue[str] = asyncio.Queue()
    async with sse_response(request) as response:
        queues.add(queue)
        try:
            while response.is_connected():
                await response.send(await queue.get())
        finally:
            queues.discard(queue)
    return response


async def _publish(group: str, data: dict[str, Any]) -> None:
    text = json.dumps(data, separators=(",", ":"))
    for queue in _queues[group]:
        queue.put_nowait(text)
