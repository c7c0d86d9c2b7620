"""Updates of one row that come faster than a publisher is to tell of them."""

import asyncio
import atexit
import collections
import threading
import time
from multiprocessing.util import Finalize
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async

from django_sse import loops, processes
from django_sse.contexts import new_context
from django_sse.jobs import Job
from django_sse.model_publishing.errors import errors_logged

if TYPE_CHECKING:
    from django_sse.model_publishing.publishers import ModelPublisher

__all__ = ["Debouncer", "debouncer"]

#: A publisher, the alias of a database, and a primary key there.
Row = tuple["ModelPublisher", str, Any]

# So much later than it is due a timer is taken for lost, with the loop that it was on.
_LATE_SECONDS = 1.0


class Debouncer:
    """
    Lets a row rest for its publisher's ``min_interval`` after an update was told.

    Updates that come meanwhile are told as one at the end of the rest, from the row as it is
    then: another process may have changed it later. The last is told at the latest when this
    process ends.
    """

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._pid = processes.pid()
        self._lock = threading.Lock()
        self._is_registered = False
        # Until when each rests, on the monotonic clock, and whether an update waits.
        self._resting: dict[Row, tuple[float, bool]] = {}
        # Those whose rest is over and whose update is told now.
        self._due: collections.deque[Row] = collections.deque()
        self._job = Job("debounced", self._tell_due)

    def may_tell(self, publisher: "ModelPublisher", using: str, pk: Any) -> bool:
        """Return whether an update is to be told now; if not, it is told later, from here."""
        if self._pid != processes.pid():
            self._reset()  # What waits in the parent is the parent's.
        row, now = (publisher, using, pk), time.monotonic()
        with self._lock:
            until, _ = self._resting.get(row, (0.0, False))
            is_resting = now < until + _LATE_SECONDS
            self._resting[row] = (
                until if is_resting else now + publisher.min_interval,
                is_resting,
            )
        if not is_resting:
            loops.post("debounce", self._start_rest(row), new_context())
            self._register()
        return not is_resting

    def _register(self) -> None:
        if not self._is_registered:
            self._is_registered = True
            # After the publishing loop has: what is registered last runs first, and this needs
            # it. In the forked children of a server only the second is called.
            atexit.register(self.flush)
            Finalize(None, self.flush, exitpriority=20)

    async def _start_rest(self, row: Row) -> None:
        self._rest(row)

    def _rest(self, row: Row) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(row[0].min_interval, self._end_rest, row, context=new_context())

    def _end_rest(self, row: Row) -> None:
        with self._lock:
            _, is_waiting = self._resting.pop(row, (0.0, False))
            if not is_waiting:
                return
            self._resting[row] = (time.monotonic() + row[0].min_interval, False)
            self._due.append(row)
        self._job.start()
        self._rest(row)

    async def _tell_due(self) -> None:
        while self._due:
            await sync_to_async(_tell)(self._due.popleft())

    def flush(self) -> None:
        """Tell all that waits, now: the process ends."""
        if self._pid != processes.pid():
            return
        with self._lock:
            waiting = [row for row, (_, is_waiting) in self._resting.items() if is_waiting]
            rows = [*self._due, *waiting]
            self._resting.clear()
            self._due.clear()
        for row in rows:
            _tell(row)


def _tell(row: Row) -> None:
    publisher, using, pk = row
    instance = None
    with errors_logged("%r could not read the row %r again.", publisher, pk):
        instance = publisher.model._base_manager.using(using).filter(pk=pk).first()
    if instance is not None:
        publisher.tell(instance, "updated")


#: That of this process.
debouncer = Debouncer()
