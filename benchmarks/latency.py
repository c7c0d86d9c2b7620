"""
Latency: how long an event takes from the publish to the client, at a rate that leaves time.

``make bench BENCH=latency`` runs it; with ``BENCH_ARGS=--quick`` it checks that all of it works.
It needs Linux, and two cores that nothing else uses.

What is measured
    1,000 streams of one group, and 20 events a second: 20,000 deliveries a second. The load client
    (benchmarks/timed_load.py) publishes by its clock: each event at its time, by a command on the
    control connection, whether the one before has arrived or not. The publisher runs on the
    server's loop, as a view that publishes does; nchan and Pushpin are asked by HTTP, which is in
    their time. So a command that finds the server busy waits there, and the wait counts: a server
    cannot hide that it lags behind by being asked less often (coordinated omission).

    The time of a delivery runs from just before the command is written until the client has read
    its bytes. Both ends are of one process and one clock. The client's own part is in it, for
    every server alike: it reads one stream after the other, so the last of 1,000 that are ready
    at once waits for all others. It is not late with publishing by more than the JSON tells
    ("late_ms_p99"): it looks at the clock after every 32 streams.

What is reported
    The median and the 99th of a hundred of all deliveries of a run. Each server has the floor
    beside it: both are up on one core, each with its streams, and they take turns: the
    first in one round the last in the next. The ratio to the floor is taken within a run, of
    the deliveries of all its rounds. Deliveries that were lost have no time; they are counted. A
    server that cannot do 20,000 a second falls ever further behind: its times tell that, and
    depend on how long the turn is. The streams are read to the end before the next turn.
"""

import argparse
import contextlib
import gc
import statistics
import sys
import tempfile
import time
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import bars, limits, lineup, options, report
from benchmarks.bars import Bar
from benchmarks.measure import Session, counts_of
from benchmarks.peers import FLOOR, LABELS
from benchmarks.process import ServerProcess
from benchmarks.report import Spread, cell
from benchmarks.timed_load import TimedLoadClient
from benchmarks.turns import Run, in_turns

__all__: list[str] = []

# What the package promises: see --check.
_TIMES_FLOOR = 1.3
_CHECKED = "django_sse"

_USUAL = (
    "django_sse",
    "django_sse-daphne",
    "sse-starlette",
    "better-sse",
    "nchan",
    "django-eventstream",
)
_QUIET_SECONDS = 3.0
_FAULTS = ("lost", "repeated", "reordered")


class Plan(NamedTuple):
    """
    How much is measured.

    Attributes:
        streams: How many streams there are, all of one group.
        events_per_second: How often an event is published.
        rounds: How many turns a server has in a run.
        seconds: How long a turn lasts.
        rest_seconds: How long a server is left alone when its streams are open.
    """

    streams: int
    events_per_second: float
    rounds: int
    seconds: float
    rest_seconds: float


_FULL = Plan(streams=1_000, events_per_second=20, rounds=3, seconds=1.5, rest_seconds=2)
_QUICK = Plan(streams=100, events_per_second=20, rounds=2, seconds=0.5, rest_seconds=0)

#: Of a server and of the floor beside it.
Result = dict[str, dict[str, Any]]
#: A server, and its client.
Open = tuple[ServerProcess, TimedLoadClient]


class Turns:
    """A server with its streams, and what came of all its turns so far."""

    def __init__(self, server: ServerProcess, load: TimedLoadClient) -> None:
        self._session = Session(server, load)
        self._session.warm_up()
        self._load = load
        self._counts = dict.fromkeys(("expected", "deliveries", *_FAULTS), 0)
        self._cpu = 0.0

    def take(self, plan: Plan) -> None:
        """Publish for a turn, and read until everything has come."""
        session, load = self._session, self._load
        events = max(1, round(plan.seconds * plan.events_per_second))
        cpu = session.server.cpu_seconds()
        session.expect(events)
        tally = load.read_timed(
            lambda seq: session.server.command("burst", seq, 1),
            events,
            1 / plan.events_per_second,
            _QUIET_SECONDS,
        )
        for _ in range(events):
            session.server.wait_until_done()
        self._cpu += session.server.cpu_seconds() - cpu
        counts = counts_of(tally)
        for name in self._counts:
            self._counts[name] += counts[name]

    def result(self) -> dict[str, Any]:
        """Return the percentiles of all turns, and what was counted."""
        return {
            **self._counts,
            "p50_ms": _percentile(self._load.latencies, 50),
            "p99_ms": _percentile(self._load.latencies, 99),
            "max_ms": max(self._load.latencies, default=0) / 1e6,
            "late_ms_p99": _percentile(self._load.lateness, 99),
            "cpu_us_per_delivery": self._cpu / max(1, self._counts["deliveries"]) * 1e6,
        }


def main() -> int:
    """Run the benchmark and write its report. Return the exit status."""
    chosen = _parse()
    about = options.begin(chosen)
    with tempfile.TemporaryDirectory(prefix="django-sse-latency-") as path:
        directory = Path(path)
        with _open(FLOOR, chosen, directory) as floor:
            runs = in_turns(
                chosen.runs, chosen.servers, lambda name: _run(name, floor, chosen, directory)
            )
    _write(chosen, about, runs)
    return bars.check(_bars(runs)) if chosen.check else 0


