"""Two workers of one site, and an operator who looks at their dashboard."""

import asyncio
import os
import secrets
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from playwright.async_api import Page

from tests.browser.processes import Visitors
from tests.servers.client import fetch
from tests.servers.processes import ROOT, Process
from tests.servers.waiting import eventually
from tests.services import free_port, require_redis

__all__ = ["PAGE", "Workers"]

PAGE = "/admin/django_sse/dashboard/"

_MAKE_USERS = """
from django.contrib.auth.models import Permission, User
User.objects.create_superuser("root", password="root")
ada = User.objects.create_user("ada", password="ada", is_staff=True)
ada.user_permissions.add(Permission.objects.get(codename="view_connection"))
"""


class Workers:
    """Two servers on two ports, with one database and one channel layer."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._environment: Mapping[str, str] = {
            "DJANGO_SETTINGS_MODULE": "tests.browser.admin_site.settings",
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
            "PYTHONUNBUFFERED": "1",
            "SITE_DATABASE": str(folder / "db.sqlite3"),
            "SITE_REDIS": require_redis(),
            "SITE_PREFIX": f"dashboard-{secrets.token_hex(4)}",
        }
        self.manage("migrate", "--no-input")
        self.shell(_MAKE_USERS)
        self.ports = (free_port(), free_port())
        self.processes = [self._start(port) for port in self.ports]
        self._writers: list[asyncio.StreamWriter] = []

    def _start(self, port: int) -> Process:
        folder = self._folder / str(port)
        folder.mkdir()
        app = "tests.browser.admin_site.asgi:application"
        command = [sys.executable, "-m", "uvicorn", "--port", str(port), app]
        return Process(f"worker-{port}", command, folder, self._environment)

    def manage(self, *arguments: str) -> None:
        """Run a management command."""
        subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env={**os.environ, **self._environment},
            stdout=subprocess.DEVNULL,
            check=True,
        )

    def shell(self, code: str) -> None:
        """Run some code with the site's settings."""
        self.manage("shell", "--command", code)

    async def ready(self) -> Self:
        """Wait until both answer."""
        for port, process in zip(self.ports, self.processes, strict=True):

            async def answers(port: int = port, process: Process = process) -> bool:
                assert not process.has_ended, f"A worker does not start:\n{process.output}"
                try:
                    return (await fetch(port, "/favicon.ico")).status == 204
                except ConnectionError:
                    return False

            await eventually(answers, within=120, but=lambda process=process: process.output)
        return self

    async def open_streams(self, worker: int, count: int, room: str = "main") -> None:
        """Open *count* streams of one of the workers."""
        for _ in range(count):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.ports[worker])
            writer.write(f"GET /rooms/{room}/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            assert b"200 OK" in head, head
            self._writers.append(writer)

    async def close_streams(self, count: int) -> None:
        """Close *count* of them, the last ones first."""
        for _ in range(count):
            writer = self._writers.pop()
            writer.close()
            await writer.wait_closed()

    async def publish(self, room: str = "main") -> None:
        """Publish an event to a room."""
        assert (await fetch(self.ports[0], f"/publish/{room}/")).status == 204

    async def dashboard(self, visitors: Visitors, name: str = "ada", worker: int = 0) -> Page:
        """Log in, and open the dashboard of a worker."""
        page = await visitors.page(f"http://127.0.0.1:{self.ports[worker]}{PAGE}", of=name)
        await page.locator("[name=username]").fill(name)
        await page.locator("[name=password]").fill(name)
        await page.locator("[type=submit]").click()
        await page.wait_for_url(lambda address: "login" not in address)
        return page

    def stop(self) -> None:
        """End both."""
        for writer in self._writers:
            writer.close()
        for process in self.processes:
            process.stop()
