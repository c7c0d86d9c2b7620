"""Events on their way to streams, those of one tick together."""

from collections.abc import Sequence

from django_sse.places import Place
from django_sse.runs import Item, Stretch

__all__ = ["Batch", "newest"]


class Batch:
    """
    The events of one tick for one audience, in order.

    Attributes:
        before: The place before the first of them; None if nobody has to go on from there, or
            they are in no history.
        count: How many there are.
        frames: All frames, joined once however many streams write them.
        id_line: The id behind the last of them; empty where that has none.
    """

    __slots__ = ("_items", "_stretches", "before", "count", "frames", "id_line")

    def __init__(self, stretches: Sequence[Stretch], before: Place | None = None) -> None:
        self.before = before
        self.count = sum([len(stretch.run.parts) for stretch in stretches])
        self.frames = b"".join([stretch.frames for stretch in stretches])
        self.id_line = stretches[-1].id_line
        self._stretches = stretches
        self._items: Sequence[Item] | None = None

    @classmethod
    def of(cls, items: Sequence[Item]) -> "Batch":
        """Return a batch of single *items*."""
        batch = cls.__new__(cls)
        batch.before, batch.count = None, len(items)
        batch.frames = b"".join([item.frame for item in items])
        batch.id_line = items[-1].id_line if items else b""
        batch._stretches, batch._items = (), items
        return batch

    @property
    def items(self) -> Sequence[Item]:
        """Each of them, with the id of the place behind it; made when it is asked for."""
        if self._items is None:
            self._items = [item for stretch in self._stretches for item in stretch.items]
        return self._items


def newest(items: Sequence[Item]) -> list[Item]:
    """Return *items* without those that a newer one of the same group and key replaces."""
    last = {item.delivery.key: index for index, item in enumerate(items)}
    return [
        item
        for index, item in enumerate(items)
        if item.delivery.key is None or last[item.delivery.key] == index
    ]
