"""The history of a group: entries, each of which names the one before."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from django_sse.positions import Position

__all__ = ["Entry", "Slice"]


class Entry(NamedTuple):
    """
    One event in the history of one group.

    Attributes:
        group: The group's name.
        number: Its place: one more than that of the entry before it; the first has 1.
        mark: The event's own mark, the same in each group that it was published to.
        previous: The mark of the entry before it; START.mark for the first.
        message: The event as the channel layer carries it: JSON's types only.
    """

    group: str
    number: int
    mark: str
    previous: str
    message: dict[str, Any]

    @property
    def position(self) -> Position:
        """The place behind this entry."""
        return Position(self.number, self.mark)

    def follows(self, position: Position) -> bool:
        """Tell whether this is the very next event after *position*."""
        return self.number == position.number + 1 and self.previous == position.mark


class Slice(NamedTuple):
    """A piece of a group's history: contiguous *entries*, and the *head*, where it ends by now."""

    entries: Sequence[Entry]
    head: Position

    def continues(self, after: Position) -> bool:
        """Tell whether a reader at *after* misses nothing by going on with this slice."""
        return self.entries[0].follows(after) if self.entries else self.head == after
