"""A Chromium that is nobody's test browser: its tabs are hidden, frozen and put into the cache."""

from pathlib import Path
from typing import Self

from tests.browser.flags import FLAGS
from tests.servers.processes import Process
from tests.servers.waiting import eventually

__all__ = ["Chromium"]


class Chromium(Process):
    """
    Started without Playwright, which shows every tab as if somebody was looking at it.

    Playwright also turns off the back/forward cache. All of its processes are in one group.
    """

    def __init__(self, path: str, folder: Path) -> None:
        self._port_path = folder / "DevToolsActivePort"
        own = ["--remote-debugging-port=0", f"--user-data-dir={folder}", "about:blank"]
        super().__init__("chromium", [path, *FLAGS, *own], folder)

    async def ready(self) -> Self:
        """Wait until it can be driven."""
        await eventually(self._has_port, within=60, but=lambda: self.output)
        return self

    def _has_port(self) -> bool:
        return self._port_path.exists() and "\n" in self._port_path.read_text()

    @property
    def endpoint(self) -> str:
        """Where it is driven."""
        return f"http://127.0.0.1:{self._port_path.read_text().splitlines()[0]}"
