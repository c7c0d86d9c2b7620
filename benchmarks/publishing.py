"""
Publishing from sync code outside ASGI: each store, beside Channels' own way to do it.

``make bench BENCH=publishing`` runs it; with ``BENCH_ARGS=--quick`` it checks that all of it
works. It needs Linux, Redis, and two cores that nothing else uses; with PostgreSQL it also
measures DatabaseStore there.

What is measured
    Each way is a process of its own (benchmarks/sync_publisher.py), pinned to one core: a script
    that has called django.setup(), as a worker of Celery has. All of them are up from the
    beginning; in each run they take turns, in another order each time. A turn is one thread that
    publishes events of about 200 bytes of JSON to one group without a pause, for about a second.

    The peer is what Channels' documentation shows: async_to_sync(channel_layer.group_send), with
    channels_redis. Every call of it makes an event loop and a connection to Redis.

    SQLite and PostgreSQL are measured as Django sets them up, and as
    docs/how-to/choosing-a-store.md does: with WAL the one, with prepared statements the other.
    Each call is a transaction of its own, committed.

    The group on the core layer has one member, which stands for one serving process: with none,
    group_send() has nothing to send. On the pubsub layer nobody listens.

What is reported
    The rate of calls, and how long one took: that is what the caller waits for. With a store
    publish() returns when the event has its place in the history; a thread of the same process
    hands it to the channel layer soon after. So the second rate counts the time until the layer
    has taken the last of them: what one process can send for long. With no store publish() waits
    for the layer, as the peer does, and the two are the same. The CPU time is of all threads.

    Of the runs the median is given, with the least and the greatest. A ratio is taken within a
    run, to the peer on the same layer (to the one on the core layer, where there is no Redis
    layer), then its median.

    MemoryStore and the in-memory layer reach no other process. They tell what the package itself
    costs.
"""

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import options, report, services
from benchmarks.process import ControlledProcess
from benchmarks.report import Spread, cell, rounded
from benchmarks.sync_publisher import VARIANTS

LABELS = {
    "group_send-core": "async_to_sync(group_send), core layer (the peer)",
    "none-core": "publish(), no store, core layer",
    "redis-core": "**publish(), RedisStore, core layer**",
    "sqlite-core": "publish(), DatabaseStore on SQLite, core layer",
    "sqlite-wal-core": "**publish(), DatabaseStore on SQLite with WAL, core layer**",
    "postgresql-core": "publish(), DatabaseStore on PostgreSQL, core layer",
    "postgresql-prepared-core": "**publish(), DatabaseStore on PostgreSQL, prepared, core layer**",
    "group_send-pubsub": "async_to_sync(group_send), pubsub layer (the peer)",
    "none-pubsub": "publish(), no store, pubsub layer",
    "redis-pubsub": "**publish(), RedisStore, pubsub layer**",
    "memory": "**publish(), MemoryStore, in-memory layer**",
}

# What the package promises, of each store set up as its how-to says: see --check.
_TIMES_PEER = 5
_PROMISED = ("redis-core", "redis-pubsub", "sqlite-wal-core", "postgresql-prepared-core", "memory")

_TURN_SECONDS, _QUICK_TURN_SECONDS = 1.0, 0.1
_PILOT_EVENTS = 50
# What waits for the layer has an end; see django_sse/loops.py.
_MAX_EVENTS = 3_000

Run = dict[str, dict[str, Any]]


def main() -> int:
    """Run the benchmark and write its report. Return the exit status."""
    chosen = _parse()
    about = options.begin(chosen)
    with tempfile.TemporaryDirectory(prefix="django-sse-publishing-") as path:
        try:
            runs = _measure(chosen, Path(path))
        finally:
            services.forget_redis_keys(Path(path))
    _write(chosen, about, runs)
    return _check(runs) if chosen.check else 0


def _parse() -> argparse.Namespace:
    parser = options.make_parser(
        "Publishing from sync code outside ASGI.",
        runs=7,
        check=f"each store publishes at {_TIMES_PEER} times the rate of group_send",
    )
    parser.add_argument("--seconds", type=float, help="length of a turn (1; with --quick 0.1)")
    parser.add_argument(
        "--ways", nargs="+", choices=LABELS, default=list(LABELS), metavar="NAME",
        help=f"some of: {' '.join(LABELS)}",
    )  # fmt: skip
    chosen = options.parse(parser)
    chosen.seconds = chosen.seconds or (_QUICK_TURN_SECONDS if chosen.quick else _TURN_SECONDS)
    if problem := services.redis_problem():
        sys.exit(f"Publishing is measured with Redis, and there is none: {problem}")
    if _on_postgresql(chosen.ways) and (problem := services.postgresql_problem()):
        chosen.ways = [way for way in chosen.ways if way not in _on_postgresql(chosen.ways)]
        print(f"Without PostgreSQL: {problem}")
    if chosen.check and not any(_compared(name, chosen.ways) for name in chosen.ways):
        parser.error("--check compares a store with group_send on the same layer.")
    return chosen


