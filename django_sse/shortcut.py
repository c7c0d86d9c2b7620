"""The way past the queue of Channels' in-memory layer, to the only reader of a group."""

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

from channels.layers import InMemoryChannelLayer

from django_sse.types import ChannelLayer

__all__ = ["hand", "receive_at", "stop_receiving"]


class _Reader(NamedTuple):
    layer: ChannelLayer
    channel: str
    on_message: Callable[[dict[str, Any]], None]


_readers: dict[asyncio.AbstractEventLoop, _Reader] = {}


def receive_at(
    layer: ChannelLayer, channel: str, on_message: Callable[[dict[str, Any]], None]
) -> None:
    """Let *on_message* have what this loop sends to groups that only *channel* is in."""
    if type(layer) is InMemoryChannelLayer:  # A subclass may do more with a message.
        for closed in [loop for loop in _readers if loop.is_closed()]:
            del _readers[closed]
        _readers[asyncio.get_running_loop()] = _Reader(layer, channel, on_message)


def stop_receiving(channel: str) -> None:
    """Undo receive_at()."""
    for loop in [loop for loop, reader in _readers.items() if reader.channel == channel]:
        del _readers[loop]


def hand(layer: ChannelLayer, group: str, message: dict[str, Any]) -> bool:
    """
    Give *message* to the readers of *group*, a layer's name; return whether it was done.

    The layer itself would look through all its groups and channels for what has expired, at each
    message anew, copy it, and make a task for each reader. Where somebody else reads too, or the
    reader has not taken what was sent before, that is the way to go nevertheless.
    """
    reader = _readers.get(asyncio.get_running_loop())
    if reader is None or reader.layer is not layer:
        return False
    members = layer.groups.get(group)  # type: ignore[attr-defined]
    if members:
        queue = layer.channels.get(reader.channel)  # type: ignore[attr-defined]
        if len(members) > 1 or reader.channel not in members or (queue and not queue.empty()):
            return False
        reader.on_message(message)
    return True
