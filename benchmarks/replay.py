"""
Replay: 1,000 clients come back at once, each with a last event id from 1,000 events ago.

``make bench BENCH=replay`` runs it; with ``BENCH_ARGS=--quick`` it checks that all of it works. It
needs Linux, and two cores that nothing else uses; with Redis it also measures RedisStore.

What is measured
    One uvicorn worker, pinned to one core, has 1,000 streams of one group (benchmarks/servers/).
    A client notes its last event id. Then 1,000 events are published, paced as in the fan-out
    benchmark: this is the live fan-out. All streams are cut. When the worker has seen that, 1,000
    clients connect at once, with that id as their ``Last-Event-ID``, and the time runs until
    the last of them has the last of the 1,000 events. Then as many events are published in
    bursts, to these streams: that shows that they are live again, and what joining does live.

    The load client (benchmarks/load.py) accounts for every event of each stream by its number.

What is reported
    Replayed events a second over the whole time, in which the worker also answers 1,000 requests,
    with session and user; beside it how long it took to open as many streams at once with nothing
    to replay. The ratios are to the live fan-out of as many deliveries in the same run, paced and
    in bursts. The microseconds of CPU time a delivery are the server's, for all of it. The reads
    of the store are counted in the server: clients at the same place share a read. An event that
    comes once more after all is seen with the bursts, as one that belongs to an earlier part.
"""

import argparse
import contextlib
import gc
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import options, report, services
from benchmarks.load import LoadClient
from benchmarks.measure import Session, counts_of, measure_bursts, measure_paced
from benchmarks.process import ServerProcess
from benchmarks.report import Spread, cell, rounded

LABELS = {
    "django_sse": "in-memory layer, MemoryStore",
    "django_sse-redis": "Redis layer, RedisStore",
}
_ON_REDIS = "django_sse-redis"

# Between the requests and the first of what is replayed.
_OPENING_SECONDS = 30.0
_FAULTS = ("lost", "repeated", "reordered", "strays")


class Plan(NamedTuple):
    """How many streams come back, after how many events; and the events of a live burst."""

    streams: int
    events: int
    burst_events: int


_FULL = Plan(streams=1_000, events=1_000, burst_events=200)
_QUICK = Plan(streams=100, events=100, burst_events=50)


def main() -> int:
    """Run the benchmark and write its report. Return the exit status."""
    chosen = _parse()
    about = options.begin(chosen)
    runs = []
    with tempfile.TemporaryDirectory(prefix="django-sse-replay-") as path:
        directory = Path(path)
        try:
            for number in range(chosen.runs):
                order = chosen.servers[::-1] if number % 2 else chosen.servers
                runs.append({name: _run(number, name, chosen, directory) for name in order})
        finally:
            if _ON_REDIS in chosen.servers:
                services.forget_redis_keys(directory)
    _write(chosen, about, runs)
    return _check(runs)


def _parse() -> argparse.Namespace:
    parser = options.make_parser(
        "Replay to many clients that come back at once.",
        runs=3,
        check="nothing is lost, repeated or reordered, which it does anyway",
    )
    parser.add_argument("--streams", type=int, help="how many streams (1000; with --quick 100)")
    parser.add_argument("--events", type=int, help="how many events each missed (1000; 100)")
    parser.add_argument(
        "--servers", nargs="+", choices=LABELS, default=list(LABELS), metavar="NAME",
        help=f"some of: {' '.join(LABELS)}",
    )  # fmt: skip
    chosen = options.parse(parser)
    plan = _QUICK if chosen.quick else _FULL
    chosen.plan = plan._replace(
        streams=chosen.streams or plan.streams, events=chosen.events or plan.events
    )
    if _ON_REDIS in chosen.servers and (problem := services.redis_problem()):
        chosen.servers.remove(_ON_REDIS)
        print(f"Without RedisStore: {problem}")
        if not chosen.servers:
            parser.error("There is nothing to measure.")
    return chosen


def _run(number: int, name: str, chosen: argparse.Namespace, directory: Path) -> dict[str, Any]:
    print(f"run {number + 1}: {name} … ", end="", flush=True)
    result = measure(name, chosen.cores[0], directory, chosen.plan)
    replay, live = result["replay"], result["live"]
    print(
        f"{replay['seconds']:.1f} s, {replay['deliveries_per_second']:,.0f}/s,"
        f" {replay['store_reads']} reads; live {live['deliveries_per_second']:,.0f}/s paced,"
        f" {result['burst']['deliveries_per_second']:,.0f}/s in bursts; faults {_faults(result)}"
    )
    return result


