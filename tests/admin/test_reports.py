"""What a worker tells of itself."""

import asyncio
import json
from typing import Any

import pytest

from django_sse import apublish
from django_sse.hub import get_hub
from django_sse.metrics import metrics
from django_sse.reasons import CloseReason
from django_sse.reporting import Reporter
from django_sse.reports import Close, GroupFigures, Report
from django_sse.traffic import Traffic
from django_sse.visitors import Visitor
from django_sse.watching import report_group
from tests.clients import until
from tests.registry.conftest import open_many


class Clock:
    """A loop's time that a test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._loop = asyncio.get_running_loop()
        self.now = self._loop.time()
        monkeypatch.setattr(self._loop, "time", lambda: self.now)


def report_of(reporter: Reporter) -> Report:
    return Report.of(json.loads(json.dumps(reporter.report().to_dict())))


async def test_report_has_what_is_open_and_what_flows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams, counts and rates; of a group the readers, and its events by the second."""
    reporter = Reporter(get_hub(), "w1")
    streams = await open_many(3, "room")
    everyone = [*streams, *await open_many(1, "hall")]
    metrics.streams_opened = 4
    await apublish("room", "hello")
    await until(lambda: streams[0].events_sent)
    clock = Clock(monkeypatch)
    first = reporter.report()
    clock.now += 2
    report = report_of(reporter)
    assert (report.worker, report.streams) == ("w1", 4)
    assert report.counters["events_sent"] == 3
    assert report.counters["bytes_sent"] == sum(stream.bytes_sent for stream in everyone)
    assert first.rates["events"] > 0
    assert report.rates["events"] == 0  # None in the last two seconds.
    assert {group.name: group.readers for group in report.groups} == {"room": 3, "hall": 1}
    events = {group.name: group.events for group in report.groups}
    assert events["room"] > events["hall"] == 0


async def test_rates_are_of_the_last_two_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports that come more often than that do not make them jump."""
    clock, reporter = Clock(monkeypatch), Reporter(get_hub(), "")
    rates = []
    for sent in (0, 40, 40, 40, 40, 40):
        metrics.events_sent += sent
        rates.append(reporter.report().rates["events"])
        clock.now += 0.5
    assert rates[1:] == [80, 80, 80, 80, 80]
    clock.now += 1.5
    assert reporter.report().rates["events"] == 0


async def test_closes_are_told_the_newest_first() -> None:
    """Each with the reason, the user and the groups that it had; of so many at most."""
    from django_sse.registrar import Registrar

    registrar = Registrar.of(get_hub())
    [stream] = await open_many(1, "b", "a", visitor=Visitor(user_id="7"))
    stream.end(CloseReason.SLOW)
    for other in await open_many(30, "a"):
        other.end(CloseReason.CLIENT)
    [last] = await open_many(1, *"dcba", visitor=Visitor(user_id="8"))
    last.end(CloseReason.SEND_TIMEOUT)
    assert registrar._reporter is not None
    closes = report_of(registrar._reporter).closes
    assert len(closes) == 20
    newest = closes[0]
    assert (newest.reason, newest.user_id) == ("send timeout", "8")
    assert (newest.groups, newest.group_count) == (("a", "b", "c"), 4)
    assert newest.is_trouble
    assert not closes[1].is_trouble
    assert 0 <= newest.seconds < 60


async def test_stream_on_its_way_out_makes_no_count_go_back() -> None:
    """Its events are in no open stream any more, and not in the metrics yet."""
    reporter = Reporter(get_hub(), "")
    [stream] = await open_many(1, "room")
    stream._own_events = 100
    before, keep = reporter.sample(reporter.report())
    keep()
    stream.end(CloseReason.CLIENT)
    assert metrics.events_sent == 0
    between, keep = reporter.sample(reporter.report())
    keep()
    await until(lambda: metrics.events_sent == 100)
    metrics.events_sent += 10
    after, _ = reporter.sample(reporter.report())
    assert [sample["events"] for sample in (before, between, after)] == [100, 0, 10]


async def test_sample_that_was_not_kept_is_in_the_next_one() -> None:
    """What the database did not take is not lost from the charts."""
    reporter = Reporter(get_hub(), "")
    metrics.streams_opened += 5
    lost, _ = reporter.sample(reporter.report())
    metrics.streams_opened += 2
    told, keep = reporter.sample(reporter.report())
    keep()
    nothing, _ = reporter.sample(reporter.report())
    assert [one["opened"] for one in (lost, told, nothing)] == [5, 7, 0]


async def test_lag_is_the_worst_of_the_last_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is seen for a while, and then forgotten."""
    clock, reporter = Clock(monkeypatch), Reporter(get_hub(), "")
    reporter.note_lag(0.4)
    clock.now += 6
    reporter.note_lag(0.1)
    assert reporter.report().loop_lag == 0.4
    clock.now += 6
    assert reporter.report().loop_lag == 0.1


def test_report_of_another_version_is_read_as_far_as_it_is_known() -> None:
    """Workers of two versions run side by side while one takes the other's place."""
    group, close = ["room", 3, 1.5], [1.0, "too slow", "v", "/p/", "7", ["room"], 1, 2.0]
    given: dict[str, Any] = {
        "counters": {"streams_open": 2},
        "groups": [group, ["room", 3]],
        "closes": [close, [*close, "more"]],
        "unknown": 1,
    }
    report = Report.of(given)
    assert (report.streams, report.worker, report.flow("events")) == (2, "", 0)
    assert report.groups == (GroupFigures("room", 3, 1.5),)
    assert report.closes == (Close(1.0, "too slow", "v", "/p/", "7", ("room",), 1, 2.0),)
    assert Report.of({}) == Report()


async def test_long_names_are_cut() -> None:
    """A report stays small whatever a group is called."""
    reporter = Reporter(get_hub(), "")
    await open_many(1, "x" * 5000)
    [group] = reporter.report().groups
    assert group.name == "x" * 199 + "…"


def test_traffic_forgets_what_is_past() -> None:
    """A group without events for ten seconds is none that has traffic."""
    now = 0.0
    traffic = Traffic(lambda: now)
    traffic.counts["room"] += 10
    now = 5.0
    assert traffic.rates() == {"room": 2}
    traffic.counts["hall"] += 20
    now = 10.0
    assert traffic.rates() == {"room": 1, "hall": 2}
    now = 15.0
    assert traffic.rates() == {"hall": 2}
    now = 20.0
    assert traffic.rates() == {}


async def test_groups_of_the_admins_own_are_left_out() -> None:
    """By which a stream's page hears of it: nobody can look at them."""
    reporter = Reporter(get_hub(), "")
    await open_many(1, "room", report_group("0123"))
    assert [group.name for group in reporter.report().groups] == ["room"]
