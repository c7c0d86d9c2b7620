"""
What the registry costs a worker with idle streams.

``make bench BENCH=registry`` runs it; with ``BENCH_ARGS=--quick`` it checks that all of it works.
It needs Linux and two cores that nothing else uses; with PostgreSQL it also measures there.

What is measured
    Each way is a process of its own (benchmarks/idle_streams.py), pinned to one core, in which
    5,000 streams are open, and nothing is published. They have their heartbeats, as by default,
    and a ``send`` that takes everything. Of guests, who are not logged in, the registry is asked
    every two seconds what to close, and the lease is renewed. Of users, each of whom has one
    stream, some are looked at every four seconds, too. When all rows have been written, the CPU
    time of all threads is taken for half a minute. As all of them rest, and the CPU time of a
    process is its own, those that share no database are measured at the same time.

What is reported
    The CPU time as a share of a core, and what it is above that of the same streams without the
    registry in the same run. Of the runs the median is given, with the least and the greatest.
    What PostgreSQL's own processes use is not in it.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import options, report, services
from benchmarks.process import ROOT
from benchmarks.report import Spread, cell

__all__ = ["LABELS", "above", "together"]

LABELS = {
    "none": "no registry, guests",
    "sqlite": "registry on SQLite, guests",
    "sqlite-users": "registry on SQLite, users",
    "postgresql": "**registry on PostgreSQL, guests**",
    "postgresql-users": "**registry on PostgreSQL, users**",
}

# What the package promises: see --check.
_PERCENT = 1.0

Run = dict[str, dict[str, float]]


def main() -> int:
    """Run the benchmark and write its report. Return the exit status."""
    chosen = _parse()
    about = options.begin(chosen)
    with (
        tempfile.TemporaryDirectory(prefix="django-sse-registry-") as path,
        contextlib.ExitStack() as stack,
    ):
        if any("postgresql" in way for way in chosen.ways):
            stack.enter_context(services.temporary_postgresql(Path(path)))
        runs = [_run(chosen, Path(path), number) for number in range(chosen.runs)]
    _write(chosen, about, runs)
    return _check(runs) if chosen.check else 0


def _parse() -> argparse.Namespace:
    parser = options.make_parser(
        "What the registry costs a worker with idle streams.",
        runs=3,
        check=f"the registry takes less than {_PERCENT:g} % of a core",
    )
    parser.add_argument("--streams", type=int, help="how many are open (5000; quick 50)")
    parser.add_argument("--seconds", type=float, help="how long they are watched (30; quick 2)")
    parser.add_argument(
        "--ways", nargs="+", choices=LABELS, default=list(LABELS), metavar="NAME",
        help=f"some of: {' '.join(LABELS)}",
    )  # fmt: skip
    chosen = options.parse(parser)
    chosen.streams = chosen.streams or (50 if chosen.quick else 5000)
    chosen.seconds = chosen.seconds or (2 if chosen.quick else 30)
    chosen.ways = list(dict.fromkeys(["none", *chosen.ways]))
    if problem := services.postgresql_problem():
        chosen.ways = [way for way in chosen.ways if "postgresql" not in way]
        print(f"Without PostgreSQL: {problem}")
    return chosen


def _run(chosen: argparse.Namespace, directory: Path, number: int) -> Run:
    run: Run = {}
    for ways in together(chosen.ways):
        turn = number % len(ways)
        run |= _idle(chosen, directory, ways[turn:] + ways[:turn])
    told = (f"{way} {run[way]['cpu_percent']:.2f} %" for way in LABELS if way in run)
    print(f"run {number + 1}: {', '.join(told)}", flush=True)
    return run


def together(ways: list[str]) -> list[list[str]]:
    """Return the ways that may be measured at the same time: one of them on PostgreSQL."""
    on_postgresql = [way for way in ways if "postgresql" in way]
    first = [way for way in ways if way not in on_postgresql[1:]]
    return [first, *([way] for way in on_postgresql[1:])]


def _idle(chosen: argparse.Namespace, directory: Path, ways: list[str]) -> Run:
    """Open the streams of one way after the other, then let all of them rest."""
    with contextlib.ExitStack() as stack:
        processes = {}
        for way in ways:
            process = stack.enter_context(_worker(chosen, directory, way))
            stack.callback(process.kill)
            assert process.stdout is not None
            if process.stdout.readline() != "open\n":
                sys.exit(f"{way}: the streams did not open; see above.")
            processes[way] = process
        answers = {}
        for process in processes.values():
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        for way, process in processes.items():
            answers[way], _ = process.communicate()
    return {way: _checked(way, json.loads(answers[way]), chosen.streams) for way in ways}


def _worker(chosen: argparse.Namespace, directory: Path, way: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "benchmarks.idle_streams", way]
    command += ["--directory", str(directory), "--core", str(chosen.cores[0])]
    command += ["--streams", str(chosen.streams), "--seconds", str(chosen.seconds)]
    command += ["--settle", "2"] if chosen.quick else []
    return subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def _checked(way: str, found: dict[str, float], streams: int) -> dict[str, float]:
    if found["open"] != streams or found["errors"]:
        sys.exit(f"{way}: not all streams have stayed open, or the database failed: {found}")
    return found


def above(way: str, runs: list[Run]) -> Spread:
    """Return what a way takes above none at all, in percent of a core, within each run."""
    return Spread.of([run[way]["cpu_percent"] - run["none"]["cpu_percent"] for run in runs])


def _write(chosen: argparse.Namespace, about: dict[str, Any], runs: list[Run]) -> None:
    percent = "{:.2f}".format
    rows = [
        [
            LABELS[way],
            cell(Spread.of([run[way]["cpu_percent"] for run in runs]), percent),
            "" if way == "none" else cell(above(way, runs), percent),
        ]
        for way in LABELS
        if way in runs[0]
    ]
    text = "\n\n".join(
        [
            report.table(["", "CPU, % of a core", "above no registry"], rows),
            f"{chosen.streams} idle streams, {chosen.seconds:g} s; {report.of_runs(len(runs))}.",
            report.conditions(about),
        ]
    )
    report.write("registry", text, {"machine": about, "runs": runs}, chosen.output)


def _check(runs: list[Run]) -> int:
    """Print what was demanded; return the exit status."""
    passed = True
    for way in runs[0]:
        if way != "none":
            median = above(way, runs).median
            passed = passed and median < _PERCENT
            verdict = "passed" if median < _PERCENT else "FAILED"
            print(f"{way}: {median:.2f} % of a core (less than {_PERCENT:g}): {verdict}")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
