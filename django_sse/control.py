"""Ending streams, on whatever worker they are."""

import asyncio
import contextlib
import logging
from typing import Any

from asgiref.sync import sync_to_async
from channels.layers import InMemoryChannelLayer
from django.core.exceptions import SynchronousOnlyOperation
from django.db import transaction
from django.db.models import QuerySet

from django_sse import hub as hubs
from django_sse import loops
from django_sse.conf import get_settings
from django_sse.groups import BROADCAST, check_names, layer_group
from django_sse.layers import get_layer, has_layer
from django_sse.metrics import metrics
from django_sse.orders import Order
from django_sse.registry import registry_alias

__all__ = ["adisconnect", "aend_streams", "disconnect", "end_streams", "tell_workers"]

logger = logging.getLogger("django.sse")


def disconnect(
    *, user: Any = None, session: Any = None, group: str | None = None, connection: Any = None
) -> int:
    """
    End the open streams, of every worker, for which all that is given is true.

    The workers are told through the channel layer, at once and outside of any transaction. With
    the registry it is noted there too: a worker that was not told ends its streams a second or
    two later. The clients are sent a long reconnection time, and come back after it; answer them
    with 204, or 403, if they are to stay away.

    Args:
        user: A user, or the primary key of one.
        session: A session, or the key of one.
        group: The name of a group.
        connection: The id of a stream, or something with that as its ``id``.

    Returns:
        How many streams have been asked to end: those of the registry, which is a second behind,
        or those of this process if these are more. Without the registry, these alone.

    Raises:
        TypeError: If nothing is given.
        InvalidGroup: If *group* is no name.
        SynchronousOnlyOperation: On the thread of an event loop; await adisconnect() there.
    """
    return end_streams(_order(user, session, group, connection))


async def adisconnect(
    *, user: Any = None, session: Any = None, group: str | None = None, connection: Any = None
) -> int:
    """See disconnect()."""
    return await aend_streams(_order(user, session, group, connection))


def _order(user: Any, session: Any, group: str | None, connection: Any) -> Order:
    if group is not None:
        check_names(group)
    return Order.of(user=user, session=session, group=group, connection=connection)


def end_streams(order: Order) -> int:
    """Give *order* to every worker; return how many streams it concerns. See disconnect()."""
    if loops.is_loop_thread():
        raise SynchronousOnlyOperation(
            "disconnect() waits for the database and the channel layer, which must not be done on"
            " the thread of an event loop; await adisconnect()."
        )
    count = max(_own_count(order), _note(order))
    if _has_others(order):
        try:
            # One timeout is inside; this one is for a loop that does not run at all.
            timeout = get_settings().channel_layer_timeout_seconds + 1
            loops.run(_send, order, timeout=timeout)
        except Exception as error:
            _fail(error)
    return count


async def aend_streams(order: Order) -> int:
    """See end_streams()."""
    count = max(_own_count(order), await sync_to_async(_note)(order))
    await tell_workers(order)
    return count


async def tell_workers(order: Order) -> None:
    """Give *order* to every worker that the channel layer reaches, without the registry."""
    if not _has_others(order):
        return
    if loops.is_publishing_loop():
        await _send(order)
    else:
        await loops.hand_over(_send(order))


def _own_hubs() -> list[hubs.Hub]:
    return [hub for loop, hub in list(hubs._hubs.items()) if not loop.is_closed()]


def _own_count(order: Order) -> int:
    return sum(order.concerns(stream) for hub in _own_hubs() for stream in tuple(hub.streams))


def _note(order: Order) -> int:
    """Note *order* with the connections that it concerns, for their workers to find."""
    alias = registry_alias()
    if alias is None:
        return 0
    try:
        with transaction.atomic(using=alias):  # A failure must not be that of the caller's.
            return _concerned(order, alias).update(closing=order.reason.value)
    except Exception as error:  # The workers are told all the same.
        metrics.registry_errors += 1
        logger.warning("An order to end streams is not in the registry: %s", error)
        return 0


def _concerned(order: Order, alias: str) -> "QuerySet[Any]":
    from django_sse.models import Connection, Membership
    from django_sse.stores.database_reading import group_key

    found = Connection.live.using(alias)
    if order.user is not None:
        found = found.filter(user_id=order.user)
    if order.session is not None:
        found = found.filter(session=order.session)
    if order.connection is not None:
        found = found.filter(pk=order.connection)
    if order.group is not None:
        members = Membership.objects.filter(group_key=group_key(order.group))
        found = found.filter(pk__in=members.values("connection"))
    return found


def _has_others(order: Order) -> bool:
    """Give *order* to the hubs of this process; return whether there may be other processes."""
    for hub in _own_hubs():
        with contextlib.suppress(RuntimeError):  # Its loop has ended meanwhile.
            hub.loop.call_soon_threadsafe(hub.obey, order, context=hub.driver.context.copy())
    return has_layer() and not isinstance(get_layer(), InMemoryChannelLayer)


async def _send(order: Order) -> None:
    try:
        async with asyncio.timeout(get_settings().channel_layer_timeout_seconds):
            await get_layer().group_send(layer_group(BROADCAST), order.to_message())
    except Exception as error:
        _fail(error)


def _fail(error: Exception) -> None:
    metrics.layer_errors += 1
    logger.warning(
        "The channel layer did not take an order to end streams: %s: %s",
        type(error).__name__,
        str(error) or "it took too long",
    )