def _parse() -> argparse.Namespace:
    parser = options.make_parser(
        "How long an event takes to the client.",
        runs=3,
        check=f"the 99th of a hundred is at most {_TIMES_FLOOR:g} times the floor's, and nothing"
        " is lost, repeated or reordered",
    )
    parser.add_argument("--streams", type=int, help="how many streams (1000; with --quick 100)")
    parser.add_argument("--rate", type=float, help="events a second (20)")
    parser.add_argument("--seconds", type=float, help="length of a turn (1.5; 0.5)")
    parser.add_argument("--rounds", type=int, help="of turns, in each run (3; 2)")
    lineup.add_option(parser, _USUAL)
    chosen = options.parse(parser)
    plan = _QUICK if chosen.quick else _FULL
    chosen.plan = plan._replace(
        streams=limits.at_most(chosen.streams or plan.streams),
        events_per_second=chosen.rate or plan.events_per_second,
        rounds=chosen.rounds or plan.rounds,
        seconds=chosen.seconds or plan.seconds,
    )
    lineup.choose(chosen, _CHECKED, parser)
    chosen.servers = [name for name in chosen.servers if name != FLOOR]
    return chosen


@contextlib.contextmanager
def _open(name: str, chosen: argparse.Namespace, directory: Path) -> Iterator[Open]:
    with ServerProcess(name, chosen.cores[0], directory) as server:
        load = TimedLoadClient(server.port, server.headers)
        try:
            load.open(chosen.plan.streams)
            # What opening leaves to do is over then: the rows of the registry.
            time.sleep(chosen.plan.rest_seconds)
            yield server, load
        finally:
            load.close()


def _run(
    name: str, floor: Open, chosen: argparse.Namespace, directory: Path
) -> tuple[Result, str]:
    floor[1].forget_times()
    with _open(name, chosen, directory) as (server, load):
        turns = {FLOOR: Turns(*floor), name: Turns(server, load)}
        gc.collect()
        gc.disable()
        try:
            for turn in range(chosen.plan.rounds):
                for each in turns if turn % 2 else reversed(turns):
                    turns[each].take(chosen.plan)
        finally:
            gc.enable()
        result = {each: turns[each].result() for each in turns}
    ours, least = result[name], result[FLOOR]
    return {"server": ours, "floor": least}, (
        f"p50 {ours['p50_ms']:.1f} ms, p99 {ours['p99_ms']:.1f}, lost {ours['lost']};"
        f" floor {least['p50_ms']:.1f}, {least['p99_ms']:.1f}"
    )


def _percentile(times: "array[int]", percent: int) -> float:
    """Return in milliseconds what *percent* of the nanoseconds *times* do not exceed."""
    if len(times) < 2:
        return max(times, default=0) / 1e6
    return statistics.quantiles(times, n=100, method="inclusive")[percent - 1] / 1e6


def _write(chosen: argparse.Namespace, about: dict[str, Any], runs: list[Run]) -> None:
    plan = chosen.plan
    head = [
        "",
        "p50, ms",
        "of the floor",
        "p99, ms",
        "of the floor",
        "lost, repeated, reordered",
    ]
    text = "\n\n".join(
        [
            report.table(
                head, [_floor_cells(runs), *(_cells(name, runs) for name in _names(runs))]
            ),
            f"{plan.streams:,} streams of one group, {plan.events_per_second:g} events a second,"
            f" {plan.rounds} turns of {plan.seconds:g} s a run beside the floor;"
            f" {report.of_runs(len(runs))}. Ratios are taken within each run.",
            report.conditions(about),
        ]
    )
    content = {"machine": about, "plan": plan._asdict(), "runs": runs}
    report.write("latency", text, content, chosen.output)


def _names(runs: list[Run]) -> list[str]:
    return [name for name in LABELS if name in runs[0]]


def _floor_cells(runs: list[Run]) -> list[str]:
    """Return the floor's line: beside every server, in every run."""
    results = [result["floor"] for run in runs for result in run.values()]

    def milliseconds(key: str) -> str:
        return cell(Spread.of([result[key] for result in results]), "{:.1f}".format)

    return [
        LABELS[FLOOR],
        milliseconds("p50_ms"),
        "1.0",
        milliseconds("p99_ms"),
        "1.0",
        _faults(results),
    ]


def _cells(name: str, runs: list[Run]) -> list[str]:
    results = [run[name]["server"] for run in runs]

    def of(key: str) -> list[str]:
        times = Spread.of([result[key] for result in results])
        return [cell(times, "{:.1f}".format), cell(_ratio(name, runs, key), "{:.2f}".format)]

    return [LABELS[name], *of("p50_ms"), *of("p99_ms"), _faults(results)]


def _faults(results: list[dict[str, Any]]) -> str:
    return ", ".join(f"{sum(result[fault] for result in results):,}" for fault in _FAULTS)


def _ratio(name: str, runs: list[Run], key: str) -> Spread:
    return Spread.of([run[name]["server"][key] / run[name]["floor"][key] for run in runs])


def _bars(runs: list[Run]) -> list[Bar]:
    """Return what the package promises of what was measured."""
    faults = sum(run[_CHECKED]["server"][fault] for run in runs for fault in _FAULTS)
    return [
        Bar(
            f"{_CHECKED}, p99, times the floor's",
            _ratio(_CHECKED, runs, "p99_ms").median,
            most=_TIMES_FLOOR,
        ),
        Bar(f"{_CHECKED}, lost, repeated or reordered", faults, most=0),
    ]


if __name__ == "__main__":
    sys.exit(main())
