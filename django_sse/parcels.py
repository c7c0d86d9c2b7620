"""An event for single streams, on its way to the workers that serve them."""

import dataclasses
from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol, Self

from django_sse.audiences import Member, deliver
from django_sse.batches import Batch
from django_sse.envelope import Delivery, unpack
from django_sse.groups import BROADCAST
from django_sse.orders import Ordered
from django_sse.runs import Item

__all__ = ["PARCEL_TYPE", "Parcel"]

#: The ``type`` of its message in the channel layer.
PARCEL_TYPE = "sse.parcel"


class _Recipient(Ordered, Member, Protocol): ...


class _Gathering(Protocol):
    def flush(self) -> None: ...


class _Driver(Protocol):
    def run(self, function: Callable[[], None], /) -> None: ...


class _Hub(Protocol):
    @property
    def streams(self) -> Collection[_Recipient]: ...
    @property
    def gathering(self) -> _Gathering: ...
    @property
    def driver(self) -> _Driver: ...


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """
    What streams to send an event to, whatever their groups: as a broadcast, but to these alone.

    Attributes:
        connections: The ids of the streams.
        message: The event, as pack() makes it.
    """

    connections: frozenset[str]
    message: Mapping[str, Any]

    @classmethod
    def unpack(cls, message: Mapping[str, Any]) -> Self:
        """Return what *message* carries; raises KeyError or TypeError if it is no parcel."""
        event = message["event"]
        unpack({**event, "group": BROADCAST})
        return cls(connections=frozenset(message["connections"]), message=event)

    def to_message(self) -> dict[str, Any]:
        """Return the parcel as a message of a channel layer."""
        return {
            "type": PARCEL_TYPE,
            "connections": sorted(self.connections),
            "event": dict(self.message),
        }

    def carry_out(self, hub: _Hub) -> None:
        """Hand the event to those of the streams that *hub* has, behind what came before it."""
        streams = [stream for stream in hub.streams if stream.id in self.connections]
        if streams:
            hub.gathering.flush()
            delivery = Delivery({**self.message, "group": BROADCAST})
            hub.driver.run(lambda: deliver(Batch.of([Item(delivery)]), streams))
