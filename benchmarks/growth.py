"""
Growth: what a delivery costs, from 100 streams to 20,000, and from one group to 10,000.

``make bench BENCH=growth`` runs it; with ``BENCH_ARGS=--quick`` it checks that all of it works. It
needs Linux, two cores that nothing else uses, and a hard limit of open files above the streams;
where that is lower, it goes as far as it can and says so.

What is measured
    The floor and this package are up beside each other, on one core, with as many streams each.
    Events are published paced, as in the fan-out benchmark. They take turns of 40,000 deliveries,
    the first in one round the last in the next: at 100 streams that is 400 events, at 20,000 two.

    Streams: all of one group. More are opened for the next size, once all is measured. Then both
    rest for a second, and one more for every 2,000 that were opened, so that the rows which the
    registry writes for new streams are in no delivery.

    Groups: 10,000 streams, dealt out to so many groups. An event goes to each group, by a publish
    of its own; of more than 250 groups to those, while the streams of the others stay open. With
    as many groups as streams a delivery is a publish: that is dearer than one write more, for the
    floor too. A turn is shorter than 40,000 deliveries where they would take longer than two
    seconds.

    The streams of this package are opened without Django's answering of the request, which would
    take minutes (benchmarks/servers/django_sse_direct_site.py); Django is done with a request
    before the first event. Ids, history and the registry are on, and a stream has its visitor.

What is reported
    Microseconds of the server's CPU time a delivery: user and system, all threads. The kernel's
    part grows with the streams as well: they no longer fit into the processor's caches. That is
    why the floor is beside: growth is told absolutely, and of the floor's in the same run.

    With few streams a delivery bears much of what a publish costs once. So --check looks at two
    things: the most streams against the fewest, and against the size at which a delivery costs
    least, of the floor's growth from there.
"""

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import bars, growth_report, limits, options, report
from benchmarks.bars import Bar
from benchmarks.growth_report import FLOOR, GROUPS, OURS, STREAMS, Run
from benchmarks.growth_side import Side

__all__: list[str] = []

# What the package promises: see --check.
_MOST_GROWTH = 1.2

_TURN_SECONDS = 2.0
# What opening a stream leaves to do, in turns of its own: its row of the registry above all.
_REST_SECONDS = 1 / 2_000
_FIGURE = (
    "![CPU time a delivery and deliveries a second, by streams and groups](images/growth.svg)"
)


class Plan(NamedTuple):
    """
    How much is measured.

    Attributes:
        streams: How many streams of one group, one size after the other.
        groups: How many groups, one after the other.
        spread: How many streams are dealt out to them.
        rounds: Of turns, for each size.
        deliveries: Of a turn.
    """

    streams: tuple[int, ...]
    groups: tuple[int, ...]
    spread: int
    rounds: int
    deliveries: int


_FULL = Plan(
    streams=(100, 300, 1_000, 3_000, 10_000, 20_000),
    groups=(1, 100, 1_000, 10_000),
    spread=10_000,
    rounds=3,
    deliveries=40_000,
)
_QUICK = Plan(streams=(20, 100, 200), groups=(1, 10, 100), spread=100, rounds=2, deliveries=2_000)


#: The floor and this package, each with its client in a process of its own.
Pair = dict[str, Side]


def main() -> int:
    """Run the benchmark and write its report. Return the exit status."""
    chosen = _parse()
    about = options.begin(chosen)
    with tempfile.TemporaryDirectory(prefix="django-sse-growth-") as path:
        runs = [_run(chosen, Path(path), number) for number in range(chosen.runs)]
    _write(chosen, about, runs)
    return bars.check(_bars(runs)) if chosen.check else 0


def _parse() -> argparse.Namespace:
    parser = options.make_parser(
        "What a delivery costs with more streams and more groups.",
        runs=3,
        check=f"a delivery costs at most {_MOST_GROWTH:g} times as much with the most streams as"
        " with the fewest, and nothing is lost, repeated or reordered",
    )
    parser.add_argument("--streams", type=int, nargs="+", metavar="COUNT", help="sizes")
    parser.add_argument("--groups", type=int, nargs="*", metavar="COUNT", help="sizes")
    parser.add_argument("--spread", type=int, help="streams that are dealt out to the groups")
    parser.add_argument("--rounds", type=int, help="of turns, for each size (3; quick 2)")
    chosen = options.parse(parser)
    plan = _QUICK if chosen.quick else _FULL
    sizes = tuple(chosen.streams or plan.streams)
    most = limits.at_most(max(sizes))
    chosen.plan = plan._replace(
        streams=tuple(sorted({min(size, most) for size in sizes})),
        groups=plan.groups if chosen.groups is None else tuple(chosen.groups),
        spread=min(chosen.spread or plan.spread, most),
        rounds=chosen.rounds or plan.rounds,
    )
    return chosen