def measure(name: str, core: int, directory: Path, plan: Plan) -> dict[str, Any]:
    """Start the server *name* on *core*; return how it fans out live, replays, and goes on."""
    with ServerProcess(name, core, directory) as server:
        with _load(server) as load:
            began = time.perf_counter()
            load.open(plan.streams, at_once=plan.streams)
            opening = time.perf_counter() - began
            session = Session(server, load)
            session.warm_up()
            last_event_id, first = _last_event_id(server), session.next
            live = measure_paced(session, plan.events)
        _wait_until_closed(server)
        with _load(server, {"Last-Event-ID": last_event_id}) as load:
            replay = _measure_replay(server, load, first, plan)
            later = Session(server, load, first + plan.events)
            bursts = max(1, plan.events // plan.burst_events)
            burst = measure_bursts(later, plan.burst_events, bursts)
    return {"opening_seconds": opening, "live": live, "replay": replay, "burst": burst}


@contextlib.contextmanager
def _load(server: ServerProcess, headers: dict[str, str] | None = None) -> Iterator[LoadClient]:
    load = LoadClient(server.port, {**server.headers, **(headers or {})})
    gc.collect()
    gc.disable()
    try:
        yield load
    finally:
        gc.enable()
        load.close()


def _last_event_id(server: ServerProcess) -> str:
    """Return the id that a stream is given when it opens: that of the last event."""
    lines = ["GET /events HTTP/1.1", "Host: 127.0.0.1", "Accept: text/event-stream"]
    lines += [f"{name}: {value}" for name, value in server.headers.items()]
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        for line in connection.makefile("rb"):
            if line.startswith(b"id: "):
                return line[4:].strip().decode()
    raise RuntimeError("The server told no id: it keeps no history.")


def _wait_until_closed(server: ServerProcess) -> None:
    deadline = time.monotonic() + 60
    while open_streams := server.counts()["streams_open"]:
        if time.monotonic() > deadline:
            raise TimeoutError(f"The server still has {open_streams} streams open.")
        time.sleep(0.05)


def _measure_replay(
    server: ServerProcess, load: LoadClient, first: int, plan: Plan
) -> dict[str, Any]:
    reads, cpu, own_cpu = server.counts()["store_reads"], server.cpu_seconds(), time.process_time()
    began = time.perf_counter()
    tally = load.resume(plan.streams, first, plan.events, _OPENING_SECONDS)
    seconds = tally.finished_at - began
    cpu, own_cpu = server.cpu_seconds() - cpu, time.process_time() - own_cpu
    return {
        **counts_of(tally),
        "seconds": seconds,
        "deliveries_per_second": tally.deliveries / seconds,
        "cpu_us_per_delivery": cpu / max(1, tally.deliveries) * 1e6,
        "client_core_share": own_cpu / seconds,
        "store_reads": server.counts()["store_reads"] - reads,
        **{f"server_{name}": value for name, value in server.status().items()},
    }


def _write(
    chosen: argparse.Namespace, about: dict[str, Any], runs: list[dict[str, dict[str, Any]]]
) -> None:
    plan = chosen.plan
    text = "\n\n".join(
        [
            _table(chosen.servers, runs),
            f"{plan.streams:,} clients come back at once to one uvicorn worker, each after"
            f" {plan.events:,} events; {report.of_runs(len(runs))}. Ratios are taken within each"
            " run.",
            report.conditions(about),
        ]
    )
    content = {"machine": about, "plan": plan._asdict(), "runs": runs}
    report.write("replay", text, content, chosen.output)


def _table(servers: list[str], runs: list[dict[str, dict[str, Any]]]) -> str:
    head = [
        "",
        "seconds until all have all",
        "of these, to open the streams",
        "deliveries a second",
        "of live, paced",
        "of live, in bursts",
        "server CPU, µs a delivery",
        "reads of the store",
        "lost, repeated, reordered",
    ]
    return report.table(head, (_cells(name, [run[name] for run in runs]) for name in servers))


def _cells(name: str, results: list[dict[str, Any]]) -> list[str]:
    rate = "deliveries_per_second"

    def of(key: str) -> Spread:
        return Spread.of([result["replay"][key] for result in results])

    def ratio(live: str) -> Spread:
        return Spread.of([r["replay"][rate] / r[live][rate] for r in results])

    faults = [sum(r["replay"][fault] for r in results) for fault in _FAULTS[:3]]
    return [
        LABELS[name],
        cell(of("seconds"), "{:.1f}".format),
        cell(Spread.of([r["opening_seconds"] for r in results]), "{:.1f}".format),
        cell(of(rate), rounded),
        cell(ratio("live"), "{:.0%}".format),
        cell(ratio("burst"), "{:.0%}".format),
        cell(of("cpu_us_per_delivery"), "{:.1f}".format),
        cell(of("store_reads"), "{:,.0f}".format),
        ", ".join(map(str, faults)),
    ]


def _check(runs: list[dict[str, dict[str, Any]]]) -> int:
    """Print what went wrong with events; return the exit status."""
    faults = sum(_faults(result) for run in runs for result in run.values())
    print(f"Events lost, repeated or out of order: {faults}. {'FAILED' if faults else 'passed'}")
    return 1 if faults else 0


def _faults(result: dict[str, Any]) -> int:
    return sum(result[part][f] for part in ("live", "replay", "burst") for f in _FAULTS)


if __name__ == "__main__":
    sys.exit(main())
