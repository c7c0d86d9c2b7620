"""Reading past events for many members at once."""

import asyncio
import collections
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NamedTuple

from django_sse.envelope import Delivery
from django_sse.positions import Position
from django_sse.reasons import ResetReason
from django_sse.stores.base import BaseStore
from django_sse.tails import Tail

__all__ = ["Piece", "Replays", "Spawn"]

# How much is read at once, and how many of such pieces are kept for the next member to read.
_PIECE_EVENTS = 200
_PIECE_BYTES = 131_072
_KEPT_PIECES = 32

#: Runs a coroutine in a task that belongs to no request.
Spawn = Callable[[Coroutine[Any, Any, Any]], "asyncio.Task[Any]"]


class Piece(NamedTuple):
    """
    What follows some position in a group's history.

    Attributes:
        deliveries: The next events; none at the end.
        reset: Where to go on if events between are lost; else None.
        reason: Why they are; see ResetReason.
        is_full: Whether more may follow at once.
    """

    deliveries: Sequence[Delivery]
    reset: Position | None = None
    reason: str = ""
    is_full: bool = False


class Replays:
    """
    The pieces of histories that have been read of late.

    Members that ask for the same share one read, and the frames that are made of it: after a
    restart all the clients of a worker come back at once.
    """

    def __init__(self, store: BaseStore, spawn: Spawn) -> None:
        self._store = store
        self._spawn = spawn
        self._pieces: collections.OrderedDict[tuple[str, Position], asyncio.Task[Piece]] = (
            collections.OrderedDict()
        )

    async def read(self, tail: Tail, after: Position) -> Piece:
        """Return what follows *after* in the history of the tail's group."""
        key = (tail.group, after)
        task = self._pieces.get(key)
        if task is None:
            task = self._pieces[key] = self._spawn(self._read(tail, after))
            task.add_done_callback(lambda task: self._keep_if_any(key, task))
            if len(self._pieces) > _KEPT_PIECES:
                self._pieces.popitem(last=False)
        return await asyncio.shield(task)

    def _keep_if_any(self, key: tuple[str, Position], task: "asyncio.Task[Piece]") -> None:
        # What follows a position stays the same, and only more may follow by now. Not so where
        # there was nothing yet, or where the store failed.
        is_any = not task.cancelled() and not task.exception() and task.result().deliveries
        if not is_any and self._pieces.get(key) is task:
            del self._pieces[key]

    async def _read(self, tail: Tail, after: Position) -> Piece:
        limit = max(1, min(_PIECE_EVENTS, int(_PIECE_BYTES / tail.mean_bytes)))
        slice_ = await self._store.aread(tail.group, after, limit)
        if not slice_.continues(after):
            is_forgotten = bool(slice_.entries) and slice_.entries[0].number > after.number + 1
            reason = ResetReason.OUTDATED if is_forgotten else ResetReason.UNKNOWN
            return Piece((), slice_.head, reason)
        deliveries = [Delivery.of(entry) for entry in slice_.entries]
        tail.weigh(deliveries)
        return Piece(deliveries, is_full=len(deliveries) == limit)

    def forget(self) -> None:
        """Forget the pieces: a history is another now."""
        self._pieces.clear()
