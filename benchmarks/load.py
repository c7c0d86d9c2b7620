"""
The load client: many event streams read by one thread, every event of each of them accounted for.

It has to be faster than the fastest server. So it waits in epoll, reads each socket that is ready
once, and decodes each distinct piece of bytes once: the streams of a group are sent the same
bytes, and a dict remembers which events those were. Of events whose ids differ from stream to
stream, the data is remembered. Bytes not seen before, and those that begin or end within a chunk
or an event, go the long way: the chunked coding is taken off, then events are looked for.

A run of events in order is two numbers, the first and how many, so a burst that a server has
joined into one write costs no more to count than one event.
"""

import collections
import dataclasses
import os
import select
import socket
import time
from collections.abc import Callable, Mapping, Sequence

from benchmarks.events import EVENT, GROUP
from benchmarks.wire import Span, check_head, data_lines, dechunk, has_only_ids, runs_of

__all__ = ["LoadClient", "Tally"]

_READ_BYTES = 65_536
_CONNECT_AT_ONCE = 50
# Longer pieces, and more of them, hardly come twice.
_REMEMBERED_BYTES = 65_536
_REMEMBERED_PIECES = 2_048


@dataclasses.dataclass(slots=True)
class Tally:
    """
    What has come of the events *first* to *first* + *count* - 1 on all streams.

    Attributes:
        deliveries: Events that came, each counted once for each stream.
        repeated: Events that a stream got again.
        reordered: Events that came after a later one.
        strays: Events of earlier tallies that came late.
        finished_at: When the last delivery was read, by time.perf_counter().
    """

    first: int
    count: int
    streams: int
    deliveries: int = 0
    repeated: int = 0
    reordered: int = 0
    strays: int = 0
    finished_at: float = 0.0

    @property
    def lost(self) -> int:
        """Deliveries that are missing."""
        return self.streams * self.count - self.deliveries

    @property
    def is_complete(self) -> bool:
        """Whether every stream has got every event."""
        return self.deliveries == self.streams * self.count


