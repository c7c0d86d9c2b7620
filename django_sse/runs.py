"""Events of one group that came in a row, and the ids that they have at one place."""

from collections.abc import Sequence
from typing import NamedTuple

from django_sse.envelope import Delivery
from django_sse.events import ServerSentEvent

__all__ = ["Item", "Run", "Stretch"]


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


class Run:
    """
    Events of one group, in order, with no other group's event between them.

    One that tells of more than its own group, as it was published to several or is a reset, is
    alone in its run. So a run is new to a reader as a whole, or not at all, and of all that an
    id says nothing changes from its first event to its last but the group's own record.

    Attributes:
        group: The group's name.
        deliveries: The events.
        parts: Of each the record in the id, see positions.record(), and the frame.
    """

    __slots__ = ("_is_open", "deliveries", "group", "parts")

    def __init__(self, delivery: Delivery) -> None:
        self.group = delivery.group
        self.deliveries = [delivery]
        self.parts = [(delivery.record, delivery.frame)]
        self._is_open = delivery.is_simple

    def add(self, delivery: Delivery) -> bool:
        """Go on with *delivery*, if it is one for this run; return whether it is."""
        if (
            delivery.group != self.group
            or not (self._is_open and delivery.is_simple)
            or self.has_history != (delivery.number is not None)
        ):
            return False
        self.deliveries.append(delivery)
        self.parts.append((delivery.record, delivery.frame))
        return True

    @property
    def has_history(self) -> bool:
        """Whether a store has the events, so that they have ids."""
        return self.deliveries[0].number is not None


class Stretch:
    """
    A run as readers at one place get it: their ids differ from others' around the records only.

    Args:
        run: The events.
        before: What stands before the group's record in each line with an id.
        behind: What stands behind it.
    """

    __slots__ = ("_before", "_behind", "run")

    def __init__(self, run: Run, before: bytes = b"", behind: bytes = b"") -> None:
        self.run = run
        self._before = before
        self._behind = behind

    @property
    def frames(self) -> bytes:
        """The bytes of all events."""
        before, behind = self._before, self._behind
        return before + before.join([record + behind + frame for record, frame in self.run.parts])

    @property
    def id_line(self) -> bytes:
        """The id behind the last event; nothing where there is none."""
        return self._before + self.run.parts[-1][0] + self._behind

    @property
    def items(self) -> Sequence[Item]:
        """The events one by one."""
        before, behind = self._before, self._behind
        return [
            Item(delivery, before + record + behind)
            for delivery, (record, _) in zip(self.run.deliveries, self.run.parts, strict=True)
        ]
