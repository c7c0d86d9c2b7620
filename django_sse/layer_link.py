"""A hub's one channel in the channel layer, and the groups it is in."""

import asyncio
import logging
import random
from collections.abc import Callable, Collection, Coroutine
from contextvars import Context
from typing import Any

from django_sse.conf import get_settings
from django_sse.exceptions import ChannelLayerUnavailable
from django_sse.groups import layer_group
from django_sse.layers import describe, get_layer
from django_sse.metrics import metrics
from django_sse.shortcut import receive_at, stop_receiving

__all__ = ["LayerLink"]

logger = logging.getLogger("django.sse")

_LINGER_SECONDS = 2.0
_RENEW_SECONDS = 60.0
_RENEWALS_A_SECOND = 50
_MAX_BACKOFF_SECONDS = 5.0
# For so long channels_redis's core layer lets Redis wait for a message. Its own five seconds are
# those after which redis-py 8 gives up on a socket: each idle one would be a failure.
_MAX_POLL_SECONDS = 2
# The type of a message to oneself.
_PROBE = "sse.probe"
# A layer that has worked for so long is taken for one that had not failed.
_STEADY_SECONDS = 30.0
# A pool of redis-py stops at 100 connections, and each call in flight takes one.
_CALLS_AT_ONCE = 20


class _Membership:
    """One group: how many members of the hub want it, and whether the layer has it."""

    __slots__ = ("joined", "lock", "wanted")

    def __init__(self) -> None:
        self.wanted = 0
        self.joined = False
        self.lock = asyncio.Lock()