def _run(chosen: argparse.Namespace, directory: Path, number: int) -> Run:
    plan: Plan = chosen.plan
    run: Run = {STREAMS: {}, GROUPS: {}}
    with _pair(chosen, directory) as pair:
        for size in plan.streams:
            run[STREAMS][size] = _measure(pair, plan, size, 1)
            _tell(number, f"{size:,} streams", run[STREAMS][size])
    for size in plan.groups:
        if size == 1 and plan.spread in run[STREAMS]:
            run[GROUPS][size] = run[STREAMS][plan.spread]
            continue
        with _pair(chosen, directory) as pair:
            run[GROUPS][size] = _measure(pair, plan, plan.spread, size)
            _tell(number, f"{size:,} groups", run[GROUPS][size])
    return run


@contextlib.contextmanager
def _pair(chosen: argparse.Namespace, directory: Path) -> Iterator[Pair]:
    plan: Plan = chosen.plan
    most = max(*plan.streams, plan.spread)
    with contextlib.ExitStack() as stack:
        yield {
            name: stack.enter_context(Side(name, chosen.cores, directory, most))
            for name in (FLOOR, OURS)
        }


def _measure(pair: Pair, plan: Plan, streams: int, groups: int) -> dict[str, list[dict[str, Any]]]:
    """Open the streams, and let the two take turns; return what came of each."""
    opened = max(side.open(streams, groups) for side in pair.values())
    time.sleep(1 + opened * _REST_SECONDS)
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in pair}
    events = {name: _events(side, plan) for name, side in pair.items()}
    for number in range(plan.rounds):
        for name in pair if number % 2 else reversed(pair):
            results[name].append(pair[name].measure(events[name]))
    return results


def _events(side: Side, plan: Plan) -> int:
    """Return how many events make a turn."""
    wanted = max(2, round(plan.deliveries / side.streams))
    possible = _TURN_SECONDS / side.measure(1)["seconds"]
    return max(1, min(wanted, round(possible)))


def _tell(number: int, size: str, results: dict[str, list[dict[str, Any]]]) -> None:
    costs = {name: growth_report.cost(result) for name, result in results.items()}
    faults = sum(growth_report.faults(result) for result in results.values())
    print(
        f"run {number + 1}: {size}: {costs[OURS]:.1f} µs a delivery, floor {costs[FLOOR]:.1f},"
        f" {faults} faults",
        flush=True,
    )


def _write(chosen: argparse.Namespace, about: dict[str, Any], runs: list[Run]) -> None:
    plan: Plan = chosen.plan
    tables = [growth_report.table(axis, runs) for axis in (STREAMS, GROUPS) if runs[0][axis]]
    conditions = (
        f"Both servers in turn, {plan.rounds} rounds of about {plan.deliveries:,} deliveries for"
        f" each size; groups: {plan.spread:,} streams dealt out to them;"
        f" {report.of_runs(len(runs))}. Ratios are taken within each run."
    )
    text = "\n\n".join([*tables, conditions, report.conditions(about)])
    content = {"machine": about, "plan": plan._asdict(), "runs": runs}
    report.write("growth", text, content, chosen.output, figure=_FIGURE)
    images = report.images_directory(chosen.output)
    growth_report.plot(runs, [images / "growth.png", images / "growth.svg"])


def _bars(runs: list[Run]) -> list[Bar]:
    """Return what the package promises of what was measured."""
    least, most = min(runs[0][STREAMS]), max(runs[0][STREAMS])
    growth, floor = (
        growth_report.growth(runs, STREAMS, name, most).median for name in (OURS, FLOOR)
    )
    faults = sum(
        growth_report.faults(results)
        for run in runs
        for axis in run.values()
        for servers in axis.values()
        for results in servers.values()
    )
    what = (
        f"CPU a delivery to {most:,} streams, times that to {least:,} (the floor's: {floor:.2f})"
    )
    cheapest = growth_report.cheapest(runs, STREAMS)
    beyond = growth_report.beyond_floor(runs, STREAMS, most, cheapest).median
    return [
        Bar(what, growth, most=_MOST_GROWTH),
        Bar(
            f"the same, times that to {cheapest:,}, of the floor's growth",
            beyond,
            most=_MOST_GROWTH,
        ),
        Bar("growth, lost, repeated or reordered", faults, most=0),
    ]


if __name__ == "__main__":
    sys.exit(main())
