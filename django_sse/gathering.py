"""Joining the events that come in one go, so that each stream makes one write of them."""

import asyncio
from collections.abc import Iterable

from django_sse.audiences import Audience
from django_sse.driver import Driver
from django_sse.envelope import Delivery

__all__ = ["Gathering"]

# A coroutine that publishes in a loop brings an event every third or fourth tick, as Channels'
# group_send() takes some: wait a little longer than that for the next, and never long.
_QUIET_TICKS = 5
_MAX_SECONDS = 0.002
# What is joined is written as one piece, which a client's queue takes or does not.
_MAX_BYTES = 65_536


class Gathering:
    """
    The audiences before which events have been put, to be handed out soon.

    Attributes:
        now: The loop's time at which events were last handed out, in seconds.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, driver: Driver) -> None:
        self.now = loop.time()
        self._loop = loop
        self._driver = driver
        self._dirty: list[Audience] = []
        self._flush_by: float | None = None
        self._quiet_ticks = 0

    def put(self, audience: Audience, delivery: Delivery) -> None:
        """Put *delivery* before *audience*."""
        if audience.put(delivery):
            self._dirty.append(audience)
        if audience.pending_bytes >= _MAX_BYTES:
            self.flush(audience)
        self._quiet_ticks = 0
        if self._dirty and self._flush_by is None:
            self._flush_by = self._loop.time() + _MAX_SECONDS
            self._loop.call_soon(self._on_tick, context=self._driver.context)

    def _on_tick(self) -> None:
        """Flush unless more events may follow at once, to be joined with those that have come."""
        assert self._flush_by is not None
        self._quiet_ticks += 1
        is_over = self._quiet_ticks >= _QUIET_TICKS or self._loop.time() >= self._flush_by
        if self._dirty and not is_over:
            self._loop.call_soon(self._on_tick, context=self._driver.context)
        else:
            self._flush_by = None
            self.flush_all()

    def flush_all(self) -> None:
        """Hand out what has come."""
        dirty, self._dirty = self._dirty, []
        self.flush(*dirty)

    def flush(self, *audiences: Audience | None) -> None:
        """Hand out what has come for *audiences*."""
        waiting = [audience for audience in audiences if audience is not None]
        self.now = self._loop.time()
        if waiting:
            self._driver.run(lambda: _flush(waiting, self.now))


def _flush(audiences: Iterable[Audience], now: float) -> None:
    for audience in audiences:
        audience.flush(now)
