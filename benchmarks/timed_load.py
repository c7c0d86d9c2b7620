"""
A load client that says when to publish, and takes the time that each delivery needed.

An event is published by a command on the control connection, at its time by the clock, whether
the one before has arrived or not. The time of a delivery runs from just before that command is
written until the client has read the bytes, both by the one clock of this process: what the
command waits for in a server that is busy is in it.
"""

import os
import time
from array import array
from collections.abc import Callable, Mapping

from benchmarks.load import LoadClient, Tally
from benchmarks.wire import Span

__all__ = ["TimedLoadClient"]

_READ_BYTES = 65_536
# So few streams are read before the client looks at the clock again: a fraction of a millisecond.
_READ_AT_ONCE = 32


class TimedLoadClient(LoadClient):
    """
    Opens streams of one server, and reads them by the clock.

    Attributes:
        latencies: Of each delivery in turn, in nanoseconds.
        lateness: How much later than planned each event was published, in nanoseconds.
    """

    def __init__(self, port: int, headers: Mapping[str, str]) -> None:
        super().__init__(port, headers)
        self.latencies = array("q")
        self.lateness = array("q")

    def read_timed(
        self,
        publish: Callable[[int], None],
        events: int,
        interval_seconds: float,
        quiet_seconds: float,
    ) -> Tally:
        """
        Publish by *publish* each of the *events* that were expected, and read.

        Returns when every stream has got every event, or when all have been published and nothing
        has come for *quiet_seconds*.
        """
        interval = round(interval_seconds * 1e9)
        first, start, done = self.tally.first, time.monotonic_ns() + interval, 0
        published_at: list[int] = []
        while True:
            now, due = time.monotonic_ns(), start + done * interval
            if done < events and now >= due:
                self.lateness.append(now - due)
                published_at.append(now)
                publish(first + done)
                done += 1
            elif not self._read_some(
                (due - now) / 1e9 if done < events else quiet_seconds, published_at
            ) and (done == events):
                return self.tally
            if done == events and self.tally.is_complete:
                return self.tally

    def forget_times(self) -> None:
        """Begin to collect times anew."""
        self.latencies, self.lateness = array("q"), array("q")

    def watch(self, seconds: float) -> None:
        """Read whatever comes for *seconds*."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._read_ready(left)

    def _read_some(self, timeout: float, published_at: list[int]) -> bool:
        """Read a few streams that have something; note how long each delivery took."""
        tally = self.tally
        ready = self._epoll.poll(timeout, _READ_AT_ONCE)
        for fd, _ in ready:
            data = os.read(fd, _READ_BYTES)
            now = time.monotonic_ns()
            self.bytes_read += len(data)
            self.reads += 1
            for first, count in self._spans_of(fd, data):
                for seq in range(first, first + count):
                    before = tally.deliveries
                    self._take(fd, seq, 1)
                    if tally.deliveries > before:
                        self.latencies.append(now - published_at[seq - tally.first])
        if ready:
            tally.finished_at = time.perf_counter()
        return bool(ready)

    def _spans_of(self, fd: int, data: bytes) -> list[Span]:
        """Return the events that *data* completes, as runs: the first of each, and how many."""
        span = None
        if fd not in self._unfinished:
            span = self._known.get(data) or self._recognize(data)
        return self._decode(fd, data) if span is None else [span]
