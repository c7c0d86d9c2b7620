"""Joining the events that come in one go, so that each stream makes one write of them."""

import asyncio
import collections
import logging

from django_sse.audiences import Audience, Audiences
from django_sse.driver import Driver
from django_sse.envelope import Delivery
from django_sse.runs import Run

__all__ = ["Gathering"]

logger = logging.getLogger("django.sse")

# A coroutine that publishes in a loop brings an event every third or fourth tick, as Channels'
# group_send() takes some: wait a little longer than that for the next, and never long.
_QUIET_TICKS = 5
_MIN_SECONDS = 0.002
# Where to hand out takes longer than that, it may as well wait as long for more to hand out.
_MAX_SECONDS = 0.02
# What is joined is written as one piece, which a client's queue takes or does not.
_MAX_BYTES = 65_536


class Gathering:
    """
    The events that have come, to be handed out to their audiences soon.

    They are kept as runs, once for all audiences. So an event of a burst costs an audience, and
    a stream, next to nothing: what it does to each of them is done once, for the whole run.

    Attributes:
        now: The loop's time at which events were last handed out, in seconds.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, driver: Driver, audiences: Audiences
    ) -> None:
        self.now = loop.time()
        self._loop = loop
        self._driver = driver
        self._audiences = audiences
        self._runs: list[Run] = []
        self._bytes = 0
        self._dirty: collections.deque[Audience] = collections.deque()
        self._is_handing_out = False
        self._spent_seconds = 0.0  # On handing out what came last.
        self._flush_by: float | None = None
        self._quiet_ticks = 0

    def put(self, delivery: Delivery) -> None:
        """Have *delivery* handed out, behind what has come before it."""
        if not (self._runs and self._runs[-1].add(delivery)):
            self._runs.append(Run(delivery))
        self._bytes += len(delivery.frame)
        self._quiet_ticks = 0
        if self._bytes >= _MAX_BYTES and not self._is_handing_out:
            self.flush()
        elif self._flush_by is None:
            seconds = min(max(self._spent_seconds, _MIN_SECONDS), _MAX_SECONDS)
            self._flush_by = self._loop.time() + seconds
            self._loop.call_soon(self._on_tick, context=self._driver.context)

    def _on_tick(self) -> None:
        """Flush unless more events may follow at once, to be joined with those that have come."""
        assert self._flush_by is not None
        self._quiet_ticks += 1
        is_over = self._quiet_ticks >= _QUIET_TICKS or self._loop.time() >= self._flush_by
        if self._runs and not is_over:
            self._loop.call_soon(self._on_tick, context=self._driver.context)
        else:
            self._flush_by = None
            self.flush()

    def flush(self) -> None:
        """
        Hand out what has come.

        Inside of that, as where a member ends in its turn, nothing is done: each of those who
        end would have what is left handed out one level deeper, and what has come since would
        overtake what others wait for.
        """
        if self._is_handing_out:
            return
        runs, self._runs, self._bytes = self._runs, [], 0
        for run in runs:
            for audience in self._audiences.of(run.group):
                if audience.put(run):
                    self._dirty.append(audience)
        self.now = self._loop.time()
        if self._dirty:
            self._is_handing_out = True
            try:
                self._driver.run(self._hand_out)
            finally:
                self._is_handing_out = False
            self._spent_seconds = self._loop.time() - self.now

    def _hand_out(self) -> None:
        while self._dirty:
            audience = self._dirty.popleft()
            try:
                audience.flush(self.now)
            except Exception:  # The others must not lose their events with it.
                logger.exception("Events could not be handed to %r.", sorted(audience.groups))

    async def finished(self) -> None:
        """
        Wait if events are being handed out.

        A task that begins inside of that, as an eager one does, must not move a member from an
        audience that has had its turn to one that has not.
        """
        if self._is_handing_out:
            await asyncio.sleep(0)
