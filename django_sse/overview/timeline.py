"""The last hour, for charts: what all workers have done, in steps of some seconds."""

import dataclasses
import datetime
import json
import math
from collections.abc import Iterable
from typing import Any, NamedTuple

from django_sse.models import DatabaseNow, Sample
from django_sse.registry.samples import KEPT_SECONDS
from django_sse.reports import FLOWS, Report

__all__ = ["GAUGES", "SERIES", "STEP_SECONDS", "Span", "Timeline", "read_spans"]

#: One point of a chart is for so many seconds.
STEP_SECONDS = 10
#: What a sample has as of its moment.
GAUGES = ("streams", "lagging", "queue_bytes")
SERIES = (*GAUGES, *FLOWS)

_STEPS = KEPT_SECONDS // STEP_SECONDS


class Span(NamedTuple):
    """
    What one worker has done in some seconds.

    Attributes:
        worker: Its id.
        start: The first moment, in seconds of Unix time by the clock of the database.
        end: The last.
        figures: GAUGES as of the end, and the sums of FLOWS.
    """

    worker: str
    start: float
    end: float
    figures: dict[str, float]


def read_spans(alias: str, seconds: float = KEPT_SECONDS) -> list[Span]:
    """
    Return those of the last *seconds* that end in them.

    A span begins where the worker's one before it ends: what a sample takes to be written, which
    may be long on a busy machine, leaves no hole and makes nothing count twice.
    """
    since = DatabaseNow() - datetime.timedelta(seconds=seconds)
    rows = Sample.objects.using(alias).filter(taken_at__gte=since).order_by("pk")
    spans, ends = [], dict[str, float]()
    for worker, taken_at, text in rows.values_list("worker_id", "taken_at", "figures_json"):
        figures = json.loads(text)
        end = taken_at.timestamp()
        start = ends.get(worker, end - figures.get("seconds", 0.0))
        spans.append(Span(worker, start, end, figures))
        ends[worker] = end
    return spans


def _until_now(spans: Iterable[Span], reports: Iterable[Report], now: float) -> list[Span]:
    """Return spans from each worker's last sample to *now*, as if its rates had been those."""
    ends: dict[str, float] = {}
    for span in spans:
        ends[span.worker] = max(span.end, ends.get(span.worker, 0.0))
    found = []
    for report in reports:
        start = ends.get(report.worker)
        if start is not None and start < now:
            figures: dict[str, float] = {
                "streams": report.streams,
                "lagging": report.lagging,
                "queue_bytes": report.queue_bytes,
            }
            figures.update((name, report.rates.get(name, 0.0) * (now - start)) for name in FLOWS)
            found.append(Span(report.worker, start, now, figures))
    return found


@dataclasses.dataclass(slots=True)
class Timeline:
    """
    The averages of all workers together, step by step; those of FLOWS are per second.

    Attributes:
        start: The beginning of the first step, in seconds of Unix time.
        steps: The averages of each step by name; None where no worker was there.
    """

    start: int
    steps: list[dict[str, float] | None]

    @classmethod
    def of(
        cls, spans: Iterable[Span], reports: Iterable[Report], now: float, steps: int = _STEPS
    ) -> "Timeline":
        """
        Return the last *steps* that are over at *now*.

        Args:
            spans: What the workers have done.
            reports: Those of the workers that live; they stand for what is in no span yet.
            now: Seconds of Unix time by the clock of the database.
            steps: How many.
        """
        end = math.floor(now / STEP_SECONDS)
        sums: list[dict[str, float] | None] = [None] * steps
        spans = list(spans)
        for span in [*spans, *_until_now(spans, reports, now)]:
            _spread(span, sums, end - steps)
        return cls((end - steps) * STEP_SECONDS, sums)

    def replace_end(self, newer: "Timeline") -> None:
        """Take the steps of *newer*, and drop as many of the oldest as are too many."""
        known = (newer.start - self.start) // STEP_SECONDS
        steps = [*self.steps[:known], *newer.steps]
        dropped = max(0, len(steps) - len(self.steps))
        self.start += dropped * STEP_SECONDS
        self.steps = steps[dropped:]

    def sum(self, name: str) -> float:
        """Return how much of one of FLOWS there has been."""
        return sum(step[name] for step in self.steps if step) * STEP_SECONDS

    def peak(self, name: str) -> float:
        """Return the greatest of one series."""
        return max((step[name] for step in self.steps if step), default=0.0)

    def to_dict(self) -> dict[str, Any]:
        """Return what the charts' script is given, with numbers that are no longer than needed."""
        series = {
            name: [None if step is None else _rounded(step[name]) for step in self.steps]
            for name in SERIES
        }
        return {"start": self.start, "step": STEP_SECONDS, "series": series}

    def rows(self, seconds: int = 300) -> list[dict[str, Any]]:
        """Return the averages of longer steps that had any worker, the newest first."""
        rows: dict[int, list[dict[str, float]]] = {}
        for number, step in enumerate(self.steps):
            if step is not None:
                start = self.start + number * STEP_SECONDS
                rows.setdefault(start - start % seconds, []).append(step)
        found = []
        for start, steps in rows.items():
            at = datetime.datetime.fromtimestamp(start, datetime.UTC)
            means = {name: sum(step[name] for step in steps) / len(steps) for name in SERIES}
            found.append({"at": at, **means})
        return found[::-1]


def _spread(span: Span, sums: list[dict[str, float] | None], first: int) -> None:
    """Add what *span* has to each of the steps that it touches, as much as it is in there."""
    length = span.end - span.start
    if length <= 0:
        return
    from_step = max(math.floor(span.start / STEP_SECONDS), first)
    until_step = min(math.ceil(span.end / STEP_SECONDS), first + len(sums))
    for step in range(from_step, until_step):
        start, end = step * STEP_SECONDS, (step + 1) * STEP_SECONDS
        overlap = min(end, span.end) - max(start, span.start)
        into = sums[step - first]
        if into is None:
            into = sums[step - first] = dict.fromkeys(SERIES, 0.0)
        for name in GAUGES:
            into[name] += span.figures.get(name, 0.0) * overlap / STEP_SECONDS
        for name in FLOWS:
            into[name] += span.figures.get(name, 0.0) * overlap / length / STEP_SECONDS


def _rounded(value: float) -> float:
    return round(value, 2) if value < 100 else round(value)
