"""Handing events to the channel layer."""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from django_sse.conf import get_settings
from django_sse.groups import layer_group
from django_sse.layers import describe, get_layer
from django_sse.metrics import metrics
from django_sse.shortcut import hand

__all__ = ["hand_over", "report", "send"]

logger = logging.getLogger("django.sse")

_Message = TypeVar("_Message", bound=dict[str, Any])

# A pool of redis-py stops at 100 connections, and each call in flight takes one.
_CALLS_AT_ONCE = 20

# So many may be handed to their reader in a row.
_HANDED_AT_ONCE = 50

_handed = 0
_calls: dict[asyncio.AbstractEventLoop, asyncio.Semaphore] = {}


async def send(messages: Iterable[dict[str, Any]]) -> tuple[str, ...]:
    """
    Send each of *messages* to its ``group``; return the groups that the layer took, in time.

    What fails is logged, and counted: as lost, or for an event of a history, which its readers
    will find there, as an error of the layer.
    """
    taken, left = await hand_over(messages)
    if not left:
        return tuple(taken)
    layer = get_layer()
    try:
        # One bound for all of them: the caller may be a request.
        async with (
            asyncio.timeout(get_settings().channel_layer_timeout_seconds),
            _calls_of_loop(),
        ):
            while left:
                message = left[0]
                try:
                    await layer.group_send(layer_group(message["group"]), message)
                except Exception as error:
                    _fail([message], error)
                else:
                    taken.append(message["group"])
                del left[0]
    except TimeoutError as error:
        _fail(left, error)
    return tuple(taken)


async def hand_over(messages: Iterable[_Message]) -> tuple[list[str], list[_Message]]:
    """
    Give those of *messages* to their readers that need no layer for that.

    Returns:
        The groups of these, and the messages that are left.
    """
    global _handed
    layer = get_layer()
    taken: list[str] = []
    left: list[_Message] = []
    for message in messages:
        if hand(layer, layer_group(message["group"]), message):
            taken.append(message["group"])
        else:
            left.append(message)
    if not left:
        # Let others have the loop now and then: nothing else does here.
        _handed += 1
        if _handed % _HANDED_AT_ONCE == 0:
            await asyncio.sleep(0)
    return taken, left


def _fail(messages: Sequence[dict[str, Any]], error: Exception) -> None:
    lost = [message["group"] for message in messages if "number" not in message]
    if lost:
        report(lost, error)
    if len(lost) < len(messages):
        metrics.layer_errors += 1
        logger.warning(
            "The channel layer did not take an event, whose readers find it in the store: %s",
            describe(error),
        )


def report(groups: Sequence[str], error: Exception) -> None:
    """Log and count an event that is lost to *groups*."""
    metrics.publish_errors += 1
    logger.error(
        "An event for %s was not published: %s", ", ".join(map(repr, groups)), describe(error)
    )


def _calls_of_loop() -> asyncio.Semaphore:
    loop = asyncio.get_running_loop()
    if loop not in _calls:
        for closed in [other for other in _calls if other.is_closed()]:
            del _calls[closed]
        _calls[loop] = asyncio.Semaphore(_CALLS_AT_ONCE)
    return _calls[loop]
