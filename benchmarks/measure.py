"""The measurements of one server: paced, a burst, and the load client's own ceiling."""

import gc
import time
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.events import GROUP, group_names
from benchmarks.load import LoadClient, Tally
from benchmarks.process import ServerProcess

__all__ = [
    "Plan",
    "Session",
    "counts_of",
    "measure",
    "measure_bursts",
    "measure_bursts_with_own_ids",
    "measure_paced",
    "paced_events",
]

# Nothing for this long is taken for the end, and what is missing for lost.
_QUIET_SECONDS = 3.0
_WARM_UP_QUIET_SECONDS = 1.0
_WARM_UP_ATTEMPTS = 60
_CEILING_ROUNDS = 40


class Plan(NamedTuple):
    """
    How much is measured.

    Attributes:
        streams: How many streams are opened.
        paced_seconds: How long the paced part lasts, about.
        burst_events: The events of a burst.
        bursts: How many bursts there are; there may be none.
        rounds: How often two servers take turns beside each other; see benchmarks/pairs.py.
        round_seconds: How long a turn lasts, about.
        groups: How many groups the streams are dealt out to. Each event goes to all of them.
        least_events: How many paced events there are at least, however long they take.
    """

    streams: int
    paced_seconds: float
    burst_events: int
    bursts: int
    rounds: int
    round_seconds: float
    groups: int = 1
    least_events: int = 20


class Session:
    """
    A server with its open streams, and the numbers of the events to come, from *first* on.

    Each event goes to all of the *groups*; see benchmarks/publisher.py.
    """

    def __init__(
        self, server: ServerProcess, load: LoadClient, first: int = 0, *, groups: int = 1
    ) -> None:
        self.server = server
        self.load = load
        self.next = first
        self.groups = groups

    def expect(self, count: int) -> Tally:
        tally = self.load.expect(self.next, count)
        self.next += count
        return tally

    def burst(self, count: int, quiet_seconds: float = _QUIET_SECONDS) -> Tally:
        tally = self.expect(count)
        self.server.command("burst", tally.first, count, self.groups)
        return self.load.read(quiet_seconds)

    def paced(self, count: int) -> Tally:
        tally = self.expect(count)
        self.server.command("paced", tally.first, count, self.groups)
        return self.load.read_paced(_QUIET_SECONDS, lambda: self.server.command("ack"))

    def warm_up(self) -> None:
        """Publish until three events in a row have reached every stream: some open late."""
        arrived = 0
        for _ in range(_WARM_UP_ATTEMPTS):
            is_complete = self.burst(1, _WARM_UP_QUIET_SECONDS).is_complete
            self.server.wait_until_done()
            arrived = arrived + 1 if is_complete else 0
            if arrived == 3:
                return
        raise RuntimeError("The streams are open, but not all of them are sent events.")


def measure(name: str, core: int, directory: Path, plan: Plan) -> dict[str, Any]:
    """Start the server *name* on *core*, measure it, and return what came out."""
    with ServerProcess(name, core, directory) as server:
        load = LoadClient(server.port, server.headers)
        session = Session(server, load, groups=plan.groups)
        try:
            began = time.perf_counter()
            load.open(plan.streams, groups=group_names(plan.groups))
            opening = time.perf_counter() - began
            session.warm_up()
            result: dict[str, Any] = {"open_seconds": round(opening, 2), **server.status()}
            gc.collect()
            gc.disable()
            count = paced_events(session, plan.paced_seconds, plan.least_events)
            result["paced"] = measure_paced(session, count)
            if plan.bursts:
                result["burst"] = measure_bursts(session, plan.burst_events, plan.bursts)
            if name == "floor":
                result["client_ceiling"] = _measure_ceiling(session)
            result["closed_streams"] = load.closed
            return result
        finally:
            gc.enable()
            load.close()


