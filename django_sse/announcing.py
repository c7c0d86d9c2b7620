"""Telling the channel layer of what a store has taken."""

import asyncio
import collections
import contextlib
import logging
import threading
from collections.abc import Iterable, Sequence

from django_sse import processes
from django_sse.bundling import Carrier, join_by_group
from django_sse.coalescing import Coalescer, Request
from django_sse.envelope import LayerMessage, to_message
from django_sse.history import Entry
from django_sse.jobs import Job
from django_sse.metrics import metrics
from django_sse.sending import hand_over
from django_sse.stores import get_store

__all__ = ["Announcements", "announce"]

logger = logging.getLogger("django.sse")

# Beyond this many the oldest are left to be found in the store.
_MAX_WAITING = 10_000
# How many are announced in one go.
_MAX_AT_ONCE = 100
# So long the layer rests after a message. What comes meanwhile shares the next: whoever publishes
# a hundred events in a loop has the processor for that, and a single one goes at once.
_REST_SECONDS = 0.002
# How long what is in no history may wait for what was published before it.
_SETTLE_SECONDS = 1.0
# An entry's number that has so many for a divisor is the sign to trim its group.
_TRIM_EVERY = 100


class Announcements:
    """
    Entries on their way to the channel layer, from code that does not wait for it.

    Those of one group that come faster than the layer takes them share a message: a burst costs
    the layer, and each worker that reads it, little more than one event.
    """

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._pid = processes.pid()
        self._lock = threading.Lock()
        self._waiting: collections.deque[Entry] = collections.deque(maxlen=_MAX_WAITING)
        self._job = Job("publish", self._announce_all)
        self._added = 0
        # Who waits until so many have been announced.
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []

    def _reset_if_forked(self) -> None:
        if self._pid != processes.pid():
            self._reset()  # What waits in the parent is the parent's.

    def add(self, entries: Iterable[Entry]) -> None:
        """Announce *entries* soon, on the publishing loop; never wait."""
        self._reset_if_forked()
        with self._lock:
            for entry in entries:
                self._waiting.append(entry)
                self._added += 1
        self._job.start()

    async def _announce_all(self) -> None:
        while entries := self._take():
            await announce(entries)
            self._tell(self._added - len(self._waiting))
            await asyncio.sleep(_REST_SECONDS)

    async def settled(self) -> None:
        """Wait, a second at most, until what has been added by now has been announced."""
        if self._pid != processes.pid() or not self._job.is_running:
            return
        announced = asyncio.get_running_loop().create_future()
        self._waiters.append((self._added, announced))
        await asyncio.wait({announced}, timeout=_SETTLE_SECONDS)

    def _tell(self, count: int) -> None:
        for waiter in [waiter for waiter in self._waiters if waiter[0] <= count]:
            self._waiters.remove(waiter)
            _, announced = waiter
            with contextlib.suppress(RuntimeError):  # Its loop has ended.
                announced.get_loop().call_soon_threadsafe(_set, announced)

    def _take(self) -> list[Entry]:
        with self._lock:
            count = min(len(self._waiting), _MAX_AT_ONCE)
            return [self._waiting.popleft() for _ in range(count)]


def _set(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


async def announce(entries: Sequence[Entry]) -> None:
    """Send *entries* to the channel layer now, then trim their groups if it is time."""
    messages: Iterable[LayerMessage] = map(to_message, entries)
    _, left = await hand_over(messages if len(entries) == 1 else join_by_group(messages))
    if left:
        await _carrying.ask(left)
    store = get_store()
    for entry in entries:
        if store is not None and entry.number % _TRIM_EVERY == 0:
            try:
                await store.atrim(entry.group)
            except Exception as error:
                metrics.store_errors += 1
                logger.warning("A history was not trimmed: %s: %s", type(error).__name__, error)


async def _carry(requests: Sequence[Request[list[LayerMessage], None]]) -> None:
    await _carrier.carry([message for request in requests for message in request.item])


_carrier = Carrier()
_carrying: Coalescer[list[LayerMessage], None] = Coalescer(_carry)
