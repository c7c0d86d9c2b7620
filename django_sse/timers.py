"""One timer for everything that has a deadline on an event loop."""

import asyncio
import heapq
import logging
import math
from collections.abc import Callable, Iterable
from typing import Protocol

__all__ = ["Timed", "Timer"]

logger = logging.getLogger("django.sse")

# The slot of those whose turn it is. One that is discarded or added meanwhile has another.
_DUE = -1


class Timed(Protocol):
    """Something with a deadline."""

    timer_slot: int | None

    def on_time(self, now: float) -> float | None:
        """Do what is due at *now* (loop time, seconds); return the next deadline, or None."""


class Timer:
    """
    Calls what is due, in batches: one wake-up of the loop for all deadlines of 0.1 seconds.

    Ten thousand streams with a heartbeat each would otherwise wake the loop ten thousand times.
    A deadline is met late by up to *grain* seconds, never early.
    """

    grain = 0.1

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        run: Callable[[Callable[[], None]], None] = lambda step: step(),
    ) -> None:
        self._loop = loop
        self._run = run  # Wraps each batch.
        self._slots: dict[int, dict[Timed, None]] = {}  # In order: so they lie in memory, too.
        self._order: list[int] = []
        self._handle: asyncio.TimerHandle | None = None

    def add(self, timed: Timed, deadline: float) -> None:
        """Call ``timed.on_time()`` at *deadline* (loop time, seconds)."""
        slot = math.ceil(deadline / self.grain)
        members = self._slots.get(slot)
        if members is None:
            members = self._slots[slot] = {}
            heapq.heappush(self._order, slot)
            if self._order[0] == slot:
                self._wake_at(slot)
        members[timed] = None
        timed.timer_slot = slot

    def discard(self, timed: Timed) -> None:
        """Forget *timed*, if it is there."""
        slot, timed.timer_slot = timed.timer_slot, None
        if slot is not None and (members := self._slots.get(slot)):
            members.pop(timed, None)

    def close(self) -> None:
        """Forget everything."""
        self._slots.clear()
        self._order.clear()
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _wake_at(self, slot: int) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._handle = self._loop.call_at(slot * self.grain, self._wake)

    def _wake(self) -> None:
        self._handle = None
        now = self._loop.time()
        due: list[Timed] = []
        # The loop may wake a clock tick early: what is due within it is due now.
        while self._order and self._order[0] * self.grain <= now + 0.001:
            due += self._slots.pop(heapq.heappop(self._order))
        if self._order:
            self._wake_at(self._order[0])
        for timed in due:
            timed.timer_slot = _DUE
        if due:
            self._run(lambda: self._call(due, now))

    def _call(self, due: Iterable[Timed], now: float) -> None:
        for timed in due:
            if timed.timer_slot != _DUE:
                continue
            timed.timer_slot = None
            try:
                deadline = timed.on_time(now)
            except Exception:  # The others' heartbeats must not end with it.
                logger.exception("The deadline of %r failed.", timed)
                continue
            if deadline is not None and timed.timer_slot is None:
                self.add(timed, max(deadline, now + self.grain / 2))
