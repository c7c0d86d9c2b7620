"""Publishing events to groups, from anywhere."""

import functools
import logging
from collections.abc import Iterable, Sequence
from typing import Any

from asgiref.sync import sync_to_async
from channels.layers import InMemoryChannelLayer
from django.db import transaction

from django_sse import loops
from django_sse.announcing import Announcements, announce
from django_sse.backlog import Backlog
from django_sse.conf import get_settings
from django_sse.contexts import has_sync_caller, new_context
from django_sse.envelope import Packed, address, pack
from django_sse.events import ServerSentEvent
from django_sse.exceptions import InvalidEvent, InvalidGroup
from django_sse.groups import BROADCAST, check_groups
from django_sse.history import Entry
from django_sse.layers import get_layer
from django_sse.metrics import metrics
from django_sse.sending import report, send
from django_sse.signals import event_published
from django_sse.steps import within
from django_sse.stores import get_store
from django_sse.stores.base import BaseStore, PartlyAppended

__all__ = ["abroadcast", "apublish", "broadcast", "publish", "send_entries"]

logger = logging.getLogger("django.sse")


def publish(
    groups: str | Iterable[str],
    data: object,
    *,
    event: str | None = None,
    retry: int | None = None,
    history: bool = True,
    on_commit: bool = True,
    key: str | None = None,
    using: str | None = None,
) -> None:
    """
    Send an event to every open stream that is in one of *groups*.

    It may be called from sync code of any kind: a view, a signal handler, a management command,
    a thread, a Celery task. Inside a transaction it waits for the commit, and a rollback drops
    it. On the thread of an event loop it cannot wait: it queues the event there and returns.

    A store or a channel layer that fails or is slow never raises here: the failure is logged to
    ``django.sse`` and counted. What the store does not take is kept for a minute, and tried
    again; what the channel layer loses its readers find in the store.

    Args:
        groups: One group or several; a stream that is in more than one gets the event once.
        data: A string, sent as it is, or anything that the encoder writes as JSON.
        event: The event type.
        retry: A new reconnection time for the clients, in milliseconds.
        history: Whether the event is kept in the store, so that whoever misses it gets it later.
        on_commit: Whether to wait for the end of the transaction that is open on *using*.
        key: While a slow stream has an unsent event of the same group and key, the newer one
            takes its place.
        using: The alias of the database whose transaction counts; None is the default one.

    Raises:
        InvalidGroup: If a group is no name.
        InvalidEvent: If the event cannot be encoded, or is larger than ``MAX_EVENT_BYTES``.
        ImproperlyConfigured: If there is no channel layer.
    """
    names, packed = _prepare(groups, data, event=event, retry=retry, key=key)
    store = get_store() if history else None
    if not on_commit or not _defer(names, packed, using, store):
        _publish_from_sync(names, packed, store)


async def apublish(
    groups: str | Iterable[str],
    data: object,
    *,
    event: str | None = None,
    retry: int | None = None,
    history: bool = True,
    on_commit: bool = True,
    key: str | None = None,
    using: str | None = None,
) -> None:
    """See publish(). A transaction counts if sync code opened it and awaits this coroutine."""
    names, packed = _prepare(groups, data, event=event, retry=retry, key=key)
    # The transaction, if there is one, is open in the thread of a sync caller.
    is_nested = on_commit and has_sync_caller()
    store = get_store() if history else None
    if not is_nested or not await sync_to_async(_defer)(names, packed, using, store):
        await _publish_from_async(names, packed, store)


def broadcast(data: object, *, event: str | None = None) -> int:
    """
    Send an event to every open stream of every worker, whatever its groups, and at once.

    It waits for no transaction: what it tells of must have been committed.

    Returns:
        How many streams of this process it goes to; 0 if the channel layer did not take it.

    Raises:
        InvalidEvent: If the event cannot be encoded, or is larger than ``MAX_EVENT_BYTES``.
        ImproperlyConfigured: If there is no channel layer.
    """
    packed = _pack(data, event=event)
    return metrics.streams_open if _publish_from_sync((BROADCAST,), packed, None) else 0


async def abroadcast(data: object, *, event: str | None = None) -> int:
    """See broadcast()."""
    packed = _pack(data, event=event)
    return metrics.streams_open if await _publish_from_async((BROADCAST,), packed, None) else 0


def _prepare(
    groups: str | Iterable[str], data: object, *, key: str | None, **fields: Any
) -> tuple[tuple[str, ...], Packed]:
    names = check_groups(groups)
    if not names:
        raise InvalidGroup("publish() was given no group; name at least one.")
    if key is not None and not isinstance(key, str):
        raise InvalidEvent(f"key={key!r} is a {type(key).__name__}; it must be a string.")
    return names, _pack(data, names, key, **fields)


def _pack(
    data: object, groups: Sequence[str] = (), key: str | None = None, **fields: Any
) -> Packed:
    get_layer()  # Without one this is the caller's mistake: say so here and now.
    if isinstance(data, ServerSentEvent):
        raise InvalidEvent(
            "publish() takes the data of an event, and its type as event=; not a ServerSentEvent."
        )
    if data is None:
        raise InvalidEvent("An event without data reaches no page; pass '' or {} as its data.")
    return pack(ServerSentEvent(data, **fields), key=key, groups=groups)


