"""What one process asks of the workers that serve streams, by way of the channel layer."""

from collections.abc import Callable, Mapping
from typing import Any

from django_sse.orders import ORDER_TYPE, Order
from django_sse.parcels import PARCEL_TYPE, Parcel
from django_sse.watching import WATCH_TYPE, Watch

__all__ = ["COMMAND_TYPES", "Command", "unpack_command"]

#: Each can be carried out by a hub, more than once without harm but for a Parcel.
Command = Order | Parcel | Watch

_UNPACK: dict[str, Callable[[Mapping[str, Any]], Command]] = {
    ORDER_TYPE: Order.unpack,
    PARCEL_TYPE: Parcel.unpack,
    WATCH_TYPE: Watch.unpack,
}


#: The types of the messages that carry one.
COMMAND_TYPES = tuple(_UNPACK)


def unpack_command(message: Mapping[str, Any]) -> Command:
    """
    Return the command that *message* carries.

    Raises:
        KeyError, TypeError, ValueError: If it carries none, or is not what it says.
    """
    return _UNPACK[message["type"]](message)
