"""
A quick look at the ratios that matter, beside those of the last kept run: for use in review.

``make bench-quick`` takes less than two minutes, writes nothing, and fails when a ratio is worse
than it was by more than its tolerance. ``make bench BENCH=quick`` makes the same measurement
three times and keeps it, in benchmarks/results/quick.json, to compare with. It needs Linux, and
two cores that nothing else uses.

What is measured
    The floor and this package are up beside each other, on one core, with 1,000 streams each, and
    take turns: the first in one round the last in the next. History and all else is on.

    Fan-out, paced and in bursts of 200 events, as in benchmarks/fanout.py; the same with a group
    for each stream, paced; and opening, as in benchmarks/opening.py, where in place of the floor
    there is a plain view of the same server.

What is compared
    The ratio within each round, and of the rounds of a run the median. A machine that is slower on
    another day is slower for both, so a ratio may be compared where a rate may not; still, two
    processors divide their time between kernel and Python differently, and the kept run should
    be of the same machine. It is said when it is of another processor.

    The tolerance of a ratio is three standard deviations of the kept runs, in per cent of their
    median, and at least 10 %: three runs may lie close to each other by chance. With that a
    change of nothing fails in about one of a hundred looks; a ratio whose tolerance is large says
    little, and its kept runs should be made again on a quieter machine.
"""

import argparse
import contextlib
import gc
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import opening, options, report
from benchmarks.events import group_names
from benchmarks.load import LoadClient
from benchmarks.measure import Session, measure_bursts, measure_paced
from benchmarks.opener import wait_until_idle
from benchmarks.process import ROOT, ServerProcess
from benchmarks.report import Spread, cell

__all__ = ["KEPT", "Kept", "compare", "kept_ratios"]

KEPT = ROOT / "benchmarks" / "results" / "quick.json"

_FLOOR, _OURS = "floor", "django_sse"
_LABELS = {
    "paced": "fan-out, paced",
    "burst": "fan-out, bursts of {burst_events}",
    "groups": "a group for each stream, paced",
    "opening": "opening, of a plain view",
}
_DEVIATIONS = 3
_LEAST_TOLERANCE = 0.10
_OPENING_SECONDS = 120


class Plan(NamedTuple):
    """How many streams, how many rounds of turns how long, and how long a rest before them."""

    streams: int
    rounds: int
    seconds: float
    burst_events: int
    burst_rounds: int
    rest_seconds: float


_FULL = Plan(
    streams=1_000, rounds=8, seconds=0.4, burst_events=200, burst_rounds=4, rest_seconds=2
)
_QUICK = Plan(streams=100, rounds=2, seconds=0.1, burst_events=20, burst_rounds=2, rest_seconds=0)

#: The ratios of all rounds, by what was measured.
Run = dict[str, list[float]]


class Kept(NamedTuple):
    """A ratio of the kept runs, and by what share of it a new one may be worse."""

    ratio: float
    tolerance: float


def main() -> int:
    """Measure; keep it and write the report, or compare. Return the exit status."""
    chosen = _parse()
    about = options.begin(chosen)
    before = json.loads(KEPT.read_text()) if KEPT.exists() else None
    with tempfile.TemporaryDirectory(prefix="django-sse-quick-") as path:
        runs = [_run(chosen, Path(path), number) for number in range(chosen.runs)]
    if not chosen.compare:
        _write(chosen, about, runs)
    return compare(chosen, about, runs, before) if chosen.compare or chosen.check else 0


def _parse() -> argparse.Namespace:
    parser = options.make_parser(
        "The ratios that matter, in turns.",
        runs=3,
        check="no ratio is worse than that of the last kept runs by more than its tolerance",
    )
    parser.add_argument(
        "--compare", action="store_true", help="one run, compared with those kept; write nothing"
    )
    parser.set_defaults(plan=_FULL)
    chosen = options.parse(parser)
    if chosen.quick:
        chosen.plan = _QUICK
    if chosen.compare:
        chosen.runs = 1
    return chosen


def _run(chosen: argparse.Namespace, directory: Path, number: int) -> Run:
    plan: Plan = chosen.plan
    with contextlib.ExitStack() as stack:
        servers = {
            name: stack.enter_context(ServerProcess(name, chosen.cores[0], directory))
            for name in (_FLOOR, _OURS)
        }
        gc.disable()
        stack.callback(gc.enable)
        with _sessions(servers, plan, 1) as sessions:
            paced = _paced(sessions, plan)
            burst = _in_turns(
                sessions,
                plan.burst_rounds,
                lambda name: measure_bursts(sessions[name], plan.burst_events, 1),
            )
        with _sessions(servers, plan, plan.streams) as sessions:
            groups = _paced(sessions, plan)
        paths = (opening.STREAMS, opening.PLAIN)
        turns = opening.measure_turns(servers[_OURS], paths, plan.rounds, plan.seconds)
    run = {"paced": paced, "burst": burst, "groups": groups, "opening": opening.ratios(turns)}
    told = ", ".join(f"{name} {statistics.median(ratios):.2f}" for name, ratios in run.items())
    print(f"run {number + 1}: {told}", flush=True)
    return run


