"""The last hour in steps."""

from typing import Any

from django_sse.overview.timeline import SERIES, Span, Timeline
from django_sse.reports import Report


def span(worker: str, start: float, end: float, **figures: float) -> Span:
    return Span(worker, start, end, figures)


def series(timeline: Timeline, name: str) -> list[float | None]:
    return [None if step is None else step[name] for step in timeline.steps]


def test_sums_are_spread_over_the_steps_that_a_span_touches() -> None:
    """As much to each as the span is in it; by the second."""
    spans = [span("a", 1005, 1025, events=40, streams=3)]
    timeline = Timeline.of(spans, [], 1035, steps=5)
    assert timeline.start == 980
    assert series(timeline, "events") == [None, None, 1, 2, 1]
    assert series(timeline, "streams") == [None, None, 1.5, 3, 1.5]
    assert timeline.sum("events") == 40
    assert timeline.peak("streams") == 3


def test_workers_are_added_up() -> None:
    """Where nobody was, nothing is known."""
    spans = [span("a", 1000, 1010, bytes=10), span("b", 1000, 1020, bytes=40)]
    assert series(Timeline.of(spans, [], 1020, steps=3), "bytes") == [None, 3, 2]


def test_report_stands_for_what_no_sample_tells_of_yet() -> None:
    """Of a worker that lives; one that is gone has no report, and a new one no sample."""
    spans = [span("a", 1000, 1005, events=10), span("gone", 1000, 1005, events=10)]
    reports = [Report(worker="a", rates={"events": 6.0}, counters={"streams_open": 4})]
    reports.append(Report(worker="new", rates={"events": 100.0}))
    timeline = Timeline.of(spans, reports, 1022, steps=2)
    assert series(timeline, "events") == [5, 6]
    assert series(timeline, "streams") == [2, 4]


def test_what_is_older_or_empty_is_left_out() -> None:
    """A span that began before the first step counts with its rest, a first sample with none."""
    spans = [span("a", 980, 1010, resets=30), span("b", 1005, 1005, resets=99)]
    assert series(Timeline.of(spans, [], 1010, steps=1), "resets") == [1]


def test_end_is_replaced_by_a_newer_one() -> None:
    """The oldest steps go, as many as have come."""
    hour = Timeline.of([span("a", 1000, 1040, drops=40)], [], 1040, steps=4)
    newer = Timeline.of([span("a", 1020, 1060, drops=120)], [], 1060, steps=4)
    hour.replace_end(newer)
    assert (hour.start, series(hour, "drops")) == (1020, [3, 3, 3, 3])


def test_end_is_replaced_after_a_gap() -> None:
    """A page that was paused for long has what was meanwhile read by then."""
    hour = Timeline.of([span("a", 1000, 1020, drops=20)], [], 1020, steps=2)
    hour.replace_end(Timeline.of([span("a", 1010, 1030, drops=40)], [], 1030, steps=2))
    assert (hour.start, series(hour, "drops")) == (1010, [2, 2])


def test_script_is_given_every_series() -> None:
    """With numbers that are not longer than needed."""
    timeline = Timeline.of([span("a", 1000, 1010, events=1234.5678, bytes=1.23456)], [], 1010, 2)
    told: Any = timeline.to_dict()
    assert (told["start"], told["step"]) == (990, 10)
    assert set(told["series"]) == set(SERIES)
    assert told["series"]["events"] == [None, 123]
    assert told["series"]["bytes"] == [None, 0.12]


def test_rows_are_means_of_five_minutes() -> None:
    """They begin at whole five minutes, the newest first; without workers there is none."""
    spans = [span("a", 600, 910, events=310), span("a", 910, 1200, events=0)]
    rows = Timeline.of(spans, [], 1800, steps=180).rows()
    assert [row["at"].timestamp() for row in rows] == [900, 600]
    assert [round(row["events"], 3) for row in rows] == [0.033, 1]
