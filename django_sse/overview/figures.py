"""The figures of all workers together."""

import dataclasses
import datetime
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from django.db.models import DateTimeField, ExpressionWrapper

from django_sse.models import DatabaseNow, Worker
from django_sse.registry.record import renewal_seconds
from django_sse.reports import FLOWS, Close, Report

__all__ = [
    "ClosedStream",
    "GroupTotals",
    "Overview",
    "Registered",
    "Totals",
    "WorkerFigures",
    "make_overview",
    "read_workers",
]

_TOP_GROUPS = 10
_CLOSES = 20
# A lease is late when a renewal has been left out.
_LATE_RENEWALS = 1.5
_BUSY_CPU = 0.9
_SLOW_SECONDS = 0.25


class Registered(NamedTuple):
    """
    A worker whose lease runs.

    Attributes:
        worker: Its row.
        lease_age: How long ago it has renewed its lease, in seconds.
        read_at: When that was, by the clock of the database.
    """

    worker: Worker
    lease_age: float
    read_at: datetime.datetime


def read_workers(alias: str) -> list[Registered]:
    """Return the workers that live, by their names."""
    now = ExpressionWrapper(DatabaseNow(), output_field=DateTimeField())
    rows = Worker.live.using(alias).annotate(read_at=now).order_by("hostname", "pid", "pk")
    found = []
    row: Any
    for row in rows:
        ends_in = (row.lease_until - row.read_at).total_seconds()
        found.append(Registered(row, max(0.0, 3 * renewal_seconds() - ends_in), row.read_at))
    return found


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class WorkerFigures:
    """
    One worker.

    Attributes:
        name: Its host and its process id.
        worker: Its row; None where it has not been written yet.
        lease_age: See Registered; None without a row.
        is_late: Whether a renewal of the lease is overdue.
        is_silent: Whether it does not answer, though it is asked.
        report: Its latest.
    """

    name: str
    worker: Worker | None
    lease_age: float | None
    is_late: bool
    is_silent: bool
    report: Report

    @property
    def is_busy(self) -> bool:
        """Whether its process uses about all of a core."""
        return self.report.cpu >= _BUSY_CPU

    @property
    def is_slow(self) -> bool:
        """Whether its loop is so late that people may notice."""
        return self.report.loop_lag >= _SLOW_SECONDS


@dataclasses.dataclass(slots=True, kw_only=True)
class Totals:
    """Sums over all workers; those of FLOWS are per second."""

    workers: int = 0
    streams: int = 0
    lagging: int = 0
    queue_bytes: int = 0
    events: float = 0.0
    bytes: float = 0.0
    opened: float = 0.0
    drops: float = 0.0
    resets: float = 0.0

    def add(self, report: Report) -> None:
        """Add one worker."""
        self.workers += 1
        self.streams += report.streams
        self.lagging += report.lagging
        self.queue_bytes += report.queue_bytes
        for name in FLOWS:
            setattr(self, name, getattr(self, name) + report.rates.get(name, 0.0))


@dataclasses.dataclass(slots=True, kw_only=True)
class GroupTotals:
    """
    One group on all workers that have it among their first ones.

    Attributes:
        name: Its name.
        readers: How many streams and subscriptions are in it.
        events: How many events come, per second: each worker with readers gets each event.
        sent: How many times one is handed to a reader, per second.
    """

    name: str
    readers: int = 0
    events: float = 0.0
    sent: float = 0.0


class ClosedStream(NamedTuple):
    """A stream that has ended: when, on which worker, and what was known of it."""

    at: datetime.datetime
    worker: str
    close: Close


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """All of one moment."""

    totals: Totals
    workers: Sequence[WorkerFigures]
    audiences: Sequence[GroupTotals]
    traffic: Sequence[GroupTotals]
    closes: Sequence[ClosedStream]


def make_overview(
    registered: Iterable[Registered],
    heard: Mapping[str, Report] | None = None,
    *,
    silent: Iterable[str] = (),
) -> Overview:
    """
    Put the workers together.

    Args:
        registered: Those of the registry.
        heard: Reports that are fresher than the registry's, by the ids of their workers.
        silent: The ids of the workers that do not answer.
    """
    fresh, are_silent = dict(heard or {}), set(silent)
    workers = []
    for worker, lease_age, _ in registered:
        report = fresh.pop(worker.pk, None) or Report.of(worker.report)
        workers.append(
            WorkerFigures(
                name=str(worker),
                worker=worker,
                lease_age=lease_age,
                is_late=lease_age > _LATE_RENEWALS * renewal_seconds(),
                is_silent=worker.pk in are_silent,
                report=report,
            )
        )
    workers += [_new(report) for name, report in fresh.items() if name not in are_silent]
    totals = Totals()
    for figures in workers:
        totals.add(figures.report)
    groups = _groups(figures.report for figures in workers)
    return Overview(
        totals=totals,
        workers=workers,
        audiences=_top([group for group in groups if group.readers], "readers"),
        traffic=_top([group for group in groups if group.sent], "sent"),
        closes=_closes(workers),
    )


def _new(report: Report) -> WorkerFigures:
    name = report.worker[:8]
    return WorkerFigures(
        name=name, worker=None, lease_age=None, is_late=False, is_silent=False, report=report
    )


def _groups(reports: Iterable[Report]) -> list[GroupTotals]:
    found: dict[str, GroupTotals] = {}
    for report in reports:
        for name, readers, events in report.groups:
            group = found.setdefault(name, GroupTotals(name=name))
            group.readers += readers
            group.events = max(group.events, events)
            group.sent += events * readers
    return list(found.values())


def _top(groups: Iterable[GroupTotals], figure: str) -> list[GroupTotals]:
    return sorted(groups, key=lambda group: (-getattr(group, figure), group.name))[:_TOP_GROUPS]


def _closes(workers: Iterable[WorkerFigures]) -> list[ClosedStream]:
    found = [
        ClosedStream(datetime.datetime.fromtimestamp(close.at, datetime.UTC), figures.name, close)
        for figures in workers
        for close in figures.report.closes
    ]
    return sorted(found, key=lambda closed: closed.at, reverse=True)[:_CLOSES]
