"""Cutting the connections of clients that do not read."""

import asyncio
import os
import socket
import stat
import struct
from collections.abc import Collection
from contextvars import Context
from pathlib import Path
from typing import Any

__all__ = ["Addresses", "Resets", "addresses_of", "reset"]

#: The addresses of a client and of the server: host and port each.
Addresses = tuple[tuple[str, int], tuple[str, int]]

# Closing discards what has not been sent, and tells the client so.
_NO_LINGER = struct.pack("ii", 1, 0)


def addresses_of(scope: Any) -> Addresses | None:
    """
    Return the addresses that an ASGI *scope* gives; None where it gives none.

    Over HTTP/2 a connection carries other requests too, so that it must not be cut for one.
    """
    if scope is None or not scope.get("http_version", "1.1").startswith("1"):
        return None
    try:
        (client, client_port), (server, server_port) = scope["client"], scope["server"]
        return (client, int(client_port)), (server, int(server_port))  # Granian's are strings.
    except (KeyError, TypeError, ValueError):
        return None


def reset(connections: Collection[Addresses]) -> int:
    """
    Reset those TCP connections of this process; return how many were found.

    ASGI has no way to give a connection up: a server that is to close it first waits until the
    client has read what it holds, and a client that does not read is waited for as long as the
    server lives. So the sockets are looked for by their addresses. Behind a proxy whose header
    gives the client's address, and on unix sockets, there is nothing to find; the proxy reads.
    """
    found = 0
    for number in _open_files():
        try:
            if not stat.S_ISSOCK(os.fstat(number).st_mode):
                continue
            with socket.socket(fileno=os.dup(number)) as copy:
                if _addresses(copy) in connections:
                    copy.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
                    copy.shutdown(socket.SHUT_RDWR)
                    found += 1
        except OSError:
            continue  # It is no longer open, or was never connected.
    return found


class Resets:
    """The connections to be reset in the next tick, with one look at the open files for all."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: set[Addresses] = set()

    def add(self, addresses: Addresses) -> None:
        """Reset the connection of *addresses* soon."""
        if not self._waiting:
            self._loop.call_soon(self._reset, context=Context())
        self._waiting.add(addresses)

    def _reset(self) -> None:
        found, self._waiting = self._waiting, set()
        reset(found)


def _open_files() -> list[int]:
    try:
        return [int(entry.name) for entry in Path("/dev/fd").iterdir()]
    except OSError:
        return []


def _addresses(connected: socket.socket) -> Addresses | None:
    if connected.family not in (socket.AF_INET, socket.AF_INET6):
        return None
    return connected.getpeername()[:2], connected.getsockname()[:2]
