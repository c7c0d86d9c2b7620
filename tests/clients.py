"""The testing kit's client with this suite's patience, and a wait for what has no event."""

import asyncio
from collections.abc import Awaitable, Callable

from django_sse.testing import ReceivedEvent as Received
from django_sse.testing import ReceivedStream as Exchange
from django_sse.testing import StreamClient

__all__ = ["TIMEOUT", "AsgiClient", "Exchange", "Received", "until"]

#: How long a test waits for what it expects, on a machine however slow; one that passes never
#: waits as long.
TIMEOUT = 30.0


async def until(holds: Callable[[], object], timeout: float = TIMEOUT) -> None:
    """Let the loop run until ``holds()`` is true."""
    async with asyncio.timeout(timeout):
        while not holds():  # noqa: ASYNC110 - there is no event for what tests look at
            await asyncio.sleep(0)


class AsgiClient(StreamClient):
    """A StreamClient that waits as long as this suite does."""

    def __init__(self, application: Callable[..., Awaitable[object]] | None) -> None:
        super().__init__(application, timeout=TIMEOUT)
