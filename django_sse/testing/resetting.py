"""What the package and Channels keep in a process, and how a test makes them forget it."""

import asyncio
import threading
import time

from channels.layers import channel_layers

from django_sse import hub as hub_module
from django_sse import loops, publishing
from django_sse.conf import get_settings
from django_sse.hub import Hub
from django_sse.metrics import Metrics, metrics
from django_sse.model_publishing.debouncing import debouncer
from django_sse.stores import forget_store
from django_sse.threads import BorrowingExecutor

__all__ = ["areset", "reset"]

# How long streams may take to end. A call that reads a cursor looks up only after some seconds.
_END_SECONDS = 30.0
# That of the process, whatever a test puts in its place.
_pool = BorrowingExecutor._pool


def reset() -> None:
    """
    Make this process as it was before its first stream and event.

    Streams are ended, on every event loop, and what runs for them in threads is waited for; an
    open subscription gets nothing more. What still waits to be published is dropped. The channel
    layer, the store, the settings and the counts are made anew at their next use. Models go on
    publishing.

    On the thread of a running event loop, where it cannot wait for that loop's streams, await
    areset().

    Raises:
        TimeoutError: If a stream does not end within 30 seconds.
    """
    while hub_module._hubs:
        _end(*hub_module._hubs.popitem())
    if not loops.is_loop_thread():
        _wait_for_threads()
    _forget()


async def areset() -> None:
    """See reset(); the streams of the running event loop have ended when this returns."""
    await asyncio.to_thread(reset)


def _end(loop: asyncio.AbstractEventLoop, hub: Hub) -> None:
    if loop.is_closed():
        hub.dispose()
    elif loops.is_loop_thread():
        hub.shut_down()
    elif loop.is_running():
        asyncio.run_coroutine_threadsafe(_ended(hub), loop).result()
    else:
        loop.run_until_complete(_ended(hub))


async def _ended(hub: Hub) -> None:
    hub.shut_down()
    async with asyncio.timeout(_END_SECONDS):
        while hub._tasks:
            await asyncio.wait(set(hub._tasks))


def _wait_for_threads() -> None:
    # They outlive the test: they must have let go of its database before it is taken away.
    deadline = time.monotonic() + _END_SECONDS
    while _pool._ready or _pool._idle < _shared_threads():
        if time.monotonic() > deadline:
            raise TimeoutError("A call of a stream still runs in a shared thread.")
        time.sleep(0.001)


def _shared_threads() -> int:
    return sum(thread.name == "django_sse" for thread in threading.enumerate())


def _forget() -> None:
    for key in [key for key in loops._queues if key[0].is_closed()]:
        del loops._queues[key]
    loops._serving = None
    publishing._backlog.forget()
    debouncer._resting.clear()
    forget_store()
    # An in-memory layer belongs to the loop of the test before.
    channel_layers.backends.clear()
    get_settings.cache_clear()
    fresh = Metrics()
    for name in Metrics.__slots__:
        setattr(metrics, name, getattr(fresh, name))
