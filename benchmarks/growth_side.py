"""
One of the two servers of the growth benchmark with its streams, in a process of its own.

A process may have only so many files open: with one client the two servers would have half the
streams. The processes take turns at the word of the benchmark, on the client's core.
"""

import argparse
import contextlib
import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import limits
from benchmarks.events import group_names
from benchmarks.load import LoadClient
from benchmarks.measure import Session, measure_paced
from benchmarks.opener import wait_until_idle
from benchmarks.process import ROOT, ServerProcess

__all__ = ["Side"]

_OPENING_SECONDS = 300
# Of more groups an event is published to so many.
_GROUPS_REACHED = 250


class Side:
    """
    The benchmark's end: runs the process for as long as the block lasts.

    Attributes:
        streams: How many streams an event reaches.
    """

    def __init__(self, name: str, cores: tuple[int, int], directory: Path, most: int) -> None:
        command = [sys.executable, "-m", "benchmarks.growth_side", name, "--most", str(most)]
        command += ["--cores", *map(str, cores), "--directory", str(directory)]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.streams = 0

    def __enter__(self) -> "Side":
        return self

    def __exit__(self, *args: object) -> None:
        # At the end of its input it ends its server, and goes.
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def open(self, count: int, groups: int) -> int:
        """Open streams, dealt out to the *groups*, until there are *count*; return how many."""
        self.streams, opened = self._ask("open", count, groups)
        return int(opened)

    def measure(self, events: int) -> dict[str, Any]:
        """Publish *events*, paced, and return what came of it."""
        found: dict[str, Any] = self._ask("measure", events)
        return found

    def _ask(self, *command: str | int) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        if not (line := self._process.stdout.readline()):
            raise RuntimeError("The client of a server has ended; see above.")
        return json.loads(line)


class _Clients:
    """The process's end: its server, with a client that is sent events and one that is not."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self._load = LoadClient(server.port, server.headers)
        self._others = LoadClient(server.port, server.headers)
        self._session = Session(server, self._load)

    def open(self, count: int, groups: int) -> tuple[int, int]:
        opened = count - len(self._load) - len(self._others)
        names = group_names(groups)
        reached = count * len(names[:_GROUPS_REACHED]) // groups
        self._load.open(
            reached - len(self._load), _OPENING_SECONDS, groups=names[:_GROUPS_REACHED]
        )
        if reached < count:
            self._others.open(count - reached, _OPENING_SECONDS, groups=names[_GROUPS_REACHED:])
        self._session = Session(self._server, self._load, groups=min(groups, _GROUPS_REACHED))
        self._session.warm_up()
        wait_until_idle(self._server)
        gc.collect()
        return len(self._load), opened

    def measure(self, events: int) -> dict[str, Any]:
        return measure_paced(self._session, events)

    def close(self) -> None:
        self._load.close()
        self._others.close()


def main() -> None:
    """Do what is asked, a line of JSON each, until there are no more."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--cores", type=int, nargs=2, required=True)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--most", type=int, required=True)
    given = parser.parse_args()
    os.sched_setaffinity(0, {given.cores[1]})
    limits.at_most(given.most)
    gc.disable()
    with (
        ServerProcess(given.name, given.cores[0], given.directory) as server,
        contextlib.closing(_Clients(server)) as clients,
    ):
        do: dict[str, Callable[..., Any]] = {"open": clients.open, "measure": clients.measure}
        for line in sys.stdin:
            name, *numbers = json.loads(line)
            print(json.dumps(do[name](*numbers)), flush=True)


if __name__ == "__main__":
    main()
