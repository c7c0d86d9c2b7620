"""Learning in time that the process is about to end, whatever server runs it."""

import asyncio
import signal
import threading
from collections.abc import Callable
from multiprocessing.util import Finalize
from types import FrameType
from typing import Any

__all__ = ["watch"]

_Handler = Callable[[int, FrameType | None], Any]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_LAST_SECONDS = 1.5

_watches: "dict[asyncio.AbstractEventLoop, _Watch]" = {}
_links: "dict[int, _Link]" = {}


def watch(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> Callable[[], None]:
    """
    Call *callback* on *loop* when its process begins to shut down.

    Servers tell their applications too late: uvicorn waits for open connections first, and an
    open stream never ends by itself. So the server's own signal handler is called as before, but
    after *callback* was scheduled. Where signals do not come:

    - a hypercorn worker is told by a shared event: when the task that waits for it ends;
    - a loop outside the main thread (``runserver`` with its reloader): as the process exits.

    A process that exits while its loop has work left (granian's do) waits a little for it.

    Returns:
        What stops the watch: to be called on the loop, also when all has been cleaned up.
    """
    watched = _watches[loop] = _Watch(loop, callback)
    if threading.current_thread() is threading.main_thread():
        _chain_signals()
        _watch_hypercorn(loop, callback)
    return watched.stop


class _Watch:
    """One loop, until all is cleaned up."""

    def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
        self._loop = loop
        self.callback = callback
        self._on_stop: Callable[[], None] | None = None
        # Unlike atexit's functions these are called in the forked children of a server, too.
        self._finalizer = Finalize(None, self._at_exit, exitpriority=10)

    def stop(self) -> None:
        """See watch()."""
        _watches.pop(self._loop, None)
        self._finalizer.cancel()
        if self._on_stop is not None:
            self._on_stop()
        if not _watches and threading.current_thread() is threading.main_thread():
            _unchain_signals()

    def _at_exit(self) -> None:
        if self._loop.is_running():  # In a daemon thread, which goes on while this one waits.
            stopped = threading.Event()
            self._on_stop = stopped.set
            self._loop.call_soon_threadsafe(self.callback)
            stopped.wait(_LAST_SECONDS)
        elif not self._loop.is_closed():
            self._loop.run_until_complete(self._finish())

    async def _finish(self) -> None:
        stopped = self._loop.create_future()
        self._on_stop = lambda: stopped.set_result(None)
        self.callback()
        await asyncio.wait([stopped], timeout=_LAST_SECONDS)


class _Link:
    """A signal handler in front of the one that was there."""

    def __init__(self, previous: _Handler) -> None:
        self.previous = previous

    def __call__(self, number: int, stack: FrameType | None) -> Any:
        for loop, watched in list(_watches.items()):
            if not loop.is_closed():
                loop.call_soon_threadsafe(watched.callback)
        return self.previous(number, stack)


def _chain_signals() -> None:
    for number in _SIGNALS:
        handler = signal.getsignal(number)
        # By default a signal ends the process at once; then there is nothing to do here either.
        if callable(handler) and handler is not _links.get(number):
            _links[number] = _Link(handler)
            signal.signal(number, _links[number])


def _unchain_signals() -> None:
    for number, link in _links.items():
        # Where another handler has been put in front since, it may go on to the link.
        if signal.getsignal(number) is link:
            signal.signal(number, link.previous)
    _links.clear()


def _watch_hypercorn(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    try:
        tasks = asyncio.all_tasks(loop)
    except RuntimeError:
        return  # Beside granian's own tasks (--task-impl rust) asyncio cannot list any.
    for task in tasks:
        coroutine = task.get_coro()
        if getattr(coroutine, "__qualname__", "") == "raise_shutdown":
            task.add_done_callback(lambda _: callback())