def _measure(chosen: argparse.Namespace, directory: Path) -> list[Run]:
    with contextlib.ExitStack() as stack:
        if _on_postgresql(chosen.ways):
            stack.enter_context(services.temporary_postgresql(directory))
        publishers, counts = {}, {}
        for name in chosen.ways:
            process = ControlledProcess(
                "benchmarks.sync_publisher", name, chosen.cores[0], directory
            )
            publishers[name] = stack.enter_context(process)
            pilot = _turn(publishers[name], directory, _PILOT_EVENTS)
            # As many as the layer takes in the time: the thread that sends must keep up.
            wanted = round(pilot["sent_per_second"] * chosen.seconds)
            counts[name] = max(_PILOT_EVENTS, min(wanted, _MAX_EVENTS))
        runs = []
        for number in range(chosen.runs):
            turn = number % len(chosen.ways)
            order = chosen.ways[turn:] + chosen.ways[:turn]
            runs.append({name: _turn(publishers[name], directory, counts[name]) for name in order})
            print(f"run {number + 1}: {_line(runs[-1])}", flush=True)
        return runs


def _on_postgresql(ways: list[str]) -> list[str]:
    return [way for way in ways if VARIANTS[way].database.startswith("postgresql")]


def _turn(publisher: ControlledProcess, directory: Path, count: int) -> dict[str, Any]:
    publisher.command(0, count)
    result = publisher.answer()
    services.forget_redis_keys(directory, containing="specific.")
    if result["errors"]:
        raise RuntimeError(f"Events were not published: {result}; see above.")
    return result


def _line(run: Run) -> str:
    return ", ".join(
        f"{name} {run[name]['calls_per_second']:,.0f}/s" for name in LABELS if name in run
    )


def _write(chosen: argparse.Namespace, about: dict[str, Any], runs: list[Run]) -> None:
    text = "\n\n".join(
        [
            _table(runs),
            f"One thread of one process, to one group, about {chosen.seconds:g} s a turn, all in"
            f" turn; {report.of_runs(len(runs))}. Ratios are taken within each run, to the peer on"
            " the same layer; that of the in-memory layer to the one on the core layer.",
            report.conditions(about),
        ]
    )
    content = {"machine": about, "turn_seconds": chosen.seconds, "runs": runs}
    report.write("publishing", text, content, chosen.output)


def _table(runs: list[Run]) -> str:
    head = [
        "",
        "calls a second",
        "times the peer",
        "a call: p50, ms",
        "p99, ms",
        "handed to the layer, events a second",
        "times the peer",
        "CPU, µs an event",
    ]
    return report.table(head, (_cells(name, runs) for name in LABELS if name in runs[0]))


def _cells(name: str, runs: list[Run]) -> list[str]:
    def of(key: str) -> Spread:
        return Spread.of([run[name][key] for run in runs])

    return [
        LABELS[name],
        cell(of("calls_per_second"), rounded),
        cell(to_peer(name, runs, "calls_per_second"), "{:.1f}".format),
        cell(of("p50_ms"), "{:.2f}".format),
        cell(of("p99_ms"), "{:.2f}".format),
        cell(of("sent_per_second"), rounded),
        cell(to_peer(name, runs, "sent_per_second"), "{:.1f}".format),
        cell(of("cpu_us_per_event"), "{:.0f}".format),
    ]


def to_peer(name: str, runs: list[Run], key: str) -> Spread | None:
    """Return the ratio to the peer, taken within each run; None if that was not measured."""
    peer = _peer(name)
    if peer not in runs[0]:
        return None
    return Spread.of([run[name][key] / run[peer][key] for run in runs])


def _peer(name: str) -> str:
    on_layer = f"group_send-{VARIANTS[name].layer}"
    return on_layer if on_layer in VARIANTS else "group_send-core"


def _compared(name: str, ways: list[str]) -> bool:
    return name in _PROMISED and _peer(name) in ways


def _check(runs: list[Run]) -> int:
    """Print what was demanded of each store; return the exit status."""
    passed = True
    for name in (name for name in runs[0] if _compared(name, list(runs[0]))):
        ratio = to_peer(name, runs, "calls_per_second")
        assert ratio is not None
        holds = ratio.median >= _TIMES_PEER
        passed = passed and holds
        print(
            f"{name}: {ratio.median:.1f} times group_send (at least {_TIMES_PEER}):"
            f" {'passed' if holds else 'FAILED'}"
        )
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
