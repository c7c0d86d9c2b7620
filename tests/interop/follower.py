"""A client by httpx-sse that comes back when its stream breaks off."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import httpx
from httpx_sse import aconnect_sse

from tests.interop.events import Event

__all__ = ["following"]


@contextlib.asynccontextmanager
async def following(url: str) -> AsyncIterator[list[Event]]:
    """Follow a stream beside the test; yield the list of what it brings."""
    received: list[Event] = []
    task = asyncio.create_task(_follow(url, received))
    yield received
    task.cancel()
    await asyncio.wait([task])


async def _follow(url: str, received: list[Event]) -> None:
    headers: dict[str, str] = {}
    async with httpx.AsyncClient(timeout=60) as client:
        while True:
            # A connection that breaks, and an answer that is no event stream.
            with contextlib.suppress(httpx.TransportError):
                async with aconnect_sse(client, "GET", url, headers=headers) as source:
                    async for event in source.aiter_sse():
                        headers["Last-Event-ID"] = event.id
                        if event.data:  # There is none in the opening, which is an id alone.
                            received.append((event.event, event.data))
            await asyncio.sleep(0.05)
