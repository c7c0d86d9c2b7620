"""
Several workers that share a Redis: what a second one brings, and what Redis has to do.

``make bench BENCH=workers`` runs it; with ``BENCH_ARGS=--quick`` it checks that all of it works.
It needs Linux, two cores that nothing else uses, and redis-server.

What is measured
    One worker or two, each a process of its own with the same number of streams of a user's
    session; the layer and the history are on a Redis that this benchmark starts for itself. An
    event is published in the first worker when the one before has reached every stream of all
    workers. The load client accounts for each event of each stream by its number.

    The first worker has a core. The second one is on the core of the client and of Redis, for
    there are two. So the deliveries a second of two workers are less than two machines' would be,
    and the CPU time a delivery is the figure to go by: it says what a worker does that has a core
    for itself.

    What Redis does is counted by itself (INFO): commands, those inside of scripts too, and bytes
    that came in and went out. Counts do not depend on the machine, nor on what else runs there,
    but for the few commands by which each worker looks after its groups every two seconds.

What is reported
    Deliveries a second of all workers; microseconds of CPU time a delivery; what that makes for
    workers with a core each; events lost, repeated, out of order. And of Redis, for an event:
    commands and bytes, by the number of workers, streams and groups. Of the runs the median is
    given, with the least and the greatest.
"""

import argparse
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import options, report
from benchmarks.load import LoadClient
from benchmarks.process import ControlledProcess
from benchmarks.report import Spread, cell, rounded

__all__ = ["CASES", "Case", "growth"]

_QUIET_SECONDS = 5.0
_WARM_UP_EVENTS = 3
_FAULTS = ("lost", "repeated", "reordered")
# What the package promises: see --check. A single command for each stream would be hundreds more.
_MORE_COMMANDS = 1.0


class Case(NamedTuple):
    """One combination: a way of benchmarks/worker.py, so many workers, streams of each."""

    way: str
    workers: int
    part: float

    def label(self, streams: int) -> str:
        layer, _, groups = self.way.partition("-")
        many = "streams" if (count := int(streams * self.part)) != 1 else "stream"
        return (
            f"{layer}, {groups} group{'s' if groups != '1' else ''},"
            f" {self.workers} worker{'s' if self.workers > 1 else ''} of {count:,} {many}"
        )


CASES = {
    f"{way}-{name}": Case(way, workers, part)
    for way in ("core-1", "core-4", "pubsub-1", "pubsub-4")
    for name, workers, part in (("few", 1, 0.05), ("one", 1, 1), ("two", 2, 1))
}


def main() -> int:
    """Run the benchmark and write its report. Return the exit status."""
    chosen = _parse()
    if shutil.which("redis-server") is None:
        print("Without redis-server there is nothing to measure: it is not on PATH.")
        return 0
    about = options.begin(chosen)
    runs = []
    with tempfile.TemporaryDirectory(prefix="django-sse-workers-") as path, _redis(path) as redis:
        for number in range(chosen.runs):
            turn = number % len(chosen.cases)
            run = {}
            for name in chosen.cases[turn:] + chosen.cases[:turn]:
                run[name] = _measure(CASES[name], chosen, Path(path), redis)
                print(f"run {number + 1}: {name}: {_told(run[name])}", flush=True)
            runs.append(run)
    _write(chosen, about, runs)
    return _check(runs) if chosen.check else 0


def _parse() -> argparse.Namespace:
    parser = options.make_parser(
        "Several workers that share a Redis.",
        runs=3,
        check="nothing is lost, and an event is no more commands for Redis with more streams",
    )
    parser.add_argument("--streams", type=int, help="of each worker (1000; quick 40)")
    parser.add_argument("--events", type=int, help="how many are counted (300; quick 40)")
    parser.add_argument(
        "--cases", nargs="+", choices=CASES, default=list(CASES), metavar="NAME",
        help=f"some of: {' '.join(CASES)}",
    )  # fmt: skip
    chosen = options.parse(parser)
    chosen.streams = chosen.streams or (40 if chosen.quick else 1000)
    chosen.events = chosen.events or (40 if chosen.quick else 300)
    return chosen


