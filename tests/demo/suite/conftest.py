"""Fixtures of the demo's tests."""

import html
import re
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connections

from demo_project.asgi import application
from django_sse.testing import StreamClient
from tests.clients import TIMEOUT
from tests.conftest import _closed_hub, _fresh_process, log_in

__all__ = ["_closed_hub", "_fresh_process", "log_in"]


@pytest.fixture(scope="session")
def django_db_modify_db_settings(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the database in a file, as the demo does: each request has a thread of its own."""
    path = tmp_path_factory.mktemp("database") / "db.sqlite3"
    connections["default"].settings_dict["TEST"]["NAME"] = str(path)


@pytest.fixture(autouse=True)
def _quick_passwords(settings: Any) -> None:
    """Hash passwords quickly: Django's own way takes a third of a second for each."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
async def asgi(transactional_db: None) -> AsyncIterator[StreamClient]:
    """A client of the demo's ASGI application."""
    client = StreamClient(application, timeout=TIMEOUT)
    yield client
    await client.close()


@pytest.fixture
def demo_data(transactional_db: None) -> dict[str, User]:
    """The demo's users by their names; its notes and announcements are there too."""
    call_command("demo_data", verbosity=0)
    return {user.username: user for user in User.objects.all()}


@pytest.fixture
async def client_of(demo_data: dict[str, User], log_in: Any) -> AsyncIterator[Callable[..., Any]]:
    """Return a coroutine function that returns a client of whom it is told."""
    clients: list[StreamClient] = []

    def make(name: str) -> StreamClient:
        clients.append(StreamClient(application, timeout=TIMEOUT))
        log_in(clients[-1], demo_data[name])
        return clients[-1]

    yield sync_to_async(make)
    for client in clients:
        await client.close()


@pytest.fixture
def follow() -> Callable[..., Any]:
    """Return a coroutine function that opens a page, and then its own stream as a browser does."""

    async def open_stream(client: StreamClient, path: str) -> Any:
        page = (await client.get(path, headers={"accept": "text/html"})).body.decode()
        *_, last = re.findall(r"<event-source([^>]*)>", page)
        attributes = dict(re.findall(r' ([\w-]+)="([^"]*)"', html.unescape(last)))
        url = attributes["src"]
        query = urlencode({"last_event_id": attributes["last-event-id"]})
        return await client.open(f"{url}{'&' if '?' in url else '?'}{query}")

    return open_stream


@pytest.fixture
def post() -> Callable[..., Any]:
    """Return a coroutine function that posts a form."""

    async def send(client: StreamClient, path: str, **fields: object) -> Any:
        headers = {"content-type": "application/x-www-form-urlencoded", "accept": "*/*"}
        body = urlencode(fields).encode()
        return await client.get(path, method="POST", headers=headers, body=body)

    return send
