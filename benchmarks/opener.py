"""
A client that opens connections, one request on each, and times them to the first byte.

Every answer is treated alike, a stream or a page: the connection is new, the clock stops for it at
the first byte, and it is left open until close(), which is not measured.
"""

import select
import socket
import time
from collections.abc import Mapping

from benchmarks.process import ServerProcess

__all__ = ["Opener", "wait_until_idle"]

_AT_ONCE = 50
_TIMEOUT_SECONDS = 30.0
# A server is idle that uses less than this share of a core for as long as this.
_IDLE_SHARE = 0.05
_IDLE_SECONDS = 0.1
_FIRST_BYTES = 4_096


class Opener:
    """Asks one server for one path, on a new connection each time."""

    def __init__(self, port: int, path: str, headers: Mapping[str, str]) -> None:
        self._address = ("127.0.0.1", port)
        lines = [f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Accept: text/event-stream"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self._request = "\r\n".join([*lines, "", ""]).encode()
        self._open: list[socket.socket] = []

    def open(self, count: int) -> float:
        """
        Make *count* requests, never more than 50 unanswered; return the seconds for all.

        Raises:
            RuntimeError: If an answer is not 200.
            TimeoutError: If none comes for half a minute.
        """
        waiting: dict[int, socket.socket] = {}
        began, asked = time.perf_counter(), 0
        with select.epoll() as epoll:
            while waiting or asked < count:
                while asked < count and len(waiting) < _AT_ONCE:
                    connection = self._ask()
                    waiting[connection.fileno()] = connection
                    epoll.register(connection, select.EPOLLIN)
                    asked += 1
                ready = epoll.poll(_TIMEOUT_SECONDS)
                if not ready:
                    raise TimeoutError(f"{len(waiting)} requests were not answered in time.")
                for fd, _ in ready:
                    _check(waiting[fd].recv(_FIRST_BYTES))
                    epoll.unregister(fd)
                    del waiting[fd]
        return time.perf_counter() - began

    def _ask(self) -> socket.socket:
        connection = socket.create_connection(self._address, timeout=_TIMEOUT_SECONDS)
        self._open.append(connection)
        connection.sendall(self._request)
        return connection

    def close(self) -> None:
        """Close all connections."""
        for connection in self._open:
            connection.close()
        self._open.clear()


def _check(data: bytes) -> None:
    if not data.startswith((b"HTTP/1.1 200", b"HTTP/1.0 200")):
        raise RuntimeError(f"The server answered {data[:200]!r}.")


def wait_until_idle(server: ServerProcess) -> None:
    """Wait until *server* has cleaned up after what was closed."""
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    before = server.cpu_seconds()
    while time.monotonic() < deadline:
        time.sleep(_IDLE_SECONDS)
        now = server.cpu_seconds()
        if now - before < _IDLE_SHARE * _IDLE_SECONDS:
            return
        before = now
    raise TimeoutError("The server does not come to rest.")