@contextlib.contextmanager
def _sessions(
    servers: dict[str, ServerProcess], plan: Plan, groups: int
) -> Iterator[dict[str, Session]]:
    """Open the streams of both servers, dealt out to the *groups*, for as long as the block."""
    with contextlib.ExitStack() as stack:
        sessions = {}
        for name, server in servers.items():
            load = LoadClient(server.port, server.headers)
            stack.callback(wait_until_idle, server)
            stack.callback(load.close)
            load.open(plan.streams, _OPENING_SECONDS, groups=group_names(groups))
            sessions[name] = Session(server, load, groups=groups)
            sessions[name].warm_up()
        # What opening leaves to do is over then: the rows of the registry.
        time.sleep(plan.rest_seconds)
        yield sessions


def _paced(sessions: dict[str, Session], plan: Plan) -> list[float]:
    pilots = {name: measure_paced(session, 2) for name, session in sessions.items()}
    events = {
        name: max(1, round(2 * plan.seconds / pilot["seconds"])) for name, pilot in pilots.items()
    }
    return _in_turns(
        sessions, plan.rounds, lambda name: measure_paced(sessions[name], events[name])
    )


def _in_turns(
    names: Iterable[str], rounds: int, measure: Callable[[str], dict[str, Any]]
) -> list[float]:
    """Return the ratio of this package's rate to the floor's, of each round."""
    ratios = []
    for number in range(rounds):
        order = list(names) if number % 2 else list(names)[::-1]
        results = {name: measure(name) for name in order}
        for name, result in results.items():
            if faults := sum(result[fault] for fault in ("lost", "repeated", "reordered")):
                sys.exit(f"{name}: {faults} deliveries lost, repeated or reordered: {result}")
        ours, floor = (results[name]["deliveries_per_second"] for name in (_OURS, _FLOOR))
        ratios.append(ours / floor)
    return ratios


def _medians(runs: list[Run], name: str) -> list[float]:
    return [statistics.median(run[name]) for run in runs]


def kept_ratios(runs: list[Run]) -> dict[str, Kept]:
    """Return what the kept *runs* say of each ratio."""
    found = {}
    for name in runs[0]:
        values = _medians(runs, name)
        ratio = statistics.median(values)
        spread = statistics.stdev(values) / ratio if len(values) > 1 else 0.0
        found[name] = Kept(ratio, max(_LEAST_TOLERANCE, _DEVIATIONS * spread))
    return found


def _write(chosen: argparse.Namespace, about: dict[str, Any], runs: list[Run]) -> None:
    plan: Plan = chosen.plan
    rows = [
        [
            _label(name, plan),
            cell(Spread.of(_medians(runs, name)), "{:.2f}".format),
            f"{kept.tolerance:.0%}",
        ]
        for name, kept in kept_ratios(runs).items()
    ]
    text = "\n\n".join(
        [
            report.table(["", "of the floor", "tolerance"], rows),
            f"{plan.streams:,} streams, {plan.rounds} rounds (of bursts {plan.burst_rounds});"
            f" {report.of_runs(len(runs))}.",
            report.conditions(about),
        ]
    )
    content = {"machine": about, "plan": plan._asdict(), "runs": runs}
    report.write("quick", text, content, chosen.output)


def _label(name: str, plan: Plan) -> str:
    return _LABELS[name].format(**plan._asdict())


def compare(
    chosen: argparse.Namespace,
    about: dict[str, Any],
    runs: list[Run],
    before: dict[str, Any] | None,
) -> int:
    """Print each ratio beside the kept one; return the exit status."""
    if before is None:
        print(f"There is nothing to compare with: no {KEPT}. make bench BENCH=quick keeps a run.")
        return 1
    machine = before["machine"]
    print(f"Kept: {machine['date'][:10]}, commit {machine['commit']}, {machine['cpu']}.")
    if machine["cpu"] != about["cpu"]:
        print(f"This processor is another one, {about['cpu']}: the ratios compare badly.")
    kept = kept_ratios(before["runs"])
    verdicts = []
    for name in runs[0]:
        now, (ratio, tolerance) = statistics.median(_medians(runs, name)), kept[name]
        change = now / ratio - 1
        verdicts.append(change >= -tolerance)
        print(
            f"{_label(name, chosen.plan):32} {now:7.3f}  kept {ratio:7.3f}  {change:+7.1%}"
            f"  (at least -{tolerance:.0%}): {'passed' if verdicts[-1] else 'FAILED'}"
        )
    return 0 if all(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
