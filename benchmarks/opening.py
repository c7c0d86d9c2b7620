"""
Opening: how many streams a second a server opens, to the first byte.

``make bench BENCH=opening`` runs it; with ``BENCH_ARGS=--quick`` it checks that all of it works.
It needs Linux, and two cores that nothing else uses.

What is measured
    A client asks for one stream on each of many new connections, with never more than 50 requests
    unanswered. The time runs until the last answer has begun. Then all are closed, and the next
    turn begins when the server has come to rest. The requests of the Django sites carry the
    session of a logged-in user, and pass the middleware of startproject.

    A plain view on the same server is asked in the same way, ``await request.auser()`` and a
    short answer: the least that Django does for a user who is logged in. Its requests get a new
    connection each, too, as a stream has one of its own; it stays open until the turn is over.

What is reported
    Streams opened a second, and the ratio to the plain view. The two take turns of a second, the
    first in one round the last in the next, and the ratio is taken within each round.

    The other servers only open streams: each in turn, in another order in each run.
"""

import argparse
import gc
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import bars, lineup, options, report
from benchmarks.bars import Bar
from benchmarks.opener import Opener, wait_until_idle
from benchmarks.peers import LABELS
from benchmarks.process import ServerProcess
from benchmarks.report import Spread, cell, rounded
from benchmarks.turns import Run, in_turns

__all__ = ["PLAIN", "STREAMS", "Plan", "Turns", "measure_turns", "ratios"]

STREAMS, PLAIN = "/events", "/user"

# What the package promises: see --check.
_OF_PLAIN = 0.9
_CHECKED = "django_sse"
# These have the plain view, too.
_WITH_PLAIN = ("django_sse", "django_sse-daphne")

_USUAL = (
    "floor",
    "django_sse",
    "django_sse-daphne",
    "sse-starlette",
    "aiohttp-sse",
    "better-sse",
    "nchan",
    "pushpin",
    "django-eventstream",
)
_PILOT = 20
_MOST_IN_A_TURN = 2_000


class Plan(NamedTuple):
    """How many rounds of a stream's turn and a page's, or of the one alone; and their length."""

    rounds: int
    alone: int
    seconds: float


_FULL = Plan(rounds=6, alone=3, seconds=1.0)
_QUICK = Plan(rounds=2, alone=1, seconds=0.1)

#: Requests answered a second in each turn, by path.
Turns = dict[str, list[float]]


def main() -> int:
    """Run the benchmark and write its report. Return the exit status."""
    chosen = _parse()
    about = options.begin(chosen)
    with tempfile.TemporaryDirectory(prefix="django-sse-opening-") as path:
        runs = in_turns(
            chosen.runs, chosen.servers, lambda name: _measure(name, chosen, Path(path))
        )
    _write(chosen, about, runs)
    return bars.check(_bars(runs)) if chosen.check else 0


def _parse() -> argparse.Namespace:
    parser = options.make_parser(
        "How fast streams open.",
        runs=3,
        check=f"streams open at {_OF_PLAIN:g} of the rate of a plain view, or faster",
    )
    parser.add_argument("--seconds", type=float, help="length of a turn, about (1; quick 0.1)")
    parser.add_argument("--rounds", type=int, help="of streams beside pages, each run (6; 2)")
    lineup.add_option(parser, _USUAL)
    chosen = options.parse(parser)
    plan = _QUICK if chosen.quick else _FULL
    chosen.plan = plan._replace(
        rounds=chosen.rounds or plan.rounds, seconds=chosen.seconds or plan.seconds
    )
    lineup.choose(chosen, _CHECKED, parser)
    return chosen


def _measure(name: str, chosen: argparse.Namespace, directory: Path) -> tuple[Turns, str]:
    plan = chosen.plan
    with ServerProcess(name, chosen.cores[0], directory) as server:
        paths = (STREAMS, PLAIN) if name in _WITH_PLAIN else (STREAMS,)
        rounds = plan.rounds if len(paths) == 2 else plan.alone
        turns = measure_turns(server, paths, rounds, plan.seconds)
    told = f"{Spread.of(turns[STREAMS]).median:,.0f} streams/s"
    if PLAIN in turns:
        told += f", {Spread.of(ratios(turns)).median:.0%} of plain views"
    return turns, told


def measure_turns(
    server: ServerProcess, paths: tuple[str, ...], rounds: int, seconds: float
) -> Turns:
    """Ask for each of *paths* for about *seconds* in each of the *rounds*; return the rates."""
    openers = {path: Opener(server.port, path, server.headers) for path in paths}
    # So many in a turn: as many of each, and the first of all warm the server up.
    took = [_turn(server, opener, _PILOT) for opener in openers.values() for _ in range(2)]
    count = min(_MOST_IN_A_TURN, max(_PILOT, round(seconds * _PILOT / min(took))))
    turns: Turns = {path: [] for path in paths}
    for number in range(rounds):
        for path in paths if number % 2 else reversed(paths):
            turns[path].append(count / _turn(server, openers[path], count))
    return turns


def _turn(server: ServerProcess, opener: Opener, count: int) -> float:
    gc.collect()
    gc.disable()
    try:
        return opener.open(count)
    finally:
        gc.enable()
        opener.close()
        wait_until_idle(server)


def ratios(turns: Turns) -> list[float]:
    """Return streams a second to plain pages a second, of each round."""
    pairs = zip(turns[STREAMS], turns[PLAIN], strict=True)
    return [streams / pages for streams, pages in pairs]


def _write(chosen: argparse.Namespace, about: dict[str, Any], runs: list[Run]) -> None:
    plan = chosen.plan
    head = ["", "streams a second", "plain views a second", "streams, of plain views"]
    text = "\n\n".join(
        [
            report.table(head, (_cells(name, runs) for name in LABELS if name in runs[0])),
            f"Turns of about {plan.seconds:g} s; {report.of_runs(len(runs))}. The ratio is taken"
            f" within each of {len(runs) * plan.rounds} rounds, and has their spread.",
            report.conditions(about),
        ]
    )
    content = {"machine": about, "plan": plan._asdict(), "runs": runs}
    report.write("opening", text, content, chosen.output)


def _cells(name: str, runs: list[Run]) -> list[str]:
    def rate(path: str) -> Spread | None:
        if path not in runs[0][name]:
            return None
        return Spread.of([Spread.of(run[name][path]).median for run in runs])

    return [
        LABELS[name],
        cell(rate(STREAMS), rounded),
        cell(rate(PLAIN), rounded),
        cell(_ratio(name, runs), "{:.0%}".format),
    ]


def _ratio(name: str, runs: list[Run]) -> Spread | None:
    if PLAIN not in runs[0][name]:
        return None
    return Spread.of([ratio for run in runs for ratio in ratios(run[name])])


def _bars(runs: list[Run]) -> list[Bar]:
    """Return what the package promises of what was measured."""
    ratio = _ratio(_CHECKED, runs)
    what = f"{_CHECKED}, streams opened, times the rate of a plain view"
    return [Bar(what, ratio.median, least=_OF_PLAIN)] if ratio is not None else []


if __name__ == "__main__":
    sys.exit(main())
