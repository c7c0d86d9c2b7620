"""Looking at the events of groups as they go by, without being one of their readers."""

import asyncio
import collections
from collections.abc import Collection
from types import TracebackType
from typing import Self

from django_sse.audiences import Audience, groups_of
from django_sse.batches import Batch
from django_sse.envelope import Delivery
from django_sse.groups import check_names
from django_sse.hub import Hub, get_hub
from django_sse.readers import Readers

__all__ = ["Tap"]

# What is kept for who does not look; the oldest are lost.
_MAX_WAITING = 200


class Tap:
    """
    The events of some groups from now on, on whatever worker they are published.

    It is no member of its groups for the registry: nobody is told of it as present, and
    disconnect() does not end it. It slows nobody down: who reads it too slowly loses events.
    """

    def __init__(self) -> None:
        self.audience: Audience | None = None
        self._lost = 0
        self._hub: Hub | None = None
        self._waiting: collections.deque[Delivery] = collections.deque()
        self._arrived = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._hub = get_hub()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._hub is not None
        self._hub.leave(self)
        self._hub = None

    async def set_groups(self, groups: Collection[str]) -> None:
        """
        Look at the events of *groups*, and of no others.

        Raises:
            ChannelLayerUnavailable: If the channel layer fails.
            StoreUnavailable: If the store of past events fails.
        """
        assert self._hub is not None
        wanted = check_names(groups)
        await self._hub.gathering.finished()
        before = groups_of(self)
        if gone := before.difference(wanted):
            self._hub.leave(self, gone)
        if new := set(wanted) - before:
            await self._hub.join(self, new)

    def take(self, batch: Batch) -> None:
        """See Member.take()."""
        for item in batch.items:
            if not item.delivery.is_reset:
                if len(self._waiting) >= _MAX_WAITING:
                    self._waiting.popleft()
                    self._lost += 1
                self._waiting.append(item.delivery)
        self._arrived.set()

    def join(self, readers: Readers) -> None:
        """See Member.join(): there is something else to do with an event than to write it."""

    def part(self) -> None:
        """See Member.part()."""

    async def wait(self) -> None:
        """Wait until there are events."""
        await self._arrived.wait()

    def take_all(self) -> list[Delivery]:
        """Return all that have come."""
        deliveries = list(self._waiting)
        self._waiting.clear()
        self._arrived.clear()
        return deliveries

    def take_lost(self) -> int:
        """Return how many were lost since this was last asked."""
        lost, self._lost = self._lost, 0
        return lost
