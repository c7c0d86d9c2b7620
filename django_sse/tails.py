"""The end of a group's history, as far as it has come to one hub."""

import collections
from collections.abc import Sequence

from django_sse.envelope import Delivery
from django_sse.positions import Position

__all__ = ["Tail"]

# How many events may wait for one that is missing, and of how many bytes; the store has them all.
_MAX_EARLY = 1000
_MAX_EARLY_BYTES = 4_194_304
# The size of an event, in bytes, as long as none is known.
_SIZE = 8192
# What is kept for members on their way to the tail: enough for what comes while they read.
_WINDOW = 256
_WINDOW_BYTES = 131_072


class Tail:
    """
    Puts the events of one group in order, whatever the channel layer makes of them.

    The channel layer is only the quickest way by which the next entry of the history may come.
    One that comes twice is dropped, one that comes early waits, one that does not come is read
    from the store.

    Attributes:
        group: The group's name.
        position: How far the group's events have come in order, to be handed out soon; None until
            that is known.
        is_touched: Whether something has come since the store was last asked for the head.
        is_broken: Whether something came that belongs to another history than the one known.
        mean_bytes: What an event takes, roughly: a running mean.
        resets: How often events between two that were handed out have been lost.
    """

    __slots__ = (
        "_early",
        "_early_bytes",
        "_watchers",
        "_window",
        "_window_bytes",
        "group",
        "is_broken",
        "is_touched",
        "mean_bytes",
        "position",
        "resets",
    )

    def __init__(self, group: str) -> None:
        self.group = group
        self.position: Position | None = None
        self.is_touched = False
        self.is_broken = False
        self.mean_bytes = float(_SIZE)
        self.resets = 0
        self._early: dict[int, Delivery] = {}
        self._early_bytes = 0
        self._watchers = 0
        self._window: collections.deque[Delivery] = collections.deque()
        self._window_bytes = 0

    @property
    def has_gap(self) -> bool:
        """Whether an event has come, and one before it has not."""
        return bool(self._early)

    def accept(self, delivery: Delivery) -> Sequence[Delivery]:
        """Return what can be handed out now that *delivery* has come, in order."""
        number, position = delivery.number, self.position
        assert number is not None
        if position is None:
            return ()
        if number <= position.number:
            # The same number for another event: the history was lost, and begun anew.
            self.is_broken |= number == position.number and delivery.mark != position.mark
            return ()
        if number > position.number + 1:
            self._keep_early(number, delivery)
            return ()
        if not delivery.follows(position):
            self.is_broken = True
            return ()
        ready = [delivery]
        while (early := self._take_early(number + 1)) is not None:
            if not early.follows(ready[-1].position):
                self.is_broken = True
                break
            ready.append(early)
            number += 1
        self.position = ready[-1].position
        self.weigh(ready)
        if self._watchers:
            self._keep(ready)
        return ready

    def _keep_early(self, number: int, delivery: Delivery) -> None:
        size = self._early_bytes + len(delivery.frame)
        is_full = len(self._early) >= _MAX_EARLY or size > _MAX_EARLY_BYTES
        if number not in self._early and (not self._early or not is_full):
            self._early[number], self._early_bytes = delivery, size

    def _take_early(self, number: int) -> Delivery | None:
        early = self._early.pop(number, None)
        if early is not None:
            self._early_bytes -= len(early.frame)
        return early

    def _keep(self, deliveries: Sequence[Delivery]) -> None:
        self._window.extend(deliveries)
        self._window_bytes += sum(len(delivery.frame) for delivery in deliveries)
        while len(self._window) > _WINDOW or self._window_bytes > _WINDOW_BYTES:
            self._window_bytes -= len(self._window.popleft().frame)

    def _forget_window(self) -> None:
        self._window.clear()
        self._window_bytes = 0

    def weigh(self, deliveries: Sequence[Delivery]) -> None:
        """Learn from *deliveries* how large the group's events are."""
        if deliveries:
            size = sum([len(delivery.frame) for delivery in deliveries]) / len(deliveries)
            self.mean_bytes = max(1.0, (self.mean_bytes + 3 * size) / 4)

    def settle(self, number: int) -> None:
        """Forget what came early, up to *number*: it has been handed out."""
        for early in [early for early in self._early if early <= number]:
            self._take_early(early)

    def jump(self, position: Position) -> None:
        """Go on at *position*: what is between has been lost."""
        self.position = position
        self.is_broken = False
        self._early.clear()
        self._early_bytes = 0
        self._forget_window()

    def watch(self) -> None:
        """Keep what comes from now on, until unwatch()."""
        self._watchers += 1

    def unwatch(self) -> None:
        """Undo watch()."""
        self._watchers = max(0, self._watchers - 1)
        if not self._watchers:
            self._forget_window()

    def since(self, position: Position) -> Sequence[Delivery] | None:
        """Return what came behind *position*, if all of it has been kept; else None."""
        if position == self.position:
            return ()
        for index, delivery in enumerate(self._window):
            if delivery.follows(position):
                return list(self._window)[index:]
        return None
