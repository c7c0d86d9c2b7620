"""A process under test: a server or a publisher, its control connection, and what it uses."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

__all__ = ["ROOT", "ControlledProcess", "ServerProcess", "descendants_of"]

ROOT = Path(__file__).resolve().parent.parent


def descendants_of(pid: int) -> list[int]:
    """Return the processes that the process *pid* has started, and those that they have."""
    pids = [pid]
    for each in pids:
        for thread in Path(f"/proc/{each}/task").glob("*"):
            with contextlib.suppress(OSError):
                pids += map(int, (thread / "children").read_text().split())
    return pids[1:]


class ControlledProcess:
    """
    Runs ``python -m MODULE NAME`` on one core, for as long as the block lasts.

    What it uses is what it and all processes use that it has started, and they end with it.

    Attributes:
        greeting: What it has sent once it was ready.
    """

    def __init__(self, module: str, name: str, core: int, directory: Path) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", module, name, "--core", str(core)]
            command += ["--control", str(theirs.fileno()), "--directory", str(directory)]
            self._process = subprocess.Popen(
                command, cwd=ROOT, pass_fds=[theirs.fileno()], start_new_session=True
            )
        self._control = ours
        self._control.settimeout(120)
        self._lines = ours.makefile("rb")
        self.greeting: dict[str, Any] = {}

    def __enter__(self) -> Self:
        try:
            self.greeting = self.answer()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # How servers end is another matter, and some take long over it with open streams.
        for pid in self._pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
        self._lines.close()
        self._control.close()

    def command(self, *words: str | int) -> None:
        """Send one command."""
        self._control.sendall(" ".join(map(str, words)).encode() + b"\n")

    def answer(self) -> dict[str, Any]:
        """Return the next line that the process sends, a JSON object."""
        found: dict[str, Any] = json.loads(self._readline())
        return found

    def wait_until_done(self) -> None:
        """Wait for the word that a command has been carried out."""
        assert self._readline() == b"done\n"

    def _readline(self) -> bytes:
        line = self._lines.readline()
        if not line:
            try:
                ending = f"ended with status {self._process.wait(timeout=10)}"
            except subprocess.TimeoutExpired:
                ending = "closed its control connection"
            raise RuntimeError(f"The process {ending}; see above.")
        return line

    def cpu_seconds(self) -> float:
        """Return what all threads of the processes have used, user and system together."""
        # The clock of a process: /proc/PID/stat has the same in hundredths of a second only.
        # Source: clock_getcpuclockid(3), and the kernel's linux/posix-timers.h for the number.
        return sum(time.clock_gettime(~pid << 3 | 2) for pid in self._pids())

    def status(self) -> dict[str, int]:
        """Return the memory in KB and the number of threads."""
        found = {"rss_kb": 0, "threads": 0}
        for pid in self._pids():
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            fields = dict(line.split(":", 1) for line in lines)
            found["rss_kb"] += int(fields["VmRSS"].split()[0])
            found["threads"] += int(fields["Threads"])
        return found

    def _pids(self) -> list[int]:
        pid = self._process.pid
        return [pid, *descendants_of(pid)]


class ServerProcess(ControlledProcess):
    """Runs ``python -m benchmarks.servers``. See benchmarks/publisher.py for its commands."""

    def __init__(self, name: str, core: int, directory: Path) -> None:
        super().__init__("benchmarks.servers", name, core, directory)

    @property
    def port(self) -> int:
        """The port of 127.0.0.1 at which it serves."""
        port: int = self.greeting["port"]
        return port

    @property
    def headers(self) -> dict[str, str]:
        """What a client has to send."""
        headers: dict[str, str] = self.greeting["headers"]
        return headers

    def counts(self) -> dict[str, int]:
        """Return what the server counts. Only while it publishes nothing."""
        self.command("counts")
        return self.answer()