def measure_bursts_with_own_ids(
    name: str, core: int, directory: Path, plan: Plan
) -> dict[str, Any]:
    """
    Measure bursts to one group, whose streams are each in a group of their own as well.

    A stream's id then tells of two groups, so no two streams are sent the same bytes.
    """
    with ServerProcess(name, core, directory) as server:
        load = LoadClient(server.port, server.headers)
        session = Session(server, load)
        try:
            load.open(plan.streams, groups=[f"{GROUP},g{n}" for n in range(plan.streams)])
            session.warm_up()
            gc.collect()
            gc.disable()
            return measure_bursts(session, plan.burst_events, plan.bursts)
        finally:
            gc.enable()
            load.close()


def paced_events(session: Session, seconds: float, least: int = 20) -> int:
    """Return how many paced events take about *seconds*; not fewer than *least*."""
    began = time.perf_counter()
    session.paced(least)
    session.server.wait_until_done()
    event_seconds = (time.perf_counter() - began) / least
    return max(least, round(seconds / event_seconds))


def measure_paced(session: Session, count: int) -> dict[str, Any]:
    """Publish *count* events, each when all streams have the one before."""
    load, server = session.load, session.server
    reads, size = load.reads, load.bytes_read
    cpu, own_cpu, began = server.cpu_seconds(), time.process_time(), time.perf_counter()
    tally = session.paced(count)
    seconds = (tally.finished_at or time.perf_counter()) - began
    cpu, own_cpu = server.cpu_seconds() - cpu, time.process_time() - own_cpu
    server.wait_until_done()
    return {
        **counts_of(tally),
        "seconds": seconds,
        "deliveries_per_second": tally.deliveries / seconds,
        "cpu_us_per_delivery": cpu / max(1, tally.deliveries) * 1e6,
        "server_core_share": cpu / seconds,
        "client_core_share": own_cpu / seconds,
        "deliveries_per_read": tally.deliveries / max(1, load.reads - reads),
        "bytes_per_delivery": (load.bytes_read - size) / max(1, tally.deliveries),
    }


def measure_bursts(session: Session, events: int, bursts: int) -> dict[str, Any]:
    """Publish *events* without a pause, *bursts* times."""
    load, server = session.load, session.server
    reads, cpu, seconds, own_cpu = load.reads, server.cpu_seconds(), 0.0, time.process_time()
    sums = dict.fromkeys(("expected", "deliveries", "lost", "repeated", "reordered", "strays"), 0)
    for _ in range(bursts):
        began = time.perf_counter()
        tally = session.burst(events)
        seconds += (tally.finished_at or time.perf_counter()) - began
        server.wait_until_done()
        for name, number in counts_of(tally).items():
            sums[name] += number
    own_cpu = time.process_time() - own_cpu
    cpu = server.cpu_seconds() - cpu
    return {
        **sums,
        "seconds": seconds,
        "deliveries_per_second": sums["deliveries"] / seconds,
        "cpu_us_per_delivery": cpu / max(1, sums["deliveries"]) * 1e6,
        "client_core_share": own_cpu / seconds,
        "deliveries_per_read": sums["deliveries"] / max(1, load.reads - reads),
    }


def _measure_ceiling(session: Session) -> float:
    """
    Return how many deliveries a second the load client can read, one event a read.

    The server has written an event to all streams and is idle before the client begins to read.
    """
    seconds, deliveries = 0.0, 0
    for _ in range(_CEILING_ROUNDS):
        tally = session.expect(1)
        session.server.command("burst", tally.first, 1, session.groups)
        session.server.wait_until_done()
        time.sleep(0.05)
        began = time.perf_counter()
        session.load.read(_QUIET_SECONDS)
        seconds += (tally.finished_at or time.perf_counter()) - began
        deliveries += tally.deliveries
    return deliveries / seconds


def counts_of(tally: Tally) -> dict[str, int]:
    """Return what came, and what went wrong."""
    return {
        "expected": tally.streams * tally.count,
        "deliveries": tally.deliveries,
        "lost": tally.lost,
        "repeated": tally.repeated,
        "reordered": tally.reordered,
        "strays": tally.strays,
    }
