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
    a delivery, user and system, all threads; events lost, repeated, out of order. The servers take
    turns within each run, in another order each time; of the runs the median is given, with the
    least and the greatest. A ratio is taken within a run, then its median.

    The load client's ceiling is how fast it reads deliveries, one a read, that are already there.
    It has to be well above the floor's rate, or the client would be what is measured; the share
    of its core that the floor used says the same from the other side.

    What history costs is too little for servers in turn to show: that is measured by pairs of
    servers beside each other (benchmarks/pairs.py).

What each server needed
    This package: CHANNEL_LAYERS with the in-memory layer, its capacity as it comes. It keeps no
    history (DJANGO_SSE["STORE"] is None) where it is held against others, which keep none.
    django-eventstream: its in-memory mode, in one process. Both have the middleware of
    startproject, an SQLite database, and streams of a logged-in user's session behind
    login_required. sse-starlette: a queue for each stream, as it has no groups; no middleware.
    The floor: no HTTP parser, no ASGI. All under uvicorn have uvloop and httptools. Measuring
    begins when three events in a row have reached all streams, as django-eventstream loses what
    is published while a stream opens.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import fanout_report, options, pairs, report, services
from benchmarks.fanout_report import FLOOR, LABELS, ON_REDIS, PEER
from benchmarks.measure import Plan, measure

# What the package promises: see --check.
_TIMES_PEER = 5
_MAX_COST = 0.10

_FULL = Plan(
    streams=1_000, paced_seconds=3, burst_events=200, bursts=2, rounds=12, round_seconds=0.5
)
_QUICK = Plan(
    streams=200, paced_seconds=0.5, burst_events=50, bursts=1, rounds=4, round_seconds=0.2
)
_FIGURE = "![Deliveries a second and CPU time a delivery, by server](images/fanout.svg)"


def main() -> int:
    """Run the benchmark and write its report. Return the exit status."""
    chosen = _parse()
    about = options.begin(chosen)
    runs, costs = [], []
    with tempfile.TemporaryDirectory(prefix="django-sse-fanout-") as path:
        directory = Path(path)
        try:
            for number in range(chosen.runs):
                turn = number % max(1, len(chosen.servers))
                names = chosen.servers[turn:] + chosen.servers[:turn]
                runs.append(_run(number, names, chosen, directory))
                costs.append(_run_pairs(number, chosen, directory))
        finally:
            if any(name in ON_REDIS for name in (*chosen.servers, *chosen.pairs)):
                services.forget_redis_keys(directory)
    rows, cost = fanout_report.summarize(runs), pairs.summarize(costs)
    _write(chosen, about, runs, rows, costs, cost)
    return _check(rows, cost) if chosen.check else 0


def _parse() -> argparse.Namespace:
    parser = options.make_parser(
        "Fan-out to many streams of one group.",
        runs=3,
        check=f"django_sse loses nothing, is {_TIMES_PEER} times as fast as django-eventstream,"
        f" and history costs at most {_MAX_COST:.0%}",
    )
    usual = [name for name in LABELS if name not in ON_REDIS]
    parser.add_argument("--streams", type=int, help="how many streams (1000; with --quick 200)")
    parser.add_argument("--seconds", type=float, help="length of the paced part (3; 0.5)")
    parser.add_argument("--rounds", type=int, help="of each pair, in each run (12; 4)")
    parser.add_argument(
        "--servers", nargs="*", choices=LABELS, default=usual, metavar="NAME",
        help=f"some of: {' '.join(LABELS)}; with no name none",
    )  # fmt: skip
    parser.add_argument(
        "--pairs", nargs="*", choices=pairs.PAIRS, metavar="NAME",
        help=f"what history costs, for some of: {' '.join(pairs.PAIRS)}; with no name for none",
    )  # fmt: skip
    chosen = options.parse(parser)
    _choose_pairs(chosen, parser)
    plan = _QUICK if chosen.quick else _FULL
    chosen.plan = plan._replace(
        streams=chosen.streams or plan.streams,
        paced_seconds=chosen.seconds or plan.paced_seconds,
        rounds=chosen.rounds or plan.rounds,
    )
    return chosen


