"""
Own groups: 1,000 streams, each of a group of its own, and one event to each of the groups.

``make bench BENCH=owngroups`` runs it; with ``BENCH_ARGS=--quick`` it checks that all of it works.
It needs Linux, and two cores that nothing else uses.

What is measured
    As in benchmarks/fanout.py, on the same servers; but a round is one event to each of the
    groups, each by a publish of its own, so an event reaches one stream, and nothing that is done
    for a publish is shared by many. The next round begins when the load client has told that all
    streams have the event of this one.

    Where a publish waits for another process, Redis, 50 run at the same time, or it would be a
    measure of round trips. django-eventstream has no such call: its send_event() waits in the
    loop's thread. nchan's are requests pipelined on one connection, Pushpin's the items of one
    request.

What is reported
    As in benchmarks/fanout.py. What is on Redis is held against django-eventstream on Redis.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import bars, options, peers, report, server_plot, services
from benchmarks.bars import Bar
from benchmarks.measure import Plan, measure
from benchmarks.report import Spread, cell, ratio_of, rounded
from benchmarks.turns import Run, in_turns

SERVERS = (
    "c-floor",
    "floor",
    "django_sse",
    "django_sse-no-history",
    "django_sse-redis",
    "django_sse-pubsub",
    "nchan",
    "pushpin",
    "better-sse",
    "aiohttp-sse",
    "sse-starlette",
    "django-eventstream",
    "django-eventstream-redis",
)

_FIGURE = "![Deliveries a second and CPU time a delivery, by server](images/owngroups.svg)"
_FAULTS = ("lost", "repeated", "reordered")
_STREAMS, _QUICK_STREAMS = 1_000, 50


def main() -> int:
    """Run the benchmark and write its report. Return the exit status."""
    chosen = _parse()
    about = options.begin(chosen)
    with tempfile.TemporaryDirectory(prefix="django-sse-owngroups-") as path:
        directory = Path(path)
        try:
            runs = in_turns(
                chosen.runs, chosen.servers, lambda name: _measure(name, chosen, directory)
            )
        finally:
            if any(name in peers.ON_REDIS for name in chosen.servers):
                services.forget_redis_keys(directory)
    _write(chosen, about, runs)
    return bars.check(_bars(runs)) if chosen.check else 0


def _parse() -> argparse.Namespace:
    parser = options.make_parser(
        "One event to each of many groups, of one stream each.",
        runs=3,
        check="django_sse loses nothing, and is as fast as is promised",
    )
    parser.add_argument("--streams", type=int, help="how many streams (1000; with --quick 50)")
    parser.add_argument("--seconds", type=float, help="how long each is measured (3; 0.3)")
    parser.add_argument(
        "--servers", nargs="+", choices=SERVERS, default=list(SERVERS), metavar="NAME",
        help=f"some of: {' '.join(SERVERS)}",
    )  # fmt: skip
    chosen = options.parse(parser)
    streams = chosen.streams or (_QUICK_STREAMS if chosen.quick else _STREAMS)
    chosen.plan = Plan(
        streams=streams,
        paced_seconds=chosen.seconds or (0.3 if chosen.quick else 3),
        burst_events=0,
        bursts=0,
        rounds=0,
        round_seconds=0,
        groups=streams,
        least_events=5,
    )
    chosen.servers = peers.those_here(chosen.servers)
    if not chosen.servers:
        parser.error("There is nothing to measure.")
    return chosen


def _measure(name: str, chosen: argparse.Namespace, directory: Path) -> tuple[dict[str, Any], str]:
    result = measure(name, chosen.cores[0], directory, chosen.plan)
    paced = result["paced"]
    return result, (
        f"{paced['deliveries_per_second']:,.0f}/s, {paced['cpu_us_per_delivery']:.1f} µs,"
        f" lost {paced['lost']}"
    )


def _peer_of(name: str) -> str:
    return f"{peers.PEER}-redis" if name in peers.ON_REDIS else peers.PEER


def _write(chosen: argparse.Namespace, about: dict[str, Any], runs: list[Run]) -> None:
    head = [
        "",
        "deliveries a second",
        "of the floor",
        "times django-eventstream on the same",
        "server CPU, µs a delivery",
        "lost, repeated, reordered",
    ]
    streams = chosen.plan.streams
    text = "\n\n".join(
        [
            report.table(head, (_cells(name, runs) for name in SERVERS if name in runs[0])),
            f"{streams:,} streams, each of a group of its own; {report.of_runs(len(runs))}. Ratios"
            " are taken within each run, of what is on Redis to django-eventstream on Redis.",
            report.conditions(about),
        ]
    )
    content = {"machine": about, "plan": chosen.plan._asdict(), "runs": runs}
    report.write("owngroups", text, content, chosen.output, figure=_FIGURE)
    drawn = {name: _measured(name, runs) for name in SERVERS if name in runs[0]}
    title = f"One event to each of {streams:,} streams' own groups: {report.of_runs(len(runs))}"
    server_plot.plot("owngroups", drawn, title, chosen.output)


def _measured(name: str, runs: list[Run]) -> tuple[Spread, Spread]:
    """Return the deliveries a second, and what each costs the server."""
    keys = ("deliveries_per_second", "cpu_us_per_delivery")
    rate, cpu = (Spread.of([run[name]["paced"][key] for run in runs]) for key in keys)
    return rate, cpu


def _cells(name: str, runs: list[Run]) -> list[str]:
    rate, cpu = _measured(name, runs)
    return [
        peers.LABELS[name],
        cell(rate, rounded),
        cell(ratio_of(runs, name, peers.FLOOR), "{:.0%}".format),
        cell(ratio_of(runs, name, _peer_of(name)), "{:.1f}".format),
        cell(cpu, "{:.1f}".format),
        ", ".join(str(sum(run[name]["paced"][fault] for run in runs)) for fault in _FAULTS),
    ]


def _bars(runs: list[Run]) -> list[Bar]:
    """Return what the package promises of what was measured."""
    found = []
    promises = [("django_sse", peers.FLOOR, 0.75)]
    promises += [
        (f"django_sse-{layer}", f"{peers.PEER}-redis", 5) for layer in ("redis", "pubsub")
    ]
    for name, other, least in promises:
        if ratio := ratio_of(runs, name, other):
            found.append(Bar(f"{name}, times {other}", ratio.median, least=least))
        if name in runs[0]:
            faults = sum(run[name]["paced"][fault] for run in runs for fault in _FAULTS)
            found.append(Bar(f"{name}, lost, repeated or reordered", faults, most=0))
    return found


if __name__ == "__main__":
    sys.exit(main())
