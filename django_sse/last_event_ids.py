"""The last event id of a page that is about to be rendered."""

import asyncio
import logging
from collections.abc import Sequence

from django.core.exceptions import SynchronousOnlyOperation

from django_sse import loops
from django_sse.conf import get_settings
from django_sse.groups import check_groups
from django_sse.metrics import metrics
from django_sse.places import Place
from django_sse.stores import BaseStore, get_store

__all__ = ["aget_last_event_id", "get_last_event_id"]

logger = logging.getLogger("django.sse")


def get_last_event_id(*groups: str) -> str | None:
    """
    Return the id that a stream of *groups* would begin with now.

    To be called before a page's data is read: a client that gives this id when it connects is
    sent what was published since, and so misses nothing of what the data did not have yet.

    Args:
        groups: Names of groups, any strings.

    Returns:
        The id; None without a group or a store, and where the store fails, which is logged: the
        page is worth more than what it may miss.

    Raises:
        InvalidGroup: If a group is no name, or there are more than ``MAX_GROUPS``.
        SynchronousOnlyOperation: On an event loop, which must not wait for a store.
    """
    names, store = check_groups(groups), get_store()
    if not names or store is None:
        return None
    if loops.is_loop_thread():
        raise SynchronousOnlyOperation(
            f"The last event id of {list(names)!r} was asked for on an event loop, which must not"
            " wait for a store. In an async view write last_event_id = await"
            " aget_last_event_id(...), and give it to the template; or render the template in"
            " sync_to_async(render)."
        )
    try:
        return Place(store.positions(names)).id
    except Exception as error:
        _note_failure(names, error)
        return None


async def aget_last_event_id(*groups: str) -> str | None:
    """See get_last_event_id(); this one may be awaited on an event loop."""
    names, store = check_groups(groups), get_store()
    if not names or store is None:
        return None
    try:
        return await _ask(store, names)
    except Exception as error:
        _note_failure(names, error)
        return None


async def _ask(store: BaseStore, names: Sequence[str]) -> str:
    async with asyncio.timeout(get_settings().channel_layer_timeout_seconds):
        return Place(await store.apositions(names)).id


def _note_failure(names: Sequence[str], error: Exception) -> None:
    metrics.store_errors += 1
    logger.warning(
        "The last event id of %r is not known, the store fails: %s: %s",
        list(names),
        type(error).__name__,
        error,
    )
