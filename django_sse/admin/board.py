"""What the dashboard shows: of the registry, and of what the workers say of themselves."""

import dataclasses
import time
from collections.abc import Mapping
from typing import Any

from django.template.loader import render_to_string

from django_sse.admin.base import list_url
from django_sse.admin.users import user_names
from django_sse.conf import get_settings
from django_sse.events import ServerSentEvent
from django_sse.overview.figures import Overview, Registered, make_overview, read_workers
from django_sse.overview.timeline import STEP_SECONDS, Timeline, read_spans
from django_sse.pulses import Heard
from django_sse.registry.record import renewal_seconds
from django_sse.reports import Report

__all__ = ["FRAGMENTS", "Board"]

#: The parts of the page that are sent anew when they change: each a template, and an event.
FRAGMENTS = ("totals", "workers", "groups", "closes", "hour")

_TEMPLATES = "admin/django_sse/dashboard"
_WORKERS_SECONDS = 2.0
# A worker that is asked, and has not answered for so long, is silent.
_SILENT_SECONDS = 3.0


class Board:
    """
    One view of the dashboard. Its methods are for one thread at a time, and read the database.

    Args:
        alias: Of the database that has the registry.
        admin: The name of the admin site, for links.
    """

    def __init__(self, alias: str, admin: str) -> None:
        self._alias = alias
        self._admin = admin
        self._registered: list[Registered] = []
        self._clock_offset = 0.0
        self._began = time.monotonic()
        self._workers_read_at = -_WORKERS_SECONDS
        self._timeline_read_at = -float(STEP_SECONDS)
        self._timeline: Timeline | None = None
        self._names: dict[str, str] = {}
        self._sent: dict[str, str] = {}

    def context(self) -> dict[str, Any]:
        """Return what the templates of the page are given, by the registry alone."""
        self._read_workers()
        overview = make_overview(self._registered)
        self._read_timeline(overview)
        return self._context(overview)

    def events(self, heard: Mapping[str, Heard], now: float) -> list[ServerSentEvent]:
        """
        Return what has changed since the last time.

        Args:
            heard: The reports of the workers.
            now: The time of the loop at which they were heard.
        """
        if time.monotonic() - self._workers_read_at >= _WORKERS_SECONDS:
            self._read_workers()
        fresh = {name: one.report for name, one in heard.items() if now - one.at < _SILENT_SECONDS}
        overview = make_overview(self._registered, fresh, silent=self._silent(fresh))
        events = []
        if time.monotonic() - self._timeline_read_at >= STEP_SECONDS:
            read = self._read_timeline(overview)
            events.append(ServerSentEvent(read.to_dict(), event="history"))
        context = self._context(overview)
        for name in FRAGMENTS:
            html = render_to_string(f"{_TEMPLATES}/{name}.html", context)
            if self._sent.get(name) != html:
                self._sent[name] = html
                events.append(ServerSentEvent(html, event=name))
        events.append(ServerSentEvent(self._figures(overview), event="figures"))
        return events

    def _silent(self, fresh: Mapping[str, Report]) -> list[str]:
        if time.monotonic() - self._began < _SILENT_SECONDS:
            return []  # They have just been asked.
        return [row.worker.pk for row in self._registered if row.worker.pk not in fresh]

    def _read_workers(self) -> None:
        self._registered = read_workers(self._alias)
        self._workers_read_at = time.monotonic()
        if self._registered:
            self._clock_offset = self._registered[0].read_at.timestamp() - time.time()

    def _read_timeline(self, overview: Overview) -> Timeline:
        """Read the last hour, or its end if the rest is known; return what has been read."""
        self._timeline_read_at = time.monotonic()
        now, reports = self._now(), [figures.report for figures in overview.workers]
        if self._timeline is None:
            read = self._timeline = Timeline.of(read_spans(self._alias), reports, now)
        else:
            # As far back as a sample may reach that has come since the last time.
            steps = 2 + round(2 * (renewal_seconds() + STEP_SECONDS)) // STEP_SECONDS
            spans = read_spans(self._alias, (steps + 1) * STEP_SECONDS + renewal_seconds())
            read = Timeline.of(spans, reports, now, steps)
            self._timeline.replace_end(read)
        return read

    def _now(self) -> float:
        return time.time() + self._clock_offset

    def _context(self, overview: Overview) -> dict[str, Any]:
        assert self._timeline is not None
        return {
            **{
                field.name: getattr(overview, field.name) for field in dataclasses.fields(overview)
            },
            "history": self._timeline.to_dict(),
            "hour": self._timeline.rows(),
            "peak": max(self._timeline.peak("streams"), overview.totals.streams),
            "dropped": self._timeline.sum("drops"),
            "reset": self._timeline.sum("resets"),
            "lease_seconds": get_settings().lease_seconds,
            "closes": self._closes(overview),
            "connections_url": list_url("connection", self._admin),
            "workers_url": list_url("worker", self._admin),
        }

    def _figures(self, overview: Overview) -> dict[str, float]:
        totals = dataclasses.asdict(overview.totals)
        return {"at": round(self._now(), 2), **{k: round(v, 2) for k, v in totals.items()}}

    def _closes(self, overview: Overview) -> list[dict[str, Any]]:
        """Return the streams that have ended, with the names of their users."""
        wanted = {closed.close.user_id for closed in overview.closes} - {""}
        known = self._names
        if unknown := wanted - known.keys():
            known = {**known, **dict.fromkeys(unknown, ""), **user_names(unknown)}
        self._names = {user_id: known[user_id] for user_id in wanted}
        return [
            {**closed._asdict(), "user_name": self._names.get(closed.close.user_id, "")}
            for closed in overview.closes
        ]
