"""Histories in the memory of one process."""

import collections
import copy
import itertools
import threading
import time
from collections.abc import Sequence
from typing import Any

from django_sse import processes
from django_sse.positions import START, Position
from django_sse.stores.base import BaseStore, Entry, Slice

__all__ = ["MemoryStore"]

# How much longer than its entries the head of a group is known, and of how many idle groups.
_HEAD_SECONDS = 86_400
_MAX_HEADS = 100_000
# How many idle groups one call looks at: the work is spread over the calls.
_SWEPT = 100


class _History:
    """
    The events of one group that are kept, and its head.

    Their numbers follow each other and a message has its mark, so no more is kept of an event
    than its time and its message. A plain tuple and a plain dict of texts are no objects that the
    garbage collector goes on looking at: with a million of others it would do little else.
    """

    __slots__ = ("_events", "_start", "head", "time")

    def __init__(self, head: Position = START) -> None:
        self.head = head
        self.time = 0.0  # Of the last event.
        self._start = head  # The place before the first that is kept.
        self._events: collections.deque[tuple[float, dict[str, Any]]] = collections.deque()

    def append(self, group: str, now: float, message: dict[str, Any]) -> Entry:
        self._events.append((now, _copy(message)))
        before, self.time = self.head, now
        self.head = Position(before.number + 1, message["mark"])
        return Entry(group, self.head.number, self.head.mark, before.mark, _copy(message))

    def find(self, group: str, mark: str) -> Entry | None:
        """Return the event with *mark*, if that is there."""
        for back, (_, message) in enumerate(reversed(self._events)):
            if message["mark"] == mark:
                return self.read(group, self.head.number - back - 1, 1)[0]
        return None

    def read(self, group: str, after: int, limit: int) -> list[Entry]:
        """Return what follows the number *after*, no more than *limit*."""
        start = self._start
        skipped = max(after - start.number, 0)
        previous = self._events[skipped - 1][1]["mark"] if 0 < skipped <= self.size else start.mark
        found: list[Entry] = []
        for _, message in itertools.islice(self._events, skipped, skipped + limit):
            number, mark = start.number + skipped + len(found) + 1, message["mark"]
            found.append(Entry(group, number, mark, previous, _copy(message)))
            previous = mark
        return found

    def back(self, count: int | None) -> Position:
        """Return the position after which *count* more entries follow."""
        left = self.size if count is None else min(count, self.size)
        if left == 0:
            return self.head
        if left == self.size:
            return self._start
        return Position(self.head.number - left, self._events[-left - 1][1]["mark"])

    def trim(self, max_events: int, horizon: float) -> None:
        while self.size > max_events or (self._events and self._events[0][0] < horizon):
            _, message = self._events.popleft()
            self._start = Position(self._start.number + 1, message["mark"])

    @property
    def size(self) -> int:
        """How many events are kept."""
        return len(self._events)


def _copy(message: dict[str, Any]) -> dict[str, Any]:
    # Nobody can change what another one reads.
    return {
        name: copy.deepcopy(value) if isinstance(value, (list, dict)) else value
        for name, value in message.items()
    }


