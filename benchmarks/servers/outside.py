"""What servers that are programs of their own have in common: a free port, a start, an end."""

import asyncio
import atexit
import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

__all__ = ["free_ports", "start", "until_it_answers"]

_SECONDS = 20.0


def free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 that nothing listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)
        ]
        return [each.getsockname()[1] for each in sockets]


def start(command: Sequence[str | Path], directory: Path) -> None:
    """
    Start a program on this process's core; its output goes into a file of *directory*.

    It is told to end when this process ends by itself.
    """
    directory.mkdir(exist_ok=True)
    with (directory / "output.txt").open("wb") as output:
        program = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    atexit.register(program.terminate)


async def until_it_answers(port: int, directory: Path | None = None) -> None:
    """Wait until something listens on *port*."""
    deadline = time.monotonic() + _SECONDS
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                output = directory / "output.txt" if directory else Path(os.devnull)
                said = output.read_text(errors="replace")
                raise SystemExit(f"Nothing listens on port {port}:\n{said}") from None
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return