class LayerLink:
    """
    Receives for all streams of an event loop through one channel.

    The channel joins a group when the first member wants it and leaves a while after the last
    has gone. One task receives for as long as the link lives: to cancel a layer's ``receive()``
    can lose events. When the layer fails, the link waits, and joins everything again.

    Args:
        on_message: Called with each message.
        on_left: Called with each group that is not received any more.
        on_return: Called when the layer is back after a failure: messages may have been lost.
        context: That of the link's tasks.
    """

    def __init__(
        self,
        on_message: Callable[[dict[str, Any]], None],
        on_left: Callable[[str], None],
        on_return: Callable[[], None],
        context: Context,
    ) -> None:
        self._on_message = on_message
        self._on_left = on_left
        self._on_return = on_return
        self._context = context
        self._layer = get_layer()
        self._channel: str | None = None
        self._memberships: dict[str, _Membership] = {}
        self._lingering: dict[str, asyncio.TimerHandle] = {}
        self._starting = asyncio.Lock()
        self._calls = asyncio.Semaphore(_CALLS_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._receiver: asyncio.Task[None] | None = None
        self._heard = asyncio.Event()
        self._is_closed = False
        if getattr(self._layer, "brpop_timeout", 0) > _MAX_POLL_SECONDS:
            self._layer.brpop_timeout = _MAX_POLL_SECONDS  # type: ignore[attr-defined]

    async def join(self, groups: Collection[str]) -> None:
        """
        Join *groups*, each with one more member. When this returns, nothing published is missed.

        Raises:
            ChannelLayerUnavailable: If the layer fails, or takes more than
                ``CHANNEL_LAYER_TIMEOUT_SECONDS``; then nothing is joined.
        """
        memberships = {group: self._want(group) for group in groups}
        if all(membership.joined for membership in memberships.values()):
            return
        try:
            async with asyncio.timeout(get_settings().channel_layer_timeout_seconds):
                await self._start()
                for group, membership in memberships.items():
                    if not membership.joined:
                        await self._settle(group, membership)
        except Exception as error:
            self.leave(groups)
            metrics.layer_errors += 1
            raise ChannelLayerUnavailable(
                f"The channel layer did not take this process into {sorted(groups)!r}:"
                f" {describe(error)}"
            ) from error
        except asyncio.CancelledError:
            self.leave(groups)
            raise

    def leave(self, groups: Collection[str]) -> None:
        """Leave *groups* with one member each. The layer hears of the last one later."""
        for group in groups:
            membership = self._memberships[group]
            membership.wanted -= 1
            if not membership.wanted and not self._is_closed:
                # Later: a page that reloads would leave and join at once.
                if (earlier := self._lingering.get(group)) is not None:
                    earlier.cancel()
                self._lingering[group] = asyncio.get_running_loop().call_later(
                    _LINGER_SECONDS, self._leave_if_unwanted, group, context=self._context
                )

    async def close(self) -> None:
        """Stop receiving."""
        self._is_closed = True
        if self._channel is not None:
            stop_receiving(self._channel)
        for timer in self._lingering.values():
            timer.cancel()
        self._lingering.clear()
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            # Again, if need be: a client of Redis may take a cancellation for its own time-out.
            await asyncio.wait(tuple(self._tasks), timeout=0.2)

    def _want(self, group: str) -> _Membership:
        membership = self._memberships.get(group)
        if membership is None:
            membership = self._memberships[group] = _Membership()
        membership.wanted += 1
        return membership

    async def _start(self) -> None:
        if self._channel is None:
            async with self._starting:
                if self._channel is None:
                    self._channel = await self._layer.new_channel()
                    receive_at(self._layer, self._channel, self._on_message)
                    self._receiver = self._spawn(self._receive())
                    self._spawn(self._renew())

    async def _settle(self, group: str, membership: _Membership, *, again: bool = False) -> None:
        """
        Make the layer agree with what is wanted; one at a time for each group, in order.

        With *again* it is told of a membership that it should have already.
        """
        if self._channel is None:  # Nothing can have been joined.
            self._forget(group, membership)
            return
        async with membership.lock, self._calls:
            if not membership.wanted:
                membership.joined = False
                # Whether it has it or not: an attempt to join may have reached it all the same.
                await self._layer.group_discard(layer_group(group), self._channel)
            elif again or not membership.joined:
                await self._layer.group_add(layer_group(group), self._channel)
                membership.joined = True
        self._forget(group, membership)

    def _forget(self, group: str, membership: _Membership) -> None:
        if not membership.wanted and self._memberships.get(group) is membership:
            del self._memberships[group]
            self._on_left(group)

    def _leave_if_unwanted(self, group: str) -> None:
        self._lingering.pop(group, None)
        membership = self._memberships.get(group)
        if membership is not None and not membership.wanted:
            self._spawn(self._try_to_leave(group, membership))

    async def _try_to_leave(self, group: str, membership: _Membership) -> None:
        try:
            async with asyncio.timeout(get_settings().channel_layer_timeout_seconds):
                await self._settle(group, membership)
        except Exception:
            # The layer forgets us by itself (group_expiry); until then its messages are ignored.
            logger.warning("Could not leave the group %r.", group, exc_info=True)
            self._forget(group, membership)

    async def _receive(self) -> None:
        assert self._channel is not None
        loop, failures = asyncio.get_running_loop(), 0
        while not self._is_closed:
            began = loop.time()
            try:
                if failures:
                    await asyncio.sleep(_backoff(failures))
                    await self._rejoin()
                    logger.info("The channel layer is back; %d groups joined again.", self.size)
                    self._on_return()
                message = await self._layer.receive(self._channel)
                failures = 0
                self._heard.set()
                if message.get("type") != _PROBE:
                    self._on_message(message)
            except Exception as error:
                if loop.time() - began > _STEADY_SECONDS:
                    failures = 0  # It has worked since the last time.
                failures += 1
                metrics.layer_errors += 1
                # Who joins now must ask the layer, which may have forgotten everything.
                for membership in self._memberships.values():
                    membership.joined = False
                log = logger.error if failures == 1 else logger.debug
                log("The channel layer fails (%s); trying on.", describe(error))

    @property
    def size(self) -> int:
        """How many groups the channel is in, or about to join."""
        return len(self._memberships)

    def join_again(self, groups: Collection[str]) -> None:
        """Tell the layer once more of *groups*: it seems to have forgotten."""
        if not self._is_closed:
            self._spawn(self._try_to_rejoin(groups))

    async def _try_to_rejoin(self, groups: Collection[str]) -> None:
        try:
            await self._rejoin(groups)
        except Exception:
            metrics.layer_errors += 1
            logger.warning("Could not renew the memberships of groups.", exc_info=True)

    async def _rejoin(self, groups: Collection[str] | None = None) -> None:
        seconds = get_settings().channel_layer_timeout_seconds
        for group in tuple(self._memberships if groups is None else groups):
            if (membership := self._memberships.get(group)) is not None:
                async with asyncio.timeout(seconds):
                    await self._settle(group, membership, again=True)

    async def _renew(self) -> None:
        # A layer forgets its members: group_expiry after they joined, or when its Redis is
        # emptied; Channels' in-memory one also when a message lies unread for a minute.
        expiry = getattr(self._layer, "group_expiry", 86_400)
        while not self._is_closed:
            interval = max(_RENEW_SECONDS, self.size / _RENEWALS_A_SECOND)
            await asyncio.sleep(min(interval, expiry / 4))
            try:
                await self._rejoin()
                await self._probe()
            except Exception:
                metrics.layer_errors += 1
                logger.warning("Could not renew the memberships of groups.", exc_info=True)

    async def _probe(self) -> None:
        """Send a message to the own channel; begin to receive anew if it does not come."""
        assert self._channel is not None
        self._heard.clear()
        try:
            async with asyncio.timeout(get_settings().channel_layer_timeout_seconds):
                await self._layer.send(self._channel, {"type": _PROBE})
                await self._heard.wait()
        except TimeoutError:
            # Channels' in-memory layer, for one, drops the queue that receive() waits at.
            metrics.layer_errors += 1
            logger.warning("The channel layer brings nothing; receiving begins anew.")
            if self._receiver is not None:
                self._receiver.cancel()
            self._receiver = self._spawn(self._receive())

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.get_running_loop().create_task(coroutine, context=self._context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _backoff(failures: int) -> float:
    return random.uniform(0.5, 1) * min(0.1 * 2.0 ** min(failures, 10), _MAX_BACKOFF_SECONDS)
