"""
One server with streams to which nothing happens: what one line of benchmarks/memory.py runs.

A process of its own: two servers' streams may be more than the files that one client may open.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import limits
from benchmarks.process import ServerProcess
from benchmarks.timed_load import TimedLoadClient

__all__: list[str] = []

_OPENING_SECONDS = 900


def main() -> None:
    """Open the streams, say "open"; when told to go on, let them be, and print what that takes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--cores", type=int, nargs=2, required=True)
    parser.add_argument("--streams", type=int, required=True)
    parser.add_argument("--first", type=int, required=True)
    parser.add_argument("--settle", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    given = parser.parse_args()
    os.sched_setaffinity(0, {given.cores[1]})
    limits.at_most(given.streams)
    with ServerProcess(given.name, given.cores[0], given.directory) as server:
        load = TimedLoadClient(server.port, server.headers)
        try:
            print(json.dumps(_measure(server, load, given)), flush=True)
        finally:
            load.close()


def _measure(
    server: ServerProcess, load: TimedLoadClient, given: argparse.Namespace
) -> dict[str, Any]:
    # What is imported, made or cached by the first requests is no stream's.
    load.open(given.first, _OPENING_SECONDS)
    load.watch(1)
    before = server.status()
    began = time.perf_counter()
    load.open(given.streams - given.first, _OPENING_SECONDS)
    opening = time.perf_counter() - began
    print("open", flush=True)
    sys.stdin.readline()
    load.watch(given.settle)
    reads, cpu, own_cpu = load.reads, server.cpu_seconds(), time.process_time()
    began = time.perf_counter()
    load.watch(given.seconds)
    seconds = time.perf_counter() - began
    cpu, own_cpu = server.cpu_seconds() - cpu, time.process_time() - own_cpu
    after = server.status()
    return {
        "streams": given.streams,
        "opening_seconds": opening,
        "before": before,
        "after": after,
        "kb_per_stream": (after["rss_kb"] - before["rss_kb"]) / (given.streams - given.first),
        "threads": after["threads"],
        "cpu_percent": 100 * cpu / seconds,
        "client_cpu_percent": 100 * own_cpu / seconds,
        "reads_per_stream": (load.reads - reads) / given.streams,
        "closed": load.closed,
    }


if __name__ == "__main__":
    main()
