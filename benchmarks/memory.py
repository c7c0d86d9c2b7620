"""
Memory: what 10,000 streams hold while nothing happens to them.

``make bench BENCH=memory`` runs it; with ``BENCH_ARGS=--quick`` it checks that all of it works. It
needs Linux and two cores that nothing else uses, and a hard limit of open files above the streams.

What is measured
    A server, pinned to one core, has a hundred streams. Its memory is noted: what is imported,
    made or cached by the first requests belongs to no stream. Then the others are opened, and
    nothing is published. When what opening has left to do is over, the CPU time of all threads is
    taken for half a minute: two heartbeats of 15 seconds, which the client reads. At its end the
    memory and the threads are counted, of all the server's processes.

    This package runs as it comes: the middleware of startproject, a logged-in user, ids, history,
    and the registry, which writes a row for each stream.

    All servers of a run rest at the same time, each with a client of its own.

What is reported
    KB a stream: by how much the resident memory has grown, divided by the streams opened. What the
    kernel holds for a socket is not in it, and is the same for all. Threads in all. The CPU time
    at rest as a share of a core, and how many heartbeats a stream the client has read meanwhile:
    they are not equally frequent, and a server with none has less to do.

    A server that keeps a thread for each stream is asked for a fifth of the streams.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import limits, lineup, options, report
from benchmarks.lineup import LABELS
from benchmarks.process import ROOT
from benchmarks.report import Spread, cell

__all__: list[str] = []

# What the package promises: see --check.
_KB_PER_STREAM = 15.0
_CPU_PERCENT = 1.0
# There are some for the database and for publishing, however many streams.
_THREADS_PER_STREAM = 0.01
_HEARTBEAT_SECONDS = 15
_CHECKED = "django_sse"

_USUAL = (
    "floor",
    "django_sse",
    "sse-starlette",
    "aiohttp-sse",
    "better-sse",
    "nchan",
    "pushpin",
    "django-eventstream",
)
_THREAD_A_STREAM = ("django-eventstream", "django-eventstream-daphne")

Result = dict[str, Any]
Run = dict[str, Result]


def main() -> int:
    """Run the benchmark and write its report. Return the exit status."""
    chosen = _parse()
    about = options.begin(chosen)
    with tempfile.TemporaryDirectory(prefix="django-sse-memory-") as path:
        runs = [_run(chosen, Path(path), number) for number in range(chosen.runs)]
    _write(chosen, about, runs)
    return _check(chosen, runs) if chosen.check else 0


def _parse() -> argparse.Namespace:
    parser = options.make_parser(
        "What idle streams hold.",
        runs=3,
        check=f"a stream takes at most {_KB_PER_STREAM:g} KB and no thread, and all of them at"
        f" rest less than {_CPU_PERCENT:g} % of a core",
    )
    parser.add_argument("--streams", type=int, help="how many are open (10000; quick 300)")
    parser.add_argument("--seconds", type=float, help="how long they are watched (30; quick 2)")
    lineup.add_option(parser, _USUAL)
    chosen = options.parse(parser)
    chosen.streams = limits.at_most(chosen.streams or (300 if chosen.quick else 10_000))
    chosen.seconds = chosen.seconds or (2 if chosen.quick else 2 * _HEARTBEAT_SECONDS)
    chosen.settle = 1 if chosen.quick else 10
    chosen.servers = lineup.choose(chosen.servers)
    if chosen.check and _CHECKED not in chosen.servers:
        parser.error(f"--check is about {_CHECKED}: measure it.")
    return chosen


def _run(chosen: argparse.Namespace, directory: Path, number: int) -> Run:
    """Open the streams of one server after the other, then let all of them rest."""
    run = {}
    with contextlib.ExitStack() as stack:
        processes = {}
        for name in lineup.in_turn(chosen.servers, number):
            print(f"run {number + 1}: {name} … ", end="", flush=True)
            process = stack.enter_context(_client(chosen, directory, name))
            stack.callback(process.kill)
            assert process.stdout is not None
            if process.stdout.readline() != "open\n":
                sys.exit(f"{name}: the streams did not open; see above.")
            processes[name] = process
            print("open")
        for process in processes.values():
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        for name, process in processes.items():
            assert process.stdout is not None
            result = run[name] = json.loads(process.stdout.readline())
            process.wait()
            print(f"run {number + 1}: {name}: {_told(result)}", flush=True)
    return run


def _client(chosen: argparse.Namespace, directory: Path, name: str) -> "subprocess.Popen[str]":
    streams = chosen.streams // 5 if name in _THREAD_A_STREAM else chosen.streams
    options_ = {
        "streams": streams,
        "first": min(100, streams // 10),
        "settle": chosen.settle,
        "seconds": chosen.seconds,
        "directory": directory,
    }
    command = [sys.executable, "-m", "benchmarks.idle_server", name]
    command += [word for key, value in options_.items() for word in (f"--{key}", str(value))]
    command += ["--cores", *map(str, chosen.cores)]
    return subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def _told(result: Result) -> str:
    return (
        f"{result['kb_per_stream']:.1f} KB a stream, {result['threads']} threads,"
        f" {result['cpu_percent']:.2f} % of a core, {result['reads_per_stream']:.1f} heartbeats"
    )


def _write(chosen: argparse.Namespace, about: dict[str, Any], runs: list[Run]) -> None:
    head = ["", "streams", "KB a stream", "threads", "CPU at rest, % of a core", "heartbeats"]
    text = "\n\n".join(
        [
            report.table(head, (_cells(name, runs) for name in LABELS if name in runs[0])),
            f"Idle streams, {chosen.seconds:g} s, in which a stream got so many heartbeats;"
            f" {report.of_runs(len(runs))}.",
            report.conditions(about),
        ]
    )
    report.write("memory", text, {"machine": about, "runs": runs}, chosen.output)


def _spread(name: str, runs: list[Run], key: str) -> Spread:
    return Spread.of([run[name][key] for run in runs])


def _cells(name: str, runs: list[Run]) -> list[str]:
    return [
        LABELS[name],
        f"{runs[0][name]['streams']:,}",
        cell(_spread(name, runs, "kb_per_stream"), "{:.1f}".format),
        cell(_spread(name, runs, "threads"), "{:,.0f}".format),
        cell(_spread(name, runs, "cpu_percent"), "{:.2f}".format),
        cell(_spread(name, runs, "reads_per_stream"), "{:.1f}".format),
    ]


def _check(chosen: argparse.Namespace, runs: list[Run]) -> int:
    """Print what was demanded of what was measured; return the exit status."""
    streams = runs[0][_CHECKED]["streams"]
    verdicts = []

    def demand(what: str, key: str, most: float, unit: str = "") -> None:
        value = _spread(_CHECKED, runs, key).median
        verdicts.append(value <= most)
        passed = lineup.word(value <= most)
        print(f"{_CHECKED}: {what} {value:.2f}{unit} (at most {most:g}{unit}): {passed}")

    demand("memory a stream", "kb_per_stream", _KB_PER_STREAM, " KB")
    demand("threads", "threads", streams * _THREADS_PER_STREAM)
    demand("CPU at rest", "cpu_percent", _CPU_PERCENT, " % of a core")
    # A rest without heartbeats would be no measure.
    beats, due = (
        _spread(_CHECKED, runs, "reads_per_stream").least,
        0.9 * int(chosen.seconds / _HEARTBEAT_SECONDS),
    )
    verdicts.append(beats >= due and not any(run[_CHECKED]["closed"] for run in runs))
    print(
        f"{_CHECKED}: heartbeats a stream {beats:.2f} (at least {due:g}), and no stream closed:"
        f" {lineup.word(verdicts[-1])}"
    )
    return 0 if all(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
