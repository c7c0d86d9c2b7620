"""This suite's patience, and a wait for what has no event."""

import asyncio
from collections.abc import Callable

__all__ = ["TIMEOUT", "until"]

#: How long a test waits for what it expects, on a machine however slow; one that passes never
#: waits as long.
TIMEOUT = 30.0


async def until(holds: Callable[[], object], timeout: float = TIMEOUT) -> None:
    """Let the loop run until ``holds()`` is true."""
    async with asyncio.timeout(timeout):
        while not holds():  # noqa: ASYNC110 - there is no event for what tests look at
            await asyncio.sleep(0)
