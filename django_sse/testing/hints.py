"""Why something that a test waits for may not have been published."""

import asyncio
import contextlib

from asgiref.sync import sync_to_async
from django.db import connections

from django_sse import loops

__all__ = ["ahints", "hints"]

_THREAD_SECONDS = 1.0


def hints() -> list[str]:
    """Return what to do about it, a sentence each."""
    return [*_of_transactions(), *_of_loop()]


async def ahints() -> list[str]:
    """See hints(); a test's connections are in the thread in which its sync code runs."""
    found: list[str] = []
    # That thread may be what the test has waited for in vain.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_THREAD_SECONDS):
            found = await sync_to_async(_of_transactions)()
    return [*found, *_of_loop()]


def _of_transactions() -> list[str]:
    return [
        f"A transaction is open on {connection.alias!r}, and publish() waits for its commit. In a"
        " TestCase publish inside captureOnCommitCallbacks(execute=True), or on_commit=False."
        for connection in connections.all(initialized_only=True)
        if connection.in_atomic_block and connection.run_on_commit
    ]


def _of_loop() -> list[str]:
    if loops.is_loop_thread() and _is_queued():
        return ["Something is still being published on this event loop: use `async with`."]
    return []


def _is_queued() -> bool:
    loop = asyncio.get_running_loop()
    return any(
        queue._task is not None for (owner, _), queue in loops._queues.items() if owner is loop
    )
