"""
sse-starlette: an EventSourceResponse fed by an asyncio.Queue.

It has no groups: what is here is the queue for each stream that its documentation shows, in a
dictionary of groups. The JSON text of an event and the ServerSentEvent around it are made once;
the response encodes that for each stream. No middleware, no sessions.
"""

import asyncio
import collections
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from benchmarks.events import GROUP
from benchmarks.servers import Site

__all__ = ["make_site"]


def make_site(directory: Path) -> Site:
    """Return the site."""
    from sse_starlette import EventSourceResponse, ServerSentEvent
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.routing import Route

    queues: dict[str, set[asyncio.Queue[ServerSentEvent]]] = collections.defaultdict(set)

    async def read(group: str) -> AsyncIterator[ServerSentEvent]:
        queue: asyncio.Queue[ServerSentEvent] = asyncio.Queue()
        queues[group].add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            queues[group].discard(queue)

    async def events(request: Request) -> EventSourceResponse:
        return EventSourceResponse(read(request.query_params.get("group", GROUP)))

    async def publish(group: str, data: dict[str, Any]) -> None:
        event = ServerSentEvent(json.dumps(data, separators=(",", ":")))
        for queue in queues[group]:
            queue.put_nowait(event)

    return Site(Starlette(routes=[Route("/events", events)]), publish)
