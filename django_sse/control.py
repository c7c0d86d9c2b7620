"""Ending streams, sending to single ones and watching them, on whatever worker they are."""

import asyncio
import logging
from typing import Any

from asgiref.sync import sync_to_async
from channels.layers import InMemoryChannelLayer
from django.core.exceptions import SynchronousOnlyOperation
from django.db import connections as databases
from django.db.models import QuerySet

from django_sse import hub as hubs
from django_sse import loops
from django_sse.commands import Command
from django_sse.conf import get_settings
from django_sse.contexts import new_context
from django_sse.envelope import pack
from django_sse.events import ServerSentEvent
from django_sse.groups import BROADCAST, check_names, layer_group
from django_sse.layers import get_layer, has_layer
from django_sse.metrics import metrics
from django_sse.orders import Order, connection_ids
from django_sse.parcels import Parcel
from django_sse.registry import is_shared, registry_alias
from django_sse.stores.database_calls import DatabaseCalls, is_in_test_case

__all__ = [
    "adisconnect",
    "aend_streams",
    "disconnect",
    "end_streams",
    "end_streams_soon",
    "send_to_streams",
    "tell_workers",
]

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
        connection: The id of a stream, or something with that as its ``id``, or several of these.

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
        _send_from_sync(order)
    return count


async def aend_streams(order: Order) -> int:
    """See end_streams()."""
    count = max(_own_count(order), await sync_to_async(_note)(order))
    await tell_workers(order)
    return count


def end_streams_soon(order: Order) -> None:
    """
    Give *order* to every worker, and wait for none: for what is called in somebody's request.

    The streams of this process end at once; the layer and the registry are told in the background.
    """
    if _has_others(order):
        loops.post("orders", _send(order), new_context())
    alias = registry_alias()
    # A test's transaction is nobody else's, and its database is not to be touched after the test.
    if alias is not None and not is_in_test_case(alias):
        _note_soon(order, alias)


def _note_soon(order: Order, alias: str) -> None:
    # One in memory has no other readers, and would raise into whoever writes at that moment.
    if is_shared(alias):
        loops.post("orders", sync_to_async(_note)(order), new_context())


async def tell_workers(command: Command) -> None:
    """Give *command* to every worker that the channel layer reaches, without the registry."""
    if not _has_others(command):
        return
    if loops.is_publishing_loop():
        await _send(command)
    else:
        await loops.hand_over(_send(command))


def send_to_streams(connection: Any, data: object, *, event: str | None = None) -> bool:
    """
    Send an event to single streams, on whatever worker they are, and at once.

    It is in no history, and has no id. Not for the thread of an event loop.

    Args:
        connection: The id of a stream, or something with that as its ``id``, or several of these.
        data: See publish().
        event: The event type.

    Returns:
        Whether it is on its way: False if the channel layer did not take it.

    Raises:
        InvalidEvent: If the event cannot be encoded, or is larger than ``MAX_EVENT_BYTES``.
    """
    message = pack(ServerSentEvent(data, event=event)).message
    left = connection_ids(connection)
    for hub in _own_hubs():
        # Here, and to the others without these: it must come once.
        own = left.intersection(stream.id for stream in tuple(hub.streams))
        if own and _hand_to(hub, Parcel(connections=own, message=message)):
            left -= own
    if not left or not _may_have_others():
        return True
    return _send_from_sync(Parcel(connections=left, message=message))


def _own_hubs() -> list[hubs.Hub]:
    return [hub for loop, hub in list(hubs._hubs.items()) if not loop.is_closed()]


def _own_count(order: Order) -> int:
    return sum(order.concerns(stream) for hub in _own_hubs() for stream in tuple(hub.streams))


def _note(order: Order) -> int:
    """
    Note *order* with the connections that it concerns, for their workers to find.

    Whatever transaction the caller has open is not waited for: until its end other workers would
    neither see the mark nor get at their own rows.
    """
    alias = registry_alias()
    if alias is None:
        return 0
    calls = DatabaseCalls(alias)
    try:
        if _has_taken_file(alias):
            _note_soon(order, alias)
            return calls.read(_concerned(order, alias).count)
        return calls.write(
            lambda again: _concerned(order, alias).update(closing=order.reason.value)
        )
    except Exception as error:  # The workers are told all the same.
        metrics.registry_errors += 1
        logger.warning("An order to end streams is not in the registry: %s", error)
        return 0


def _has_taken_file(alias: str) -> bool:
    """Tell whether the caller's own transaction may keep others from writing to SQLite's file."""
    connection = databases[alias]
    is_open = connection.in_atomic_block and not is_in_test_case(alias)
    return is_open and connection.vendor == "sqlite"


def _concerned(order: Order, alias: str) -> "QuerySet[Any]":
    from django_sse.models import Connection, Membership
    from django_sse.stores.database_reading import group_key

    found = Connection.live.using(alias)
    if order.user is not None:
        found = found.filter(user_id=order.user)
    if order.session is not None:
        found = found.filter(session=order.session)
    if order.connections is not None:
        found = found.filter(pk__in=order.connections)
    if order.group is not None:
        members = Membership.objects.filter(group_key=group_key(order.group))
        found = found.filter(pk__in=members.values("connection"))
    return found


def _has_others(command: Command) -> bool:
    """Give *command* to the hubs of this process; return whether there may be other processes."""
    for hub in _own_hubs():
        _hand_to(hub, command)
    return _may_have_others()


def _may_have_others() -> bool:
    return has_layer() and not isinstance(get_layer(), InMemoryChannelLayer)


def _hand_to(hub: hubs.Hub, command: Command) -> bool:
    try:
        hub.loop.call_soon_threadsafe(hub.obey, command, context=hub.driver.context.copy())
    except RuntimeError:  # Its loop has ended meanwhile.
        return False
    return True


def _send_from_sync(command: Command) -> bool:
    """Send *command* to the other workers; return whether the channel layer took it."""
    try:
        # One timeout is inside; this one is for a loop that does not run at all.
        timeout = get_settings().channel_layer_timeout_seconds + 1
        return loops.run(_send, command, timeout=timeout)
    except Exception as error:
        return _fail(error)


async def _send(command: Command) -> bool:
    try:
        async with asyncio.timeout(get_settings().channel_layer_timeout_seconds):
            await get_layer().group_send(layer_group(BROADCAST), command.to_message())
    except Exception as error:
        return _fail(error)
    return True


def _fail(error: Exception) -> bool:
    metrics.layer_errors += 1
    logger.warning(
        "The channel layer did not take what other workers are to do: %s: %s",
        type(error).__name__,
        str(error) or "it took too long",
    )
    return False
