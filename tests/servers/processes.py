"""Servers as processes of their own."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import psutil

from tests.servers.client import Answer, StreamClient, connect, fetch
from tests.servers.waiting import TIMEOUT, eventually
from tests.services import free_port

__all__ = ["ENTRIES", "LEAVES_WITHIN", "ROUTED_ENTRIES", "SERVERS", "Process", "Server"]

ROOT = Path(__file__).resolve().parents[2]

#: How long a process may take to go. It goes in less than two seconds by itself; what matters is
#: that it comes before the servers use force, so that this does not hide that streams do not end.
LEAVES_WITHIN = 30.0
_FORCE_SECONDS = 40

_DAPHNE = f"daphne --application-close-timeout {_FORCE_SECONDS}"
_HYPERCORN = f"hypercorn --graceful-timeout {_FORCE_SECONDS}"
# Its worker can deadlock inside granian: docs/architecture.md, weak spots.
_GRANIAN = f"granian --interface asgi --workers-kill-timeout {_FORCE_SECONDS}"

#: How each server is started; ``{app}`` and ``{port}`` are filled in.
SERVERS: dict[str, str] = {
    "daphne": f"{_DAPHNE} -b 127.0.0.1 -p {{port}} {{app}}",
    "uvicorn-asyncio": "uvicorn --loop asyncio --http h11 --port {port} {app}",
    "uvicorn-uvloop": "uvicorn --loop uvloop --http httptools --port {port} {app}",
    "hypercorn-0": f"{_HYPERCORN} --workers 0 -b 127.0.0.1:{{port}} {{app}}",
    "hypercorn-1": f"{_HYPERCORN} --workers 1 -b 127.0.0.1:{{port}} {{app}}",
    "granian-asyncio": f"{_GRANIAN} --task-impl asyncio --port {{port}} {{app}}",
}
if sys.version_info < (3, 12):
    # On later versions granian falls back to the other one.
    SERVERS["granian-rust"] = f"{_GRANIAN} --task-impl rust --port {{port}} {{app}}"

#: The package's entry and Django's own.
ENTRIES = ("application", "stock")
#: The same inside a ProtocolTypeRouter of Channels.
ROUTED_ENTRIES = ("routed", "routed_stock")

#: What runs now, for the report of a test that fails.
running: "list[Process]" = []


class Process:
    """A process in a group of its own, with its output in a file."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        folder: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.output_path = folder / "output.txt"
        with self.output_path.open("ab") as output:
            self._popen = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.pid = self._popen.pid
        running.append(self)

    @property
    def status(self) -> int | None:
        """Its exit status; None while it runs."""
        return self._popen.poll()

    @property
    def output(self) -> str:
        """What it has written so far."""
        return self.output_path.read_text(errors="replace")

    @property
    def has_ended(self) -> bool:
        """Whether the process has ended, and with it all that it has started."""
        return self._popen.poll() is not None and not self._left()

    def _left(self) -> list[psutil.Process]:
        """Return those of its group that still run; the dead may wait for init to bury them."""
        left = []
        for process in psutil.process_iter(["status"]):
            with contextlib.suppress(ProcessLookupError):
                in_group = os.getpgid(process.pid) == self.pid
                if in_group and process.info["status"] != psutil.STATUS_ZOMBIE:
                    left.append(process)
        return left

    def send_signal(self, number: int) -> None:
        """Send a signal to the process alone, as a supervisor does."""
        self._popen.send_signal(number)

    def send_signal_to_all(self, number: int) -> None:
        """Send a signal to all that it has started too, as a terminal does for Ctrl-C."""
        os.killpg(self.pid, number)

    async def gone(self, *, within: float = LEAVES_WITHIN) -> None:
        """Wait until nothing of it is left."""
        await eventually(lambda: self.has_ended, within=within)

    def stop(self) -> None:
        """End it, by force if it does not listen."""
        if self in running:
            running.remove(self)
        if not self.has_ended:
            with contextlib.suppress(ProcessLookupError):
                self._popen.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(3)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait(TIMEOUT)


class Server(Process):
    """A server of the project in tests/servers/site, on this host or in a network namespace."""

    def __init__(
        self,
        name: str,
        arguments: str,
        folder: Path,
        *,
        port: int | None = None,
        settings: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
        namespace: str | None = None,
    ) -> None:
        self.port = port or free_port()
        self.namespace = namespace
        self.journal_path = folder / "journal.txt"
        self.journal_path.touch()
        self.environment = {
            "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
            "DJANGO_SETTINGS_MODULE": "tests.servers.site.settings",
            "SITE_JOURNAL": str(self.journal_path),
            "SITE_SETTINGS": json.dumps(settings or {}),
            **(environment or {}),
        }
        within = [] if namespace is None else ["ip", "netns", "exec", namespace]
        command = [*within, sys.executable, "-m", *arguments.format(port=self.port).split()]
        super().__init__(name, command, folder, self.environment)

    @classmethod
    def of(cls, kind: str, folder: Path, *, entry: str = "application", **options: Any) -> Self:
        """Start the server *kind*, of SERVERS, with an *entry* of the project."""
        app = f"tests.servers.site.asgi:{entry}"
        arguments = SERVERS[kind].replace("{app}", app)
        return cls(f"{kind}-{entry}", arguments, folder, **options)

    async def ready(self) -> Self:
        """Wait until it answers."""

        async def answers() -> bool:
            assert not self.has_ended, f"{self.name} does not start:\n{self.output}"
            try:
                (await connect(self.port, namespace=self.namespace)).close()
                return (await self.get("/ready/")).status == 200
            except ConnectionError:
                return False

        await eventually(answers, within=120, but=lambda: self.output)
        return self

    @property
    def journal(self) -> list[str]:
        """What the project has noted so far, sorted."""
        return sorted(self.journal_path.read_text().splitlines())

    async def noted(self, *lines: str, within: float = TIMEOUT) -> None:
        """Wait until each of *lines* has been noted."""
        missing = set(lines)
        await eventually(
            lambda: not missing.difference(self.journal),
            within=within,
            but=lambda: f"Missing: {sorted(missing.difference(self.journal))}",
        )

    async def get(self, path: str, **options: Any) -> Answer:
        """Make a request."""
        return await fetch(self.port, path, namespace=self.namespace, **options)

    async def state(self) -> dict[str, Any]:
        """Return the numbers of the process."""
        numbers: dict[str, Any] = (await self.get("/state/")).json()
        return numbers

    async def open(self, path: str, **options: Any) -> StreamClient:
        """Open a stream."""
        return await StreamClient.open(self.port, path, namespace=self.namespace, **options)
