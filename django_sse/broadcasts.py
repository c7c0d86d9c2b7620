"""A hub in the group of all streams."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from django_sse.exceptions import ChannelLayerUnavailable
from django_sse.groups import BROADCAST
from django_sse.layer_link import LayerLink

__all__ = ["Broadcasts"]

logger = logging.getLogger("django.sse")

_RETRY_SECONDS = 2.0


class Broadcasts:
    """
    Joins the group of all streams for a hub, when it has its first stream or group.

    Args:
        link: Returns the hub's way to the channel layer.
        spawn: Runs a coroutine in a task of the hub.
    """

    def __init__(
        self,
        link: Callable[[], LayerLink],
        spawn: Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"],
    ) -> None:
        self._link = link
        self._spawn = spawn
        self._task: asyncio.Task[None] | None = None
        self._tried = asyncio.Event()

    async def join(self) -> None:
        """Join, and return after the first attempt: a layer that is down must hold nothing up."""
        if self._task is None:
            self._task = self._spawn(self._join())
        await self._tried.wait()

    async def _join(self) -> None:
        while True:
            try:
                await self._link().join((BROADCAST,))
            except ChannelLayerUnavailable as error:
                if not self._tried.is_set():
                    logger.warning("This worker's streams get no broadcast yet: %s", error)
            else:
                return
            finally:
                self._tried.set()
            await asyncio.sleep(_RETRY_SECONDS)

    def close(self) -> None:
        """Try no longer."""
        if self._task is not None:
            self._task.cancel()
            self._tried.set()  # It may not have begun.