def _choose_pairs(chosen: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    chosen.pairs = list(pairs.PAIRS) if chosen.pairs is None else chosen.pairs
    if problem := services.redis_problem():
        if any(name in ON_REDIS for name in chosen.servers):
            parser.error(f"There is no Redis: {problem}")
        chosen.pairs = [name for name in chosen.pairs if name not in ON_REDIS]
        print(f"Without the pair on Redis: {problem}")
    if not chosen.servers and not chosen.pairs:
        parser.error("There is nothing to measure.")
    if chosen.check and not ({"django_sse", PEER} <= set(chosen.servers) or chosen.pairs):
        parser.error(f"--check compares django_sse with {PEER}, or pairs: measure these.")


def _run(
    number: int, names: list[str], chosen: argparse.Namespace, directory: Path
) -> fanout_report.Run:
    results = {}
    for name in names:
        print(f"run {number + 1}: {name} … ", end="", flush=True)
        result = results[name] = measure(name, chosen.cores[0], directory, chosen.plan)
        paced, burst = result["paced"], result["burst"]
        print(
            f"{paced['deliveries_per_second']:,.0f}/s paced,"
            f" {paced['cpu_us_per_delivery']:.1f} µs, lost {paced['lost']};"
            f" burst {burst['deliveries_per_second']:,.0f}/s, lost {burst['lost']}"
        )
    return results


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
    runs: list[fanout_report.Run],
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
        images = report.images_directory(chosen.output)
        fanout_report.plot(rows, title, [images / "fanout.png", images / "fanout.svg"])


def _conditions(plan: Plan, runs: list[fanout_report.Run]) -> str:
    """Return what the figures hold for."""
    lines = [
        f"{plan.streams:,} streams of one group, all servers in turn, {report.of_runs(len(runs))}."
        f" Ratios are taken within each run. A burst is {plan.burst_events} events without a"
        " pause; its rate counts what arrived."
    ]
    if FLOOR in runs[0]:
        floors = [run[FLOOR] for run in runs]
        ceiling = statistics.median(floor["client_ceiling"] for floor in floors)
        rate = statistics.median(floor["paced"]["deliveries_per_second"] for floor in floors)
        share = statistics.median(floor["paced"]["server_core_share"] for floor in floors)
        lines.append(
            f"The load client alone reads {ceiling:,.0f} deliveries a second, {ceiling / rate:.1f}"
            f" times the floor's rate; at that rate the floor used {share:.0%} of its core."
        )
    return "\n\n".join(lines)


def _check(rows: dict[str, fanout_report.Row], costs: dict[str, pairs.Cost]) -> int:
    """Print what was demanded of what was measured; return the exit status."""
    verdicts = []
    if "django_sse" in rows and (to_peer := rows["django_sse"].to_peer) is not None:
        faults = rows["django_sse"].faults
        passed = to_peer.median >= _TIMES_PEER and not any(faults.values())
        verdicts.append(passed)
        print(
            f"django_sse: {to_peer.median:.1f} times django-eventstream (at least {_TIMES_PEER}),"
            f" {faults}: {_word(passed)}"
        )
    for name, cost in costs.items():
        rate, cpu = 1 - cost.rate.median, cost.cpu.median - 1
        passed = rate <= _MAX_COST and cpu <= _MAX_COST and not cost.faults
        verdicts.append(passed)
        print(
            f"{name}: history costs {rate:.1%} of the deliveries a second and {cpu:.1%} CPU time"
            f" (at most {_MAX_COST:.0%}), {cost.faults} faults: {_word(passed)}"
        )
    return 0 if all(verdicts) else 1


def _word(passed: bool) -> str:
    return "passed" if passed else "FAILED"


if __name__ == "__main__":
    sys.exit(main())
