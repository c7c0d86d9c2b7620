"""Events that wait for a store which is away."""

import asyncio
import atexit
import collections
import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Collection, Coroutine, Hashable, Iterable, Sequence
from typing import Any

from django_sse import loops, processes
from django_sse.envelope import Packed
from django_sse.history import Entry
from django_sse.jobs import Job
from django_sse.metrics import metrics
from django_sse.sending import report
from django_sse.stores import get_store
from django_sse.stores.base import PartlyAppended

__all__ = ["Backlog"]

logger = logging.getLogger("django.sse")

_MAX_EVENTS = 10_000
_MAX_SECONDS = 60.0
_MAX_BACKOFF_SECONDS = 2.0

#: Called with each event that the store has taken at last.
OnTaken = Callable[[Sequence[Entry], Packed], Coroutine[Any, Any, object]]


@dataclasses.dataclass(slots=True, eq=False)
class _Waiting:
    names: Sequence[str]
    packed: Packed
    since: float


class Backlog:
    """
    Tries on with what a store did not take, in order, on the publishing loop.

    As long as something waits here, what is published later to one of its groups waits behind it:
    it would overtake. So does what is for a server of the store that is away: nobody is to wait
    for that again. An event is given up after a minute, or when ten thousand wait.
    """

    def __init__(self, on_taken: OnTaken) -> None:
        self._on_taken = on_taken
        self._reset()

    def _reset(self) -> None:
        self._pid = processes.pid()
        self._lock = threading.Lock()
        self._waiting: collections.deque[_Waiting] = collections.deque()
        # How many of those each group has.
        self._groups: collections.Counter[str] = collections.Counter()
        self._away: frozenset[Hashable] = frozenset()
        self._is_registered = False
        self._job = Job("backlog", self._try_all)

    def is_empty(self) -> bool:
        """Tell whether nothing waits."""
        if self._pid != processes.pid():
            self._reset()  # What waits in the parent is the parent's.
        return not self._waiting

    def is_clear(self, names: Iterable[str]) -> bool:
        """Tell whether an event of the groups *names* may go straight to the store."""
        if self.is_empty():
            return True
        return not any(self._groups[name] for name in names) and self._away.isdisjoint(
            _servers(names)
        )

    def add(
        self, names: Sequence[str], packed: Packed, error: BaseException | None = None
    ) -> None:
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
            self._groups.update(names)
            if error is not None:
                self._away |= _servers(names)
            if len(self._waiting) > _MAX_EVENTS:
                oldest = self._waiting.popleft()
                self._groups.subtract(oldest.names)
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
            if await self._try_each(failures):
                failures = 0
            else:
                failures += 1
                await asyncio.sleep(min(0.1 * 2.0 ** min(failures, 10), _MAX_BACKOFF_SECONDS))

    async def _try_each(self, failures: int) -> bool:
        """Try all but what is behind a failure; return whether something has gone."""
        store, held, away, has_gone = get_store(), set[str](), set[Hashable](), False
        assert store is not None
        for waiting in tuple(self._waiting):
            names = waiting.names
            if not (held.isdisjoint(names) and away.isdisjoint(_servers(names))):
                held.update(names)
                continue
            try:
                entries = await store.aappend(names, waiting.packed.message, again=True)
            except PartlyAppended as partly:
                entries = list(partly.entries)
                held.update(partly.groups)
                away |= _servers(partly.groups)
            except Exception as error:
                if time.monotonic() - waiting.since > _MAX_SECONDS:
                    report(names, error)
                    self._done(waiting, names)
                else:
                    held.update(names)
                    away |= _servers(names)
                continue
            if failures and not has_gone:
                logger.info("The store takes events again; %d wait.", len(self._waiting))
            has_gone = True
            self._done(waiting, [entry.group for entry in entries])
            try:
                await self._on_taken(entries, waiting.packed)
            except Exception:  # Its readers find it in the store.
                logger.exception("An event that has waited could not be announced.")
        self._away = frozenset(away)
        return has_gone

    def _done(self, waiting: _Waiting, names: Collection[str]) -> None:
        """Let *waiting* wait for the groups *names* no longer."""
        with self._lock:
            if waiting in self._waiting:  # Not one of too many.
                waiting.names = [name for name in waiting.names if name not in names]
                self._groups.subtract(names)
                if not waiting.names:
                    self._waiting.remove(waiting)
                if not self._waiting:
                    self._groups.clear()

    def forget(self) -> None:
        """Forget what waits."""
        with self._lock:
            self._waiting.clear()
            self._groups.clear()
            self._away = frozenset()


def _servers(names: Iterable[str]) -> frozenset[Hashable]:
    store = get_store()
    return frozenset() if store is None else frozenset(map(store.server_of, names))
