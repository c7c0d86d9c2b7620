"""
Fan-out: one event to 1,000 open streams of one group, this package beside its peers.

``make bench BENCH=fanout`` runs it; with ``BENCH_ARGS=--quick`` it checks in under two minutes
that all of it works, with too little of everything for figures. It needs Linux, and two cores that
nothing else uses.

What is measured
    Each server in turn is a process of its own, pinned to one core. The load client is this
    process, pinned to another: it opens the streams and accounts for every event of each of them
    by its number (benchmarks/load.py). The publisher is in the server's process, on its event
    loop, and publishes as the server's documentation shows; a socket from here drives it
    (benchmarks/publisher.py). An event is about 200 bytes of JSON, encoded by whoever publishes.

    Paced: the next event is published when the load client has told that the last one has reached
    every stream. So nothing can be lost for want of room, every server does the same work (one
    event, one write to each stream), none can join events into one write, and none is measured at
    a rate that was chosen to suit another. A rate found by search would not be the same for all:
    a server that joins what has piled up takes more events a second the further it lags behind,
    until it loses some. The price is a round trip an event in which the server rests: with 1,000
    streams a few per cent of the fastest one's time. "server_core_share" in the JSON tells.

    Burst: 200 events are published without a pause. Here joining is allowed, and losing is
    counted. The time runs from the command to the last delivery.

What is reported
    Deliveries (one event that reached one stream) a second; microseconds of the server's CPU time
    a delivery, user and system, all threads of all its processes; events lost, repeated, out of
    order. The servers take turns within each run, in another order each time; of the runs the
    median is given, with the least and the greatest. A ratio is taken within a run, then its
    median.

    The load client's ceiling is how fast it reads deliveries, one a read, that are already there.
    It has to be well above the floor's rate, or the client would be what is measured; the share
    of its core that the floor used says the same from the other side.

    What history costs is too little for servers in turn to show: that is measured by pairs of
    servers beside each other (benchmarks/pairs.py).

What each server needed
    This package: CHANNEL_LAYERS; on Redis with the capacity that its documentation advises. It
    keeps history and writes ids, as it comes; one line without shows what the others do, which
    keep none. django-eventstream: in one process, in its in-memory mode and on Redis. Both have
    the middleware of startproject, an SQLite database, and streams of a logged-in user's session
    behind login_required. sse-starlette and aiohttp-sse: a queue for each stream, as they have no
    groups; better-sse: a channel for each group; no middleware. nchan and Pushpin are programs of
    their own, and an event is a request to them, from a process on the same core whose CPU time
    counts. The floors: no HTTP parser, no ASGI. See the docstrings in benchmarks/servers/.
    Measuring begins when three events in a row have reached all streams, as django-eventstream
    loses what is published while a stream opens. What is not here is named and left out.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import bars, fanout_report, options, pairs, peers, report, server_plot, services
from benchmarks.fanout_report import OWN_IDS
from benchmarks.measure import Plan, measure, measure_bursts_with_own_ids
from benchmarks.turns import Run, in_turns

# What the package promises: see --check, and fanout_report.bars().
_MAX_COST = 0.10
#: Who else has ids that differ from stream to stream?
_WITH_OWN_IDS = ("django_sse",)

_FULL = Plan(
    streams=1_000, paced_seconds=3, burst_events=200, bursts=2, rounds=12, round_seconds=0.5
)
_QUICK = Plan(
    streams=200, paced_seconds=0.3, burst_events=50, bursts=1, rounds=4, round_seconds=0.2
)
_FIGURE = "![Deliveries a second and CPU time a delivery, by server](images/fanout.svg)"


def main() -> int:
    """Run the benchmark and write its report. Return the exit status."""
    chosen = _parse()
    about = options.begin(chosen)
    costs: list[dict[str, list[pairs.Round]]] = []
    with tempfile.TemporaryDirectory(prefix="django-sse-fanout-") as path:
        directory = Path(path)
        try:
            runs = in_turns(
                chosen.runs, chosen.servers, lambda name: _measure(name, chosen, directory)
            )
            costs += (_run_pairs(number, chosen, directory) for number in range(chosen.runs))
        finally:
            if any(name in peers.ON_REDIS for name in (*chosen.servers, *chosen.pairs)):
                services.forget_redis_keys(directory)
    rows, cost = fanout_report.summarize(runs), pairs.summarize(costs)
    _write(chosen, about, runs, rows, costs, cost)
    return _check(runs, cost) if chosen.check else 0


def _parse() -> argparse.Namespace:
    parser = options.make_parser(
        "Fan-out to many streams of one group.",
        runs=3,
        check="django_sse loses nothing, is as fast as is promised beside the floor and each peer"
        f" that was measured, and history costs at most {_MAX_COST:.0%}",
    )
    parser.add_argument("--streams", type=int, help="how many streams (1000; with --quick 200)")
    parser.add_argument("--seconds", type=float, help="length of the paced part (3; 0.5)")
    parser.add_argument("--rounds", type=int, help="of each pair, in each run (12; 4)")
    parser.add_argument(
        "--servers", nargs="*", choices=peers.LABELS, default=list(peers.LABELS), metavar="NAME",
        help=f"some of: {' '.join(peers.LABELS)}; with no name none",
    )  # fmt: skip
    parser.add_argument(
        "--pairs", nargs="*", choices=pairs.PAIRS, metavar="NAME",
        help=f"what history costs, for some of: {' '.join(pairs.PAIRS)}; with no name for none",
    )  # fmt: skip
    chosen = options.parse(parser)
    _choose_servers(chosen, parser)
    plan = _QUICK if chosen.quick else _FULL
    chosen.plan = plan._replace(
        streams=chosen.streams or plan.streams,
        paced_seconds=chosen.seconds or plan.paced_seconds,
        rounds=chosen.rounds or plan.rounds,
    )
    return chosen


def _choose_servers(chosen: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    chosen.servers = peers.those_here(chosen.servers)
    chosen.pairs = peers.those_here(pairs.PAIRS if chosen.pairs is None else chosen.pairs)
    if not chosen.servers and not chosen.pairs:
        parser.error("There is nothing to measure.")


def _measure(name: str, chosen: argparse.Namespace, directory: Path) -> tuple[dict[str, Any], str]:
    core, plan = chosen.cores[0], chosen.plan
    result = measure(name, core, directory, plan)
    paced, burst = result["paced"], result["burst"]
    words = (
        f"{paced['deliveries_per_second']:,.0f}/s paced,"
        f" {paced['cpu_us_per_delivery']:.1f} µs, lost {paced['lost']};"
        f" burst {burst['deliveries_per_second']:,.0f}/s, lost {burst['lost']}"
    )
    if name in _WITH_OWN_IDS:
        own = result[OWN_IDS] = measure_bursts_with_own_ids(name, core, directory, plan)
        words += f"; own ids {own['deliveries_per_second']:,.0f}/s, lost {own['lost']}"
    return result, words


def _run_pairs(
    number: int, chosen: argparse.Namespace, directory: Path
) -> dict[str, list[pairs.Round]]:
    results = {}
    for name in chosen.pairs:
        print(f"run {number + 1}: {name} beside {pairs.PAIRS[name]} … ", end="", flush=True)
        rounds = pairs.measure_pair(name, chosen.cores[0], directory, chosen.plan)
        results[name] = rounds
        cost = pairs.summarize([{name: rounds}])[name]
        print(f"{cost.rate.median:.0%} of the deliveries/s, {cost.cpu.median:.0%} of the CPU time")
    return results


def _write(
    chosen: argparse.Namespace,
    about: dict[str, Any],
    runs: list[Run],
    rows: dict[str, fanout_report.Row],
    costs: list[dict[str, list[pairs.Round]]],
    cost: dict[str, pairs.Cost],
) -> None:
    plan, parts = chosen.plan, []
    if rows:
        parts += [fanout_report.table(rows), _conditions(plan, runs)]
    if cost:
        rounds = len(runs) * plan.rounds
        parts += [
            fanout_report.cost_table(cost),
            f"What history costs, by pairs of servers beside each other: {plan.streams:,} streams,"
            f" paced, {report.of_runs(rounds, 'rounds')}, of a ratio within each round.",
        ]
    content = {
        "machine": about,
        "plan": plan._asdict(),
        "runs": runs,
        "summary": rows,
        "history": costs,
        "history_summary": cost,
    }
    text = "\n\n".join([*parts, report.conditions(about)])
    report.write("fanout", text, content, chosen.output, figure=_FIGURE)
    if rows:
        title = f"One event to {plan.streams:,} streams: {report.of_runs(len(runs))}"
        drawn = {name: (row.paced, row.cpu) for name, row in rows.items()}
        server_plot.plot("fanout", drawn, title, chosen.output)


def _conditions(plan: Plan, runs: list[Run]) -> str:
    """Return what the figures hold for."""
    lines = [
        f"{plan.streams:,} streams of one group, all servers in turn, {report.of_runs(len(runs))}."
        f" Ratios are taken within each run. A burst is {plan.burst_events} events without a"
        " pause; its rate counts what arrived. django_sse keeps history and writes ids, unless it"
        " is said; where ids differ, each stream is in a group of its own as well."
    ]
    if peers.FLOOR in runs[0]:
        floors = [run[peers.FLOOR] for run in runs]
        ceiling = statistics.median(floor["client_ceiling"] for floor in floors)
        rate = statistics.median(floor["paced"]["deliveries_per_second"] for floor in floors)
        share = statistics.median(floor["paced"]["server_core_share"] for floor in floors)
        lines.append(
            f"The load client alone reads {ceiling:,.0f} deliveries a second, {ceiling / rate:.1f}"
            f" times the floor's rate; at that rate the floor used {share:.0%} of its core."
        )
    return "\n\n".join(lines)


def _check(runs: list[Run], costs: dict[str, pairs.Cost]) -> int:
    """Print what was demanded of what was measured; return the exit status."""
    demanded = fanout_report.bars(runs)
    for name, cost in costs.items():
        rate, cpu = 1 - cost.rate.median, cost.cpu.median - 1
        demanded += [
            bars.Bar(
                f"{name}, what history costs of the deliveries a second", rate, most=_MAX_COST
            ),
            bars.Bar(f"{name}, what history costs in CPU time", cpu, most=_MAX_COST),
            bars.Bar(f"{name}, lost, repeated or reordered in pairs", cost.faults, most=0),
        ]
    return bars.check(demanded)


if __name__ == "__main__":
    sys.exit(main())
