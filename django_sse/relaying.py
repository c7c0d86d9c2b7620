"""Finishing what killed processes have begun to publish."""

import asyncio
import logging

from django_sse.announcing import announce
from django_sse.metrics import metrics
from django_sse.stores.base import BaseStore

__all__ = ["relay"]

logger = logging.getLogger("django.sse")

_INTERVAL_SECONDS = 1.0
_MAX_BACKOFF_SECONDS = 30.0
_SWEEP_SECONDS = 60.0


async def relay(store: BaseStore) -> None:
    """
    Number and announce, for ever, what has been committed and was not numbered by its publisher.

    Every serving process does so, and each event is numbered by one of them. Now and then what
    is old is forgotten, too.
    """
    loop, pause = asyncio.get_running_loop(), _INTERVAL_SECONDS
    next_sweep = loop.time() + _SWEEP_SECONDS
    while True:
        await asyncio.sleep(pause)
        try:
            if entries := await store.arelay():
                metrics.events_published += len(entries)
                await announce(entries)
            if loop.time() >= next_sweep:
                next_sweep = loop.time() + _SWEEP_SECONDS
                await store.aforget_old()
        except Exception as error:
            metrics.store_errors += 1
            pause = min(2 * pause, _MAX_BACKOFF_SECONDS)
            logger.warning("The relay failed (%s: %s); trying on.", type(error).__name__, error)
        else:
            pause = _INTERVAL_SECONDS
