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

from benchmarks import bars, limits, lineup, options, report
from benchmarks.bars import Bar
from benchmarks.peers import FLOOR, LABELS, PEER
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
_THREAD_A_STREAM = tuple(name for name in LABELS if name.startswith(PEER))

Result = dict[str, Any]
Run = dict[str, Result]


def main() -> int:
    """Run the benchmark and write its report. Return the exit status."""
    chosen = _parse()
    about = options.begin(chosen)
    with tempfile.TemporaryDirectory(prefix="django-sse-memory-") as path:
        runs = [_run(chosen, Path(path), number) for number in range(chosen.runs)]
    # A peer that failed once is left out of all runs.
    everywhere = set.intersection(*(set(run) for run in runs))
    runs = [{name: run[name] for name in run if name in everywhere} for run in runs]
    _write(chosen, about, runs)
    return bars.check(_bars(chosen, runs)) if chosen.check else 0


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
    lineup.choose(chosen, _CHECKED, parser)
    return chosen


def _run(chosen: argparse.Namespace, directory: Path, number: int) -> Run:
    """Open the streams of one server after the other, then let all of them rest."""
    run: Run = {}
    with contextlib.ExitStack() as stack:
        processes = {}
        for name in lineup.in_turn(chosen.servers, number):
            print(f"run {number + 1}: {name} … ", end="", flush=True)
            process = stack.enter_context(_client(chosen, directory, name))
            stack.callback(process.kill)
            if _said(process) == "open\n":
                processes[name] = process
                print("open")
            else:
                _leave_out(name)
        for process in processes.values():
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        for name, process in processes.items():
            if line := _said(process):
                run[name] = json.loads(line)
                print(f"run {number + 1}: {name}: {_told(run[name])}", flush=True)
                process.wait()
            else:
                _leave_out(name)
    return run


def _said(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def _leave_out(name: str) -> None:
    if name.startswith("django_sse") or name == FLOOR:
        sys.exit(f"{name} has failed; see above.")
    print(f"left out: {name} has failed; see above.")


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


def _bars(chosen: argparse.Namespace, runs: list[Run]) -> list[Bar]:
    """Return what the package promises of what was measured."""

    def bar(what: str, key: str, **limits: float) -> Bar:
        return Bar(f"{_CHECKED}, {what}", _spread(_CHECKED, runs, key).median, **limits)

    # A rest without heartbeats would be no measure.
    due = 0.9 * int(chosen.seconds / _HEARTBEAT_SECONDS)
    threads = runs[0][_CHECKED]["streams"] * _THREADS_PER_STREAM
    return [
        bar("KB a stream", "kb_per_stream", most=_KB_PER_STREAM),
        bar("threads", "threads", most=threads),
        bar("CPU at rest, % of a core", "cpu_percent", most=_CPU_PERCENT),
        bar("heartbeats a stream", "reads_per_stream", least=due),
        bar("streams that were closed", "closed", most=0),
    ]


if __name__ == "__main__":
    sys.exit(main())
