"""Events on their way to streams, those of one tick together."""

from collections.abc import Sequence
from typing import NamedTuple

from django_sse.envelope import Delivery
from django_sse.events import ServerSentEvent
from django_sse.places import Place

__all__ = ["Batch", "Item", "newest"]


class Item(NamedTuple):
    """One event for readers at one place: what it is, and the id that it has there."""

    delivery: Delivery
    id_line: bytes = b""

    @property
    def frame(self) -> bytes:
        """The bytes of the event."""
        return self.id_line + self.delivery.frame

    @property
    def event(self) -> ServerSentEvent:
        """The event, with its id if it has one."""
        if not self.id_line:
            return self.delivery.event
        return self.delivery.event_with(self.id_line, self.id_line[4:-1].decode())


class Batch:
    """
    The events of one tick for one audience, in order.

    Attributes:
        items: Each with the id of the place behind it.
        before: The place before the first of them; None for events that are in no history.
        frames: All frames, joined once however many streams write them.
        id_line: The id behind the last of them; empty where that has none.
    """

    __slots__ = ("before", "frames", "id_line", "items")

    def __init__(self, items: Sequence[Item], before: Place | None = None) -> None:
        self.items = items
        self.before = before
        parts: list[bytes] = []
        for delivery, id_line in items:
            parts += (id_line, delivery.frame)
        self.frames = b"".join(parts)
        self.id_line = items[-1].id_line if items else b""


def newest(items: Sequence[Item]) -> list[Item]:
    """Return *items* without those that a newer one of the same group and key replaces."""
    last = {item.delivery.key: index for index, item in enumerate(items)}
    return [
        item
        for index, item in enumerate(items)
        if item.delivery.key is None or last[item.delivery.key] == index
    ]