class _Histories:
    """Those of a process, with the lock that guards them."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        # Both in the order of the last event, the oldest first.
        self.live: collections.OrderedDict[str, _History] = collections.OrderedDict()
        # Of those that have no entries any more: where they end, and since when.
        self.idle: collections.OrderedDict[str, tuple[Position, float]] = collections.OrderedDict()

    def get(self, group: str) -> _History | None:
        if (history := self.live.get(group)) is not None:
            return history
        head, _ = self.idle.get(group, (None, 0.0))
        return None if head is None else _History(head)

    def take(self, group: str) -> _History:
        """Return the history of *group*, which an event is about to be added to."""
        history = self.get(group) or _History()
        self.idle.pop(group, None)
        self.live[group] = history
        self.live.move_to_end(group)
        return history

    def keep(self, group: str) -> None:
        """Go on knowing where *group* ends, for somebody asks."""
        if (idle := self.idle.pop(group, None)) is not None:
            self.idle[group] = idle[0], time.monotonic()

    def sweep(self, horizon: float) -> None:
        """Forget the entries of groups that nobody publishes to any more, then their heads."""
        for _ in range(_SWEPT):
            if not (self._retire(horizon) or self._forget(horizon)):
                break

    def _retire(self, horizon: float) -> bool:
        group = next(iter(self.live), None)
        if group is None or self.live[group].time >= horizon:
            return False
        history = self.live.pop(group)
        self.idle[group] = history.head, history.time
        return True

    def _forget(self, horizon: float) -> bool:
        group = next(iter(self.idle), None)
        if group is None:
            return False
        is_kept = self.idle[group][1] >= horizon - _HEAD_SECONDS and len(self.idle) <= _MAX_HEADS
        if not is_kept:
            del self.idle[group]
        return not is_kept


class MemoryStore(BaseStore):
    """
    The store of one process: nothing to run, and nothing left after a restart.

    A forked child has histories of its own, which begin empty.

    Args:
        max_events: See BaseStore.
        max_age_seconds: See BaseStore.
    """

    def __init__(self, *, max_events: int = 10_000, max_age_seconds: float = 3600) -> None:
        super().__init__(max_events=max_events, max_age_seconds=max_age_seconds)
        self._processes: dict[int, _Histories] = {}

    def _histories(self) -> _Histories:
        # By process: a child that was forked while a thread held the lock would wait for ever.
        own = self._processes.get(processes.pid())
        return own or self._processes.setdefault(processes.pid(), _Histories())

    def append(
        self, groups: Sequence[str], message: dict[str, Any], *, again: bool = False
    ) -> list[Entry]:
        """See BaseStore.append()."""
        now = time.monotonic()
        horizon = now - self.max_age_seconds
        added = []
        histories = self._histories()
        with histories.lock:
            for group in groups:
                history = histories.get(group)
                entry = history.find(group, message["mark"]) if again and history else None
                if entry is None:
                    history = histories.take(group)
                    entry = history.append(group, now, message)
                    history.trim(self.max_events, horizon)
                added.append(entry)
            histories.sweep(horizon)
        return added

    def read(self, group: str, after: Position, limit: int) -> Slice:
        """See BaseStore.read()."""
        histories = self._histories()
        with histories.lock:
            history = self._look(histories, group)
            if history is None:
                return Slice([], START)
            return Slice(history.read(group, after.number, limit), history.head)

    def positions(self, groups: Sequence[str], back: int | None = 0) -> dict[str, Position]:
        """See BaseStore.positions()."""
        histories = self._histories()
        with histories.lock:
            found = {group: self._look(histories, group) for group in groups}
            for group in groups:
                histories.keep(group)
            return {
                group: START if history is None else history.back(back)
                for group, history in found.items()
            }

    def trim(self, group: str) -> None:
        """See BaseStore.trim()."""
        histories = self._histories()
        with histories.lock:
            self._look(histories, group)
            histories.sweep(time.monotonic() - self.max_age_seconds)

    def _look(self, histories: _Histories, group: str) -> _History | None:
        history = histories.get(group)
        if history is not None:
            history.trim(self.max_events, time.monotonic() - self.max_age_seconds)
        return history

    async def aappend(
        self, groups: Sequence[str], message: dict[str, Any], *, again: bool = False
    ) -> list[Entry]:
        """See append()."""
        return self.append(groups, message, again=again)

    async def aread(self, group: str, after: Position, limit: int) -> Slice:
        """See read()."""
        return self.read(group, after, limit)

    async def apositions(self, groups: Sequence[str], back: int | None = 0) -> dict[str, Position]:
        """See positions()."""
        return self.positions(groups, back)

    async def atrim(self, group: str) -> None:
        """See trim()."""
        self.trim(group)
