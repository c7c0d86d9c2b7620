"""Events that wait for a store which is away."""

import asyncio
import atexit
import collections
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NamedTuple

from django_sse import loops, processes
from django_sse.envelope import Packed
from django_sse.history import Entry
from django_sse.jobs import Job
from django_sse.metrics import metrics
from django_sse.sending import report
from django_sse.stores import get_store

__all__ = ["Backlog"]

logger = logging.getLogger("django.sse")

_MAX_EVENTS = 10_000
_MAX_SECONDS = 60.0
_MAX_BACKOFF_SECONDS = 2.0

#: Called with each event that the store has taken at last.
OnTaken = Callable[[Sequence[Entry], Packed], Coroutine[Any, Any, object]]


class _Waiting(NamedTuple):
    names: Sequence[str]
    packed: Packed
    since: float


class Backlog:
    """
    Tries on with what a store did not take, in order, on the publishing loop.

    As long as something waits here, what is published later waits behind it: it would overtake.
    An event is given up after a minute, or when ten thousand wait.
    """

    def __init__(self, on_taken: OnTaken) -> None:
        self._on_taken = on_taken
        self._reset()

    def _reset(self) -> None:
        self._pid = processes.pid()
        self._lock = threading.Lock()
        self._waiting: collections.deque[_Waiting] = collections.deque()
        self._is_registered = False
        self._job = Job("backlog", self._try_all)

    def is_empty(self) -> bool:
        """Tell whether nothing waits, so that an event may go straight to the store."""
        if self._pid != processes.pid():
            self._reset()  # What waits in the parent is the parent's.
        return not self._waiting

    def add(self, names: Sequence[str], packed: Packed, error: Exception | None = None) -> None:
        """Take over the event, which the store refused with *error*; never wait."""
        if error is not None:
            metrics.store_errors += 1
            logger.error(
                "The store does not take events (%s: %s); they wait.", type(error).__name__, error
            )
        if not self._is_registered:
            self._is_registered = True
            atexit.register(self._end, processes.pid())
        with self._lock:
            self._waiting.append(_Waiting(names, packed, time.monotonic()))
            if len(self._waiting) > _MAX_EVENTS:
                oldest = self._waiting.popleft()
                metrics.queue_drops += 1
                report(oldest.names, BufferError(f"over {_MAX_EVENTS} events wait"))
        self._job.start()

    def _end(self, pid: int) -> None:
        """Tell what is lost with the process, as far as it does not go in its last moments."""
        if pid == processes.pid():
            loops.finish()
            for waiting in tuple(self._waiting):
                report(waiting.names, TimeoutError("the process ended while it waited"))

    async def _try_all(self) -> None:
        failures = 0
        while self._waiting:
            waiting = self._waiting[0]
            try:
                store = get_store()
                assert store is not None
                entries = await store.aappend(waiting.names, waiting.packed.message, again=True)
            except Exception as error:
                failures += 1
                if time.monotonic() - waiting.since > _MAX_SECONDS:
                    report(waiting.names, error)
                    self._done(waiting)
                else:
                    await asyncio.sleep(min(0.1 * 2.0 ** min(failures, 10), _MAX_BACKOFF_SECONDS))
                continue
            if failures:
                logger.info("The store takes events again; %d wait.", len(self._waiting))
            failures = 0
            self._done(waiting)
            try:
                await self._on_taken(entries, waiting.packed)
            except Exception:  # Its readers find it in the store.
                logger.exception("An event that has waited could not be announced.")

    def _done(self, waiting: _Waiting) -> None:
        with self._lock:
            if self._waiting and self._waiting[0] is waiting:
                self._waiting.popleft()
