"""Carrying events of histories through the channel layer: those that come together, together."""

import asyncio
import itertools
import math
import time
from collections.abc import Iterable, Iterator, Sequence

from django_sse.envelope import LayerMessage, events_of, join
from django_sse.groups import BROADCAST
from django_sse.sending import send

__all__ = ["Carrier", "join_by_group"]

# How many events one message may carry, and how many characters of data.
_MAX_JOINED = 100
_MAX_CHARACTERS = 65_536
_LEAST_SHARE = _MAX_CHARACTERS // _MAX_JOINED
# Events of so many groups, or more, go in messages that all hubs read, and not one to each group.
#
# A message of its own costs the sender and the receiver some 100 µs of Python each, with the core
# layer of channels_redis some 500. A message to all costs that once for the sender and once for
# each hub, and each hub about 1 µs for each event. So at this number it is cheaper in sum for some
# 30 hubs, and a full message for some 100; and where there are more, which no process knows, a hub
# still spends less than 10 µs on an event that it has no reader of, 30 with the core layer.
_LEAST_GROUPS = 20
# What is larger goes to its group alone: here it is the bytes that cost each hub.
_MAX_SHARED = _MAX_CHARACTERS // _LEAST_GROUPS
# So long the group of all is let be, once the layer has not taken a message to it: of several
# servers, only the one that has this group may be away.
_AWAY_SECONDS = 10.0
# A failure that took longer has used up the time of those who wait.
_QUICK_SECONDS = 1.0


class Carrier:
    """Brings events of histories to the hubs that follow their groups."""

    def __init__(self) -> None:
        self._avoid_until = 0.0

    async def carry(self, messages: Sequence[LayerMessage]) -> None:
        """Send *messages*, joined where that is cheaper; what fails, readers find in the store."""
        began = time.monotonic()
        bundles, rest = _bundle(messages) if began >= self._avoid_until else ([], messages)
        taken = await _send_each([*bundles, *join_by_group(rest)])
        missed = [bundle for bundle, is_taken in zip(bundles, taken, strict=False) if not is_taken]
        if missed:
            now = time.monotonic()
            self._avoid_until = now + _AWAY_SECONDS
            if now - began < _QUICK_SECONDS:
                await _send_each(join_by_group(missed))


async def _send_each(messages: Iterable[LayerMessage]) -> list[bool]:
    """Send *messages* at the same time; return which of them the layer has taken."""
    return [bool(taken) for taken in await asyncio.gather(*(send([one]) for one in messages))]


def _bundle(
    messages: Sequence[LayerMessage],
) -> tuple[list[LayerMessage], Sequence[LayerMessage]]:
    """Return messages to all hubs, and what of *messages* is better sent to its group."""
    shared: list[LayerMessage] = []
    rest: list[LayerMessage] = []
    for message in _events(messages):
        (shared if len(message["data"]) <= _MAX_SHARED else rest).append(message)
    ends = list(
        itertools.accumulate(max(_LEAST_SHARE, len(message["data"])) for message in shared)
    )
    count = math.ceil(ends[-1] / _MAX_CHARACTERS) if ends else 0
    if not count or len({message["group"] for message in shared}) < count * _LEAST_GROUPS:
        return [], messages
    bundles: list[list[LayerMessage]] = [[] for _ in range(count)]
    for message, end in zip(shared, ends, strict=True):
        bundles[(end * count - 1) // ends[-1]].append(message)
    return [join(bundle, BROADCAST) for bundle in bundles if bundle], rest


def join_by_group(messages: Iterable[LayerMessage]) -> Iterator[LayerMessage]:
    """Yield messages that carry *messages*, each some of one group, in order."""
    groups: dict[str, list[LayerMessage]] = {}
    sizes: dict[str, int] = {}
    for message in _events(messages):
        group, size = message["group"], len(message["data"])
        waiting = groups.setdefault(group, [])
        is_full = len(waiting) == _MAX_JOINED or sizes.get(group, 0) + size > _MAX_CHARACTERS
        if waiting and is_full:
            yield join(waiting)
            waiting.clear()
        sizes[group] = size + (sizes[group] if waiting else 0)
        waiting.append(message)
    for waiting in groups.values():
        yield join(waiting)


def _events(messages: Iterable[LayerMessage]) -> Iterator[LayerMessage]:
    for message in messages:
        yield from events_of(message)
