"""The demo, served as ``make demo`` serves it, and a Chromium that reads it."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, expect

from tests.servers.client import fetch
from tests.servers.processes import ROOT, Process
from tests.servers.waiting import eventually
from tests.services import free_port

__all__ = ["Demo", "Visitors"]

_NETWORK_ERRORS = (
    "Failed to load resource: net::ERR_",
    # The URL that a browser comes back with may have a token that has expired meanwhile.
    "Failed to load resource: the server responded with a status of 403",
)


class Demo(Process):
    """The demo in a process of its own, with a database of its own."""

    def __init__(self, folder: Path, *, port: int | None = None) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        environment = demo_environment(folder)
        if not (folder / "db.sqlite3").exists():
            for command in (["migrate", "--no-input"], ["demo_data"]):
                subprocess.run(
                    [sys.executable, "manage.py", *command],
                    cwd=ROOT,
                    env={**os.environ, **environment},
                    stdout=subprocess.DEVNULL,
                    check=True,
                )
        address = f"127.0.0.1:{self.port}"
        command = [sys.executable, "manage.py", "runserver", "--noreload", address]
        super().__init__("demo", command, folder, environment)

    async def ready(self) -> Self:
        """Wait until it answers."""

        async def answers() -> bool:
            assert not self.has_ended, f"The demo does not start:\n{self.output}"
            try:
                return (await fetch(self.port, "/")).status == 200
            except ConnectionError:
                return False

        _: bool = await eventually(answers, within=120, but=lambda: self.output)
        return self


def demo_environment(folder: Path) -> Mapping[str, str]:
    """Return what the demo reads from the environment; whatever is set here must not reach it."""
    for name in ("DEMO_HOSTS", "REDIS_URL"):
        assert name not in os.environ, f"{name} is for the demo; run the tests without it"
    return {
        "DEMO_DATABASE": str(folder / "db.sqlite3"),
        "DJANGO_SETTINGS_MODULE": "demo_project.settings",
        "PYTHONUNBUFFERED": "1",
    }


class Visitors:
    """People at their browsers: each has cookies of their own."""

    def __init__(self, browser: Browser, **contexts: BrowserContext) -> None:
        self._browser = browser
        self._contexts = contexts
        #: What the pages' consoles say of errors, and exceptions that nothing caught.
        self.errors: list[str] = []

    async def page(self, url: str, *, of: str = "someone") -> Page:
        """Open *url* in a new tab of the one named *of*."""
        if of not in self._contexts:
            self._contexts[of] = await self._browser.new_context()
            self._contexts[of].set_default_timeout(60_000)
        page = await self._contexts[of].new_page()
        page.on("console", self._note)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        await page.goto(url)
        return page

    def _note(self, said: ConsoleMessage) -> None:
        # What a test itself has evaluated, as axe, comes from no address.
        if said.type == "error" and said.location["url"]:
            self.errors.append(said.text)

    def forgive_network_errors(self) -> None:
        """Forget what Chromium says of streams that break off, and of servers that are away."""
        self.errors[:] = [e for e in self.errors if not e.startswith(_NETWORK_ERRORS)]

    async def live(self, url: str, *, of: str = "someone") -> Page:
        """Open *url*, and wait until its stream is open."""
        page = await self.page(url, of=of)
        await expect(page.locator("#connection")).to_have_text("Live")
        return page

    async def sign_in(self, url: str, name: str, password: str) -> None:
        """Sign *name* in, at the form at *url*."""
        page = await self.page(url, of=name)
        await page.locator("[name=username]").fill(name)
        await page.locator("[name=password]").fill(password)
        await page.locator("main [type=submit], main form button").click()
        await page.wait_for_url(lambda address: "login" not in address)
        await page.close()