class LoadClient:
    """Opens streams of one server and reads them. Not for several threads."""

    def __init__(self, port: int, headers: Mapping[str, str]) -> None:
        self._address = ("127.0.0.1", port)
        lines = [" HTTP/1.1", f"Host: 127.0.0.1:{port}", "Accept: text/event-stream"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self._request = "\r\n".join([*lines, "", ""])
        self._epoll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        # What has come of an answer's head that is not whole yet, of a chunk, and of an event; and
        # the streams of which that is so.
        self._heads: dict[int, bytes] = {}
        self._chunks: dict[int, bytes] = {}
        self._events: dict[int, bytes] = {}
        self._unfinished: set[int] = set()
        self._is_chunked = True
        self._known: dict[bytes, Span] = {}
        self._known_data: dict[bytes, Span] = {}
        self._missing: dict[int, set[int]] = collections.defaultdict(set)
        self._expected: dict[int, int] = {}
        self.tally = Tally(0, 0, 0)
        self.bytes_read = 0
        self.reads = 0
        self.closed = 0

    def open(
        self,
        count: int,
        timeout: float = 60,
        *,
        at_once: int = _CONNECT_AT_ONCE,
        groups: Sequence[str] = (GROUP,),
    ) -> None:
        """
        Open *count* streams, *at_once* at a time, and return when each has answered.

        The *groups* are dealt out in turn; one may be several with commas between their names.

        Raises:
            RuntimeError: If an answer is no event stream.
            TimeoutError: If one does not come.
        """
        deadline = time.monotonic() + timeout
        for start in range(0, count, at_once):
            number = min(at_once, count - start)
            self._connect([groups[i % len(groups)] for i in range(start, start + number)])
            while self._heads:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{len(self._heads)} streams were not answered in time.")
                for fd, _ in self._epoll.poll(1):
                    self._decode(fd, os.read(fd, _READ_BYTES))

    def resume(self, count: int, first: int, events: int, quiet_seconds: float) -> Tally:
        """
        Open *count* streams at once; account for the *events* that each is sent from its start.

        Returns when all have come, or none has for *quiet_seconds*. Raises as open() does.
        """
        self._connect([GROUP] * count)
        self.expect(first, events)
        return self.read(quiet_seconds)

    def _connect(self, groups: Sequence[str]) -> None:
        for group in groups:
            connection = socket.create_connection(self._address, timeout=10)
            connection.sendall(f"GET /events?group={group}{self._request}".encode())
            connection.setblocking(False)
            fd = connection.fileno()
            self._sockets[fd] = connection
            self._heads[fd] = self._chunks[fd] = self._events[fd] = b""
            self._unfinished.add(fd)
            self._epoll.register(fd, select.EPOLLIN)

    def __len__(self) -> int:
        return len(self._sockets)

    def expect(self, first: int, count: int) -> Tally:
        """Account for *count* events from number *first* on; return where."""
        self.tally = Tally(first, count, len(self))
        self._expected = dict.fromkeys(self._sockets, first)
        self._missing.clear()
        self._known.clear()
        self._known_data.clear()
        return self.tally

    def read(self, quiet_seconds: float) -> Tally:
        """Read until every stream has got every event, or none has come for *quiet_seconds*."""
        while not self.tally.is_complete and self._read_ready(quiet_seconds):
            pass
        return self.tally

    def read_paced(self, quiet_seconds: float, acknowledge: Callable[[], None]) -> Tally:
        """
        Do as read(), with a publisher that waits for *acknowledge* after each event.

        It is called when an event has reached every stream; also when nothing has come for
        *quiet_seconds*: what is missing of that event is lost.
        """
        tally = self.tally
        for _ in range(tally.count):
            goal = tally.deliveries + tally.streams
            while tally.deliveries < goal and self._read_ready(quiet_seconds):
                pass
            acknowledge()
        return tally

    def _read_ready(self, timeout: float) -> bool:
        """Wait for bytes, and take one read of each stream that has some."""
        ready = self._epoll.poll(timeout, len(self._sockets))
        # Local names: this loop is what has to be fast.
        read, known, expected, unfinished = os.read, self._known, self._expected, self._unfinished
        deliveries, size, before = 0, 0, self.tally.deliveries
        for fd, _ in ready:
            data = read(fd, _READ_BYTES)
            size += len(data)
            span = None if fd in unfinished else known.get(data) or self._recognize(data)
            if span is None:
                for each in self._decode(fd, data):
                    self._take(fd, *each)
            elif span[0] == expected[fd]:
                expected[fd] += span[1]
                deliveries += span[1]
            else:
                self._take(fd, *span)
        self.tally.deliveries += deliveries
        if self.tally.deliveries > before:
            self.tally.finished_at = time.perf_counter()
        self.bytes_read += size
        self.reads += len(ready)
        return bool(ready)

    def _take(self, fd: int, first: int, count: int) -> None:
        tally, missing = self.tally, self._missing[fd]
        for seq in range(first, first + count):
            expected = self._expected[fd]
            if not tally.first <= seq < tally.first + tally.count:
                tally.strays += 1
            elif seq < expected and seq not in missing:
                tally.repeated += 1
            else:
                if seq >= expected:
                    missing.update(range(expected, seq))
                    self._expected[fd] = seq + 1
                else:
                    missing.discard(seq)
                    tally.reordered += 1
                tally.deliveries += 1

    def _recognize(self, data: bytes) -> Span | None:
        """Return the events of *data*, if they have come before with other ids."""
        span = self._known_data.get(data_lines(data))
        return span if span and has_only_ids(data, self._is_chunked) else None

    def _decode(self, fd: int, data: bytes) -> list[Span]:
        """Return the events that *data* completes; keep what it leaves open."""
        if fd in self._heads:
            data = self._take_head(fd, data)
            if fd in self._heads or not data:
                return []
        if not data:
            self.closed += 1
            self._epoll.unregister(fd)
            return []
        is_fresh = not (self._chunks[fd] or self._events[fd])
        body = data
        if self._is_chunked:
            body, self._chunks[fd] = dechunk(self._chunks[fd] + data)
        text = self._events[fd] + body
        end = max(text.rfind(b"\n\n") + 2, text.rfind(b"\n\r\n") + 3)
        if end < 3:
            end = 0
        self._events[fd] = text[end:]
        spans = runs_of([int(seq) for seq in EVENT.findall(text[:end])])
        if self._chunks[fd] or self._events[fd]:
            self._unfinished.add(fd)
        else:
            self._unfinished.discard(fd)
            if is_fresh and len(spans) == 1 and len(data) < _REMEMBERED_BYTES:
                self._remember(data, spans[0])
        return spans

    def _remember(self, data: bytes, span: Span) -> None:
        if len(self._known) >= _REMEMBERED_PIECES:
            self._known.clear()
        self._known[data] = span
        if len(self._known_data) >= _REMEMBERED_PIECES:
            self._known_data.clear()
        if has_only_ids(data, self._is_chunked):
            self._known_data[data_lines(data)] = span

    def _take_head(self, fd: int, data: bytes) -> bytes:
        """Add *data* to the head of an answer; return what is behind the head."""
        if not data:
            raise RuntimeError(f"The server closed a connection after {self._heads[fd]!r}.")
        head, end, rest = (self._heads[fd] + data).partition(b"\r\n\r\n")
        if not end:
            self._heads[fd] = head
            return b""
        self._is_chunked = check_head(head)
        del self._heads[fd]
        self._unfinished.discard(fd)
        return rest

    def close(self) -> None:
        """Close every stream."""
        for connection in self._sockets.values():
            connection.close()
        self._sockets.clear()
        self._epoll.close()
