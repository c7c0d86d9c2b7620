"""Making the reports of a worker, from what its hub has open."""

import collections
import dataclasses
import heapq
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from django_sse.hub import Hub
from django_sse.metrics import metrics
from django_sse.reports import FLOWS, Close, GroupFigures, Report, shortened
from django_sse.traffic import Traffic
from django_sse.watching import is_report_group

__all__ = ["Reporter"]

_TOP_GROUPS = 20
_CLOSES = 20
_GROUPS_OF_A_CLOSE = 3
# A rate is that of so many seconds, where reports come more often than that.
_RATE_SECONDS = 2.0
_LAG_SECONDS = 10.0


class _Mark(NamedTuple):
    """What had been done at a moment of the loop's time."""

    time: float
    cpu: float
    flows: dict[str, int]


class Reporter:
    """
    Knows what a hub's reports are made of.

    Nothing is done for an event but to count it for its group; a report looks at each open stream.
    """

    def __init__(self, hub: Hub, worker: str) -> None:
        self._hub = hub
        self._worker = worker
        hub.traffic = Traffic(hub.loop.time)
        self._closes: collections.deque[Close] = collections.deque(maxlen=_CLOSES)
        self._highest = {"events_sent": 0, "bytes_sent": 0}
        self._lags: collections.deque[tuple[float, float]] = collections.deque()
        start = Report(counters=dataclasses.asdict(metrics))
        self._marks = collections.deque([self._mark(start)])
        self._sampled = self._marks[0]

    def ending(self, stream: Any) -> None:
        """Take note that *stream*, which is in its groups still, ends."""
        groups = sorted(stream.watched)
        close = Close(
            at=time.time(),
            reason=str(stream.reason),
            view=shortened(stream.view),
            path=shortened(stream.path),
            user_id=shortened(stream.visitor.user_id),
            groups=tuple(map(shortened, groups[:_GROUPS_OF_A_CLOSE])),
            group_count=len(groups),
            seconds=stream.seconds_open,
        )
        self._closes.appendleft(close)

    def note_lag(self, seconds: float) -> None:
        """Take note that the loop has woken somebody so much too late."""
        self._lags.append((self._hub.loop.time(), seconds))

    def report(self) -> Report:
        """Return the figures of now."""
        counters, queue_bytes, lagging = self._counters()
        report = Report(
            worker=self._worker,
            taken_at=time.time(),
            counters=counters,
            lagging=lagging,
            queue_bytes=queue_bytes,
            loop_lag=self._loop_lag(),
            groups=self._groups(),
            closes=tuple(self._closes),
        )
        mark = self._mark(report)
        while len(self._marks) > 1 and self._marks[1].time <= mark.time - _RATE_SECONDS:
            self._marks.popleft()
        before = self._marks[0]
        self._marks.append(mark)
        seconds = max(mark.time - before.time, 0.001)
        rates = {name: done / seconds for name, done in _since(before, mark).items()}
        cpu = (mark.cpu - before.cpu) / seconds
        return dataclasses.replace(report, rates=rates, cpu=cpu)

    def sample(self, report: Report) -> tuple[dict[str, float], Callable[[], None]]:
        """
        Return what has been done since the last sample, and the state of *report*, of now.

        The second is to be called when the sample has been kept; else the next one tells of it.
        """
        mark = self._mark(report)
        figures = {
            "seconds": mark.time - self._sampled.time,
            "streams": report.streams,
            "lagging": report.lagging,
            "queue_bytes": report.queue_bytes,
            **_since(self._sampled, mark),
        }

        def keep() -> None:
            self._sampled = mark

        return figures, keep

    def _mark(self, report: Report) -> _Mark:
        flows = {name: report.flow(name) for name in FLOWS}
        return _Mark(self._hub.loop.time(), time.process_time(), flows)

    def _counters(self) -> tuple[dict[str, int], int, int]:
        counters, streams = dataclasses.asdict(metrics), self._hub.streams
        queue_bytes = lagging = 0
        stream: Any
        for stream in streams:
            # They are added to the metrics when it ends.
            counters["events_sent"] += stream.events_sent
            counters["bytes_sent"] += stream.bytes_sent
            queue_bytes += stream.queued_bytes
            lagging += stream.is_lagging
        # A stream that is ending is neither here nor there for a moment.
        for name, before in self._highest.items():
            self._highest[name] = counters[name] = max(before, counters[name])
        return counters, queue_bytes, lagging

    def _groups(self) -> tuple[GroupFigures, ...]:
        assert self._hub.traffic is not None
        rates = self._hub.traffic.rates()
        readers = self._hub.audiences.sizes()
        # Not those by which the admin itself watches streams.
        for name in filter(is_report_group, (*readers, *rates)):
            readers.pop(name, None)
            rates.pop(name, None)
        chosen = {*_top(readers), *_top(rates)}
        return tuple(
            GroupFigures(shortened(name), readers.get(name, 0), rates.get(name, 0.0))
            for name in sorted(chosen)
        )

    def _loop_lag(self) -> float:
        since = self._hub.loop.time() - _LAG_SECONDS
        while self._lags and self._lags[0][0] < since:
            self._lags.popleft()
        return max((seconds for _, seconds in self._lags), default=0.0)


def _since(before: _Mark, now: _Mark) -> dict[str, int]:
    return {name: max(0, done - before.flows[name]) for name, done in now.flows.items()}


def _top(figures: Mapping[str, float]) -> Iterable[str]:
    return heapq.nlargest(_TOP_GROUPS, figures, key=figures.__getitem__)