def _defer(
    names: Sequence[str], packed: Packed, using: str | None, store: BaseStore | None
) -> bool:
    """Publish at the end of the open transaction. Return whether there is one."""
    connection = transaction.get_connection(using)
    if not connection.in_atomic_block:
        return False
    if store is not None and store.is_transactional and store.alias == connection.alias:
        store.enlist(names, packed.message)
        transaction.on_commit(functools.partial(_relay, store, names, packed), using=using)
    else:
        step = functools.partial(_publish_from_sync, names, packed, store)
        transaction.on_commit(step, using=using)
    return True


def _relay(store: BaseStore, names: Sequence[str], packed: Packed) -> None:
    """Number and send what has been committed; what fails a relay does later."""
    if loops.is_loop_thread():
        return  # It must not wait.
    try:
        entries = store.relay(names)
    except Exception as error:
        metrics.store_errors += 1
        logger.warning("An event waits for a relay: %s: %s", type(error).__name__, error)
        return
    send_entries(entries)
    _tell(names, packed)


def send_entries(entries: Sequence[Entry]) -> None:
    """Let the channel layer carry *entries*, soon; what it loses, readers find in the store."""
    metrics.events_published += len(entries)
    _announcements.add(entries)


def _publish_from_sync(names: Sequence[str], packed: Packed, store: BaseStore | None) -> bool:
    """Publish, waiting for it; return whether it went, or will go, to a group."""
    if loops.is_loop_thread():
        queue = loops.enqueue if _may_send_here() else loops.post
        queue("publish", _publish_from_async(names, packed, store), new_context())
        return True
    if store is None:
        return _send_from_sync(names, packed)
    if not _backlog.is_clear(names):
        _backlog.add(names, packed)
        return True
    try:
        entries = store.append(names, packed.message)
    except PartlyAppended as partly:
        _backlog.add(partly.groups, packed, partly.__cause__)
        send_entries(partly.entries)
        _tell([entry.group for entry in partly.entries], packed)
        return True
    except Exception as error:
        _backlog.add(names, packed, error)
        return True
    send_entries(entries)
    _tell(names, packed)
    return True


def _tell(names: Sequence[str], packed: Packed) -> None:
    # Here, not on the loop: this thread waits for the loop, and a receiver might wait for it.
    if event_published.receivers and event_published.has_listeners(None):
        event_published.send_robust(None, groups=tuple(names), event=packed.event)


def _send_from_sync(names: Sequence[str], packed: Packed) -> bool:
    # One timeout is inside; this one is for a loop that does not run at all.
    timeout = get_settings().channel_layer_timeout_seconds + 1
    try:
        taken = loops.run(_send, names, packed, timeout=timeout)
    except Exception as error:
        report(names, error)
        return False
    if taken:
        _tell(taken, packed)
    return bool(taken)


def _may_send_here() -> bool:
    # One loop of a process publishes. Another may end at once, as those of async_to_sync() and
    # asyncio.run() do, and what is on its way with it; it would open connections of its own, too.
    if loops.is_publishing_loop():
        return True
    # Channels' in-memory layer knows the loop of its readers only.
    is_local = isinstance(get_layer(), InMemoryChannelLayer)
    return is_local and not (has_sync_caller() or loops.is_serving())


async def _publish_from_async(
    names: Sequence[str], packed: Packed, store: BaseStore | None
) -> bool:
    if _may_send_here():
        taken = await _publish(names, packed, store)
    else:
        taken = await loops.hand_over(_publish(names, packed, store))
    if taken:
        await _atell(taken, packed)
    return bool(taken)


async def _atell(names: Sequence[str], packed: Packed) -> None:
    if event_published.receivers and event_published.has_listeners(None):
        await event_published.asend_robust(None, groups=tuple(names), event=packed.event)


async def _publish(names: Sequence[str], packed: Packed, store: BaseStore | None) -> Sequence[str]:
    """Publish on this loop; return the groups that will get the event, by what is known now."""
    if store is None:
        return await _send(names, packed)
    if not _backlog.is_clear(names):
        _backlog.add(names, packed)
        return ()
    try:
        seconds = get_settings().channel_layer_timeout_seconds
        entries = await within(seconds, store.aappend(names, packed.message))
    except PartlyAppended as partly:
        _backlog.add(partly.groups, packed, partly.__cause__)
        entries = list(partly.entries)
    except Exception as error:
        _backlog.add(names, packed, error)
        return ()
    metrics.events_published += len(entries)
    await announce(entries)
    return [entry.group for entry in entries]


async def _send(names: Sequence[str], packed: Packed) -> tuple[str, ...]:
    await _announcements.settled()  # What was published before it is to come before it.
    taken = await send([address(packed.message, name) for name in names])
    metrics.events_published += len(taken)
    return taken


async def _when_taken(entries: Sequence[Entry], packed: Packed) -> None:
    metrics.events_published += len(entries)
    await announce(entries)
    await _atell([entry.group for entry in entries], packed)


_announcements = Announcements()
_backlog = Backlog(_when_taken)
