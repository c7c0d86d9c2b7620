"""The reports that all workers send while somebody watches."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from django_sse.conf import get_settings
from django_sse.exceptions import ChannelLayerUnavailable
from django_sse.groups import BROADCAST, WATCHERS, layer_group
from django_sse.hub import Hub
from django_sse.layers import get_layer, has_layer
from django_sse.metrics import metrics
from django_sse.reporting import Reporter
from django_sse.reports import Report

__all__ = ["PULSE_SECONDS", "Heard", "Pulses", "ignore_pulses", "until_tick"]

logger = logging.getLogger("django.sse")

#: How often a worker sends its report.
PULSE_SECONDS = 0.5

# The types of the messages in the channel layer.
_ASK_TYPE = "sse.ask"
_REPORT_TYPE = "sse.report"
# Who watches says so that often, and is believed for so long.
_ASK_SECONDS = 3.0
_WATCHED_SECONDS = 10.0
_EARLY_SECONDS = 0.05


def until_tick(offset: float = 0.0) -> float:
    """
    Return the seconds until the next time for reports, or *offset* behind that.

    By the clock of the machine: so those of all workers come together.
    """
    seconds = PULSE_SECONDS - (time.time() - offset) % PULSE_SECONDS
    # A clock may wake somebody a little early: that was this time, then.
    return seconds if seconds > _EARLY_SECONDS else seconds + PULSE_SECONDS


def ignore_pulses(hub: Hub) -> None:
    """Let *hub* be no part of it, where others are: its worker has no registry."""
    for kind in (_ASK_TYPE, _REPORT_TYPE):
        hub.handlers[kind] = lambda message: None


class Heard(NamedTuple):
    """A report, and when it came, by the loop's time in seconds."""

    report: Report
    at: float


class Pulses:
    """
    Sends the reports of one worker to whoever watches, and hears those of all.

    Nothing is sent while nobody watches. It is no group of the project's that carries them, and no
    event: no stream can be in it, and nothing of it is kept.

    Attributes:
        heard: The last report of each worker.
    """

    def __init__(self, hub: Hub, reporter: Reporter) -> None:
        self.heard: dict[str, Heard] = {}
        self._hub = hub
        self._reporter = reporter
        self._watchers = 0
        self._is_joined = False
        self._joining = asyncio.Lock()
        self._watched_until = 0.0
        self._beating: asyncio.Task[None] | None = None
        self._asking: asyncio.Task[None] | None = None
        hub.handlers[_ASK_TYPE] = lambda message: self._on_watch()
        hub.handlers[_REPORT_TYPE] = lambda message: self._hear(Report.of(message["report"]))

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Inside the block, hear every worker. Of one whose layer fails only this one is heard."""
        await self._join(is_again=False)
        self._watchers += 1
        if self._asking is None:
            self._asking = self._hub.spawn(self._ask())
        try:
            yield
        finally:
            self._watchers -= 1
            if not self._watchers:
                self._asking.cancel()
                self._asking = None
                self.heard.clear()
                if self._is_joined:
                    self._is_joined = False
                    self._hub.link.leave((WATCHERS,))

    async def _join(self, *, is_again: bool) -> None:
        async with self._joining:
            if self._is_joined or not has_layer():
                return
            try:
                await self._hub.link.join((WATCHERS,))
            except ChannelLayerUnavailable as error:
                if not is_again:
                    logger.warning("The reports of other workers are not heard: %s", error)
            else:
                self._is_joined = True

    async def _ask(self) -> None:
        while True:
            await self._join(is_again=True)
            self._on_watch()
            self._forget_the_silent()
            await self._send(BROADCAST, {"type": _ASK_TYPE})
            await asyncio.sleep(_ASK_SECONDS)

    def _on_watch(self) -> None:
        self._watched_until = self._hub.loop.time() + _WATCHED_SECONDS
        if self._beating is None and not self._hub.is_closing:
            self._beating = self._hub.spawn(self._beat())

    async def _beat(self) -> None:
        loop = self._hub.loop
        try:
            while loop.time() < self._watched_until:
                report = self._reporter.report()
                self._hear(report)
                await self._send(WATCHERS, {"type": _REPORT_TYPE, "report": report.to_dict()})
                due = loop.time() + until_tick()
                await asyncio.sleep(due - loop.time())
                self._reporter.note_lag(loop.time() - due)
        finally:
            self._beating = None

    def _hear(self, report: Report) -> None:
        if self._watchers:
            self.heard[report.worker] = Heard(report, self._hub.loop.time())

    def _forget_the_silent(self) -> None:
        since = self._hub.loop.time() - _WATCHED_SECONDS
        self.heard = {name: heard for name, heard in self.heard.items() if heard.at > since}

    async def _send(self, group: str, message: dict[str, Any]) -> None:
        if not has_layer():
            return
        try:
            async with asyncio.timeout(get_settings().channel_layer_timeout_seconds):
                await get_layer().group_send(layer_group(group), message)
        except Exception as error:
            metrics.layer_errors += 1
            logger.debug("The channel layer did not take a report: %r", error)

    def close(self) -> None:
        """Send and hear nothing more."""
        for task in (self._beating, self._asking):
            if task is not None:
                task.cancel()
