"""Where a process publishes from: the event loop that serves streams, or one of its own."""

import asyncio
import atexit
import collections
import contextlib
import functools
import logging
import threading
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, TypeVar

from django_sse import processes
from django_sse.metrics import metrics

__all__ = [
    "enqueue",
    "finish",
    "hand_over",
    "is_loop_thread",
    "is_publishing_loop",
    "is_serving",
    "post",
    "run",
    "serve",
]

logger = logging.getLogger("django.sse")

_T = TypeVar("_T")

# How long the end of the process may wait for what is still to be published.
_DRAIN_SECONDS = 2.0
# Of a queue; beyond it the oldest call is lost, for a layer that hangs must not fill the memory.
_MAX_WAITING = 10_000


class _Background:
    """
    A daemon thread with an event loop, for a process that serves no streams.

    It is kept, and with it the layer's connections: a publish does not build them anew.
    """

    def __init__(self) -> None:
        self.pid = processes.pid()
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="django_sse.publish", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            self.loop.close()  # channels_redis closes its connections here.

    def close(self) -> None:
        """End the thread, if this is the process that started it, when its queues are empty."""
        if self.pid == processes.pid() and not self.loop.is_closed():
            with contextlib.suppress(TimeoutError):
                asyncio.run_coroutine_threadsafe(_drained(), self.loop).result(_DRAIN_SECONDS)
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join(timeout=1)


_lock = threading.Lock()
_background: _Background | None = None
_serving: asyncio.AbstractEventLoop | None = None
_serving_pid = 0


def serve(loop: asyncio.AbstractEventLoop) -> None:
    """Publish from *loop* from now on: the one that streams are served on."""
    global _serving, _serving_pid
    _serving, _serving_pid = loop, processes.pid()


def is_serving() -> bool:
    """Tell whether a loop of this process serves streams."""
    return _serving is not None and _serving.is_running() and _serving_pid == processes.pid()


def is_publishing_loop() -> bool:
    """Tell whether the running loop is the one to publish from, if there is one already."""
    running = asyncio.get_running_loop()
    return running is (_serving if is_serving() else _background and _background.loop)


def _loop() -> asyncio.AbstractEventLoop:
    global _background
    if _serving is not None and is_serving():
        return _serving
    with _lock:
        # A forked child has the object, but not the thread.
        if _background is None or _background.pid != processes.pid():
            _background = _Background()
        return _background.loop


def finish() -> None:
    """Wait a while for what the thread still has to publish, then end it: the process ends."""
    if _background is not None:
        _background.close()


def is_loop_thread() -> bool:
    """Tell whether an event loop runs in this thread, so that it must not wait."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def run(function: Callable[..., Coroutine[Any, Any, _T]], *args: Any, timeout: float) -> _T:
    """
    Run the coroutine *function* on the publishing loop, from a thread without a loop.

    Raises:
        TimeoutError: If it takes longer than *timeout* seconds; it is then cancelled.
    """
    future = asyncio.run_coroutine_threadsafe(function(*args), _loop())
    try:
        return future.result(timeout)
    except TimeoutError:
        future.cancel()
        raise


async def hand_over(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """Run *coroutine* on the publishing loop, from another loop."""
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, _loop()))


class _Queue:
    """
    Coroutines to run on one loop, one after the other.

    When that loop ends, as that of asyncio.run() does, the publishing loop takes over what has
    not begun.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._waiting: collections.deque[Coroutine[Any, Any, object]] = collections.deque()
        self._task: asyncio.Task[None] | None = None

    def add(self, name: str, coroutine: Coroutine[Any, Any, object], context: Context) -> None:
        if len(self._waiting) >= _MAX_WAITING:
            self._waiting.popleft().close()
            metrics.queue_drops += 1
            logger.error("Over %d calls wait in the queue %r: one is lost.", _MAX_WAITING, name)
        self._waiting.append(coroutine)
        # One that is done may be told of a tick later: what comes in between is for the next.
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._work(), context=context)
            self._task.add_done_callback(functools.partial(self._end, context=context))

    async def _work(self) -> None:
        while self._waiting:
            try:
                await self._waiting.popleft()
            except Exception:  # Those behind it have nothing to do with it.
                logger.exception("Publishing, or telling a signal's receivers, failed.")

    def _end(self, task: "asyncio.Task[None]", context: Context) -> None:
        if self._task is not task:
            return  # The next one works already.
        self._task = None
        while self._waiting:  # The loop ends, and has cancelled its tasks.
            coroutine = self._waiting.popleft()
            if task.get_loop() is _loop():
                coroutine.close()
            else:
                post(self._name, coroutine, context.copy())

    async def drained(self) -> None:
        """Wait until nothing is left."""
        while self._task is not None:
            await asyncio.wait({self._task})


_queues: dict[tuple[asyncio.AbstractEventLoop, str], _Queue] = {}


def enqueue(name: str, coroutine: Coroutine[Any, Any, object], context: Context) -> None:
    """
    Run *coroutine* on this thread's loop soon, after those in the queue *name*.

    What publishes and what tells signal receivers are two queues: neither may hold up the other.
    """
    loop = asyncio.get_running_loop()
    if (loop, name) not in _queues:
        for closed in [key for key in _queues if key[0].is_closed()]:
            del _queues[closed]
        _queues[loop, name] = _Queue(name)
    _queues[loop, name].add(name, coroutine, context)


def post(name: str, coroutine: Coroutine[Any, Any, object], context: Context) -> None:
    """Do the same on the publishing loop, from the thread of another one, which may end soon."""
    _loop().call_soon_threadsafe(enqueue, name, coroutine, context)


async def _drained() -> None:
    loop = asyncio.get_running_loop()
    for queue in [queue for (owner, _), queue in _queues.items() if owner is loop]:
        await queue.drained()
