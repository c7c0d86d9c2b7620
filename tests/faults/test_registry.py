"""Two workers, one registry: a killed worker, and orders that end streams on both."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.redis_server import RedisServer
from tests.servers.client import StreamClient
from tests.servers.processes import ROOT, Server
from tests.servers.waiting import eventually

pytestmark = [pytest.mark.faults, pytest.mark.redis]

LEASE_SECONDS = 4


class Site:
    """Two workers of one project, with the sessions of a user who is logged in on both."""

    def __init__(self, workers: list[Server], cookie: str) -> None:
        self.workers = workers
        self.cookie = cookie

    async def open_on_each(self) -> list[StreamClient]:
        """Open a stream of the user on each worker, and wait until the registry has all."""
        clients = []
        for worker in self.workers:
            client = await worker.open("/grouped/reader/", headers={"Cookie": self.cookie})
            await client.next_frame()
            clients.append(client)
        await self.registered(len(clients))
        return clients

    async def registered(self, count: int) -> None:
        """Wait until the last worker sees *count* connections in the registry."""

        async def holds() -> bool:
            found = (await self.workers[-1].get("/present/")).json()
            return len(found["connections"]) == count

        await eventually(holds)

    async def manage(self, code: str) -> str:
        """Run *code* in another process of the project, as a management command does."""
        script = f"import django; django.setup()\n{code}"
        done = await asyncio.create_subprocess_exec(
            sys.executable, "-W", "error", "-c", script,
            cwd=ROOT,
            env={**os.environ, **self.workers[0].environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )  # fmt: skip
        output, errors = await done.communicate()
        assert done.returncode == 0, errors.decode()
        return output.decode().strip()


@pytest.fixture
async def site(
    redis_server: RedisServer, tmp_path: Path, start_server: Callable[..., Server]
) -> Site:
    settings = {
        **redis_server.layer_settings("core"),
        "ROOT_URLCONF": "tests.faults.urls",
        "DATABASES": {
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": str(tmp_path / "site.sqlite3"),
                "OPTIONS": {"timeout": 60},
            }
        },
        "DJANGO_SSE": {"REGISTRY": True, "LEASE_SECONDS": LEASE_SECONDS},
    }
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.servers.site.settings",
        "SITE_SETTINGS": json.dumps(settings),
    }
    command = [sys.executable, "-m", "tests.servers.site.people", "1"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True)
    workers = [start_server("uvicorn-asyncio", settings=settings) for _ in range(2)]
    for worker in workers:
        await worker.ready()
    return Site(workers, json.loads(done.stdout)[0])


async def test_rows_of_a_killed_worker_are_gone_within_its_lease(site: Site) -> None:
    """The worker that lives deletes them, and goes on with its own."""
    clients = await site.open_on_each()
    site.workers[0].send_signal(signal.SIGKILL)
    await site.registered(1)
    code = (
        "from django_sse.models import Connection, Worker\n"
        "print(Worker.objects.count(), Connection.objects.count())"
    )

    async def holds() -> bool:
        return await site.manage(code) == "1 1"

    await eventually(holds)
    for client in clients:
        client.close()


@pytest.mark.parametrize(
    "code",
    [
        "from django_sse import disconnect; assert disconnect(user=1) == 2",
        "from django_sse import disconnect; assert disconnect(group='news') == 2",
        "from django.contrib.auth.models import User; user = User.objects.get(); "
        "user.is_active = False; user.save()",
        "from django.contrib.auth.models import User; user = User.objects.get(); "
        "user.set_password('new'); user.save()",
        "from django.contrib.auth.models import User; User.objects.update(is_active=False)",
        "from django.test import Client; client = Client(); "
        "client.cookies.load({cookie!r}); client.logout()",
    ],
    ids=["user", "group", "deactivation", "password", "update", "logout"],
)
@pytest.mark.parametrize("is_lossy", [False, True], ids=["layer", "lossy layer"])
async def test_streams_end_on_every_worker(code: str, is_lossy: bool, site: Site) -> None:
    """By whatever another process does, and even when the channel layer carries nothing."""
    clients = await site.open_on_each()
    if is_lossy:
        code = "import django_sse.control as c; c._has_others = lambda order: False\n" + code
    await site.manage(code.replace("{cookie!r}", repr(site.cookie)))
    reason = "disconnected" if "disconnect" in code else "logged out"
    least = {"disconnected": 15_000, "logged out": 3_000}
    for client in clients:
        frames = await client.rest()
        assert int(frames[-1].removeprefix(b"retry: ")) >= least[reason]
        client.close()
    await site.registered(0)
    for worker in site.workers:
        assert f"({reason})" in worker.output