@contextlib.contextmanager
def _redis(directory: str) -> Iterator[Any]:
    """Run a Redis for this benchmark alone; yield a client of it."""
    import redis

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", directory]
    command += ["--save", "", "--appendonly", "no", "--loglevel", "warning"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            client = redis.Redis(port=port)
            while not _answers(client):
                if server.poll() is not None:
                    sys.exit("redis-server has ended at once.")
                time.sleep(0.05)
            os.environ["BENCH_REDIS_URL"] = f"redis://127.0.0.1:{port}/0"
            with client:
                yield client
        finally:
            server.terminate()


def _answers(client: Any) -> bool:
    import redis

    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


def _measure(
    case: Case, chosen: argparse.Namespace, directory: Path, redis: Any
) -> dict[str, Any]:
    redis.flushall()  # The members of the case before were killed, and were sent events on.
    with contextlib.ExitStack() as stack:
        cores = [chosen.cores[number % 2] for number in range(case.workers)]
        workers = [
            stack.enter_context(ControlledProcess("benchmarks.worker", case.way, core, directory))
            for core in cores
        ]
        loads = []
        for worker in workers:
            loads.append(LoadClient(worker.greeting["port"], worker.greeting["headers"]))
            stack.callback(loads[-1].close)
            loads[-1].open(int(chosen.streams * case.part))
        _publish(workers[0], loads, 0, _WARM_UP_EVENTS)
        before, cpu = _work(redis), [worker.cpu_seconds() for worker in workers]
        began = time.perf_counter()
        counts = _publish(workers[0], loads, _WARM_UP_EVENTS, chosen.events)
        seconds = time.perf_counter() - began
        cpu = [worker.cpu_seconds() - then for worker, then in zip(workers, cpu, strict=True)]
        work = {name: value - before[name] for name, value in _work(redis).items()}
    return {
        **counts,
        "deliveries_per_second": counts["deliveries"] / seconds,
        "cpu_us_per_delivery": sum(cpu) / counts["deliveries"] * 1e6,
        "cores_each_per_second": counts["deliveries"] / max(cpu),
        **{f"{name}_per_event": value / chosen.events for name, value in work.items()},
    }


def _publish(
    publisher: ControlledProcess, loads: list[LoadClient], first: int, count: int
) -> dict[str, int]:
    """Publish events, each when all streams have the one before; return what came of them."""
    names = ("deliveries", "lost", "repeated", "reordered", "strays")
    counts = dict.fromkeys(names, 0)
    for number in range(first, first + count):
        for load in loads:
            load.expect(number, 1)
        publisher.command("burst", number, 1)
        for load in loads:
            tally = load.read(_QUIET_SECONDS)
            for name in names:
                counts[name] += getattr(tally, name)
        publisher.wait_until_done()
    return counts


def _work(redis: Any) -> dict[str, int]:
    found = redis.info("stats")
    return {
        "commands": found["total_commands_processed"],
        "bytes_in": found["total_net_input_bytes"],
        "bytes_out": found["total_net_output_bytes"],
    }


def _told(result: dict[str, Any]) -> str:
    return (
        f"{result['deliveries_per_second']:,.0f}/s, {result['cpu_us_per_delivery']:.1f} µs,"
        f" lost {result['lost']}; Redis {result['commands_per_event']:.1f} commands an event"
    )


def growth(runs: list[dict[str, dict[str, Any]]], few: str, many: str) -> Spread | None:
    """Return how many commands more an event takes in one case than in another of the run."""
    if not (few in runs[0] and many in runs[0]):
        return None
    name = "commands_per_event"
    return Spread.of([run[many][name] - run[few][name] for run in runs])


def _write(
    chosen: argparse.Namespace, about: dict[str, Any], runs: list[dict[str, dict[str, Any]]]
) -> None:
    def spread(case: str, name: str) -> Spread:
        return Spread.of([run[case][name] for run in runs])

    rates, work = [], []
    for case in (name for name in CASES if name in runs[0]):
        label = CASES[case].label(chosen.streams)
        faults = [
            sum(run[case][kind] for run in runs) for kind in ("lost", "repeated", "reordered")
        ]
        rates.append(
            [
                label,
                cell(spread(case, "deliveries_per_second"), rounded),
                cell(spread(case, "cpu_us_per_delivery"), "{:.1f}".format),
                cell(spread(case, "cores_each_per_second"), rounded),
                ", ".join(map(str, faults)),
            ]
        )
        work.append(
            [
                label,
                *(
                    cell(spread(case, f"{name}_per_event"), f"{{:,.{digits}f}}".format)
                    for name, digits in (("commands", 1), ("bytes_in", 0), ("bytes_out", 0))
                ),
            ]
        )
    head = ["", "deliveries a second", "workers' CPU, µs a delivery"]
    head += ["a second, with a core each", "lost, repeated, reordered"]
    text = "\n\n".join(
        [
            report.table(head, rates),
            report.table(["Redis, for an event", "commands", "bytes in", "bytes out"], work),
            f"{chosen.events} events, each when the one before has reached all streams;"
            f" {report.of_runs(len(runs))}. A second worker shares its core with the client and"
            " with Redis.",
            report.conditions(about),
        ]
    )
    content = {"machine": about, "streams": chosen.streams, "events": chosen.events, "runs": runs}
    report.write("workers", text, content, chosen.output)


def _check(runs: list[dict[str, dict[str, Any]]]) -> int:
    """Print what was demanded; return the exit status."""
    faults = sum(result[kind] for run in runs for result in run.values() for kind in _FAULTS)
    passed = faults == 0
    print(f"{faults} faults (none): {'passed' if passed else 'FAILED'}")
    for way in dict.fromkeys(case.way for case in CASES.values()):
        more = growth(runs, f"{way}-few", f"{way}-one")
        if more is not None:
            is_flat = abs(more.median) < _MORE_COMMANDS
            passed = passed and is_flat
            verdict = "passed" if is_flat else "FAILED"
            print(f"{way}: {more.median:+.2f} commands an event with more streams: {verdict}")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
