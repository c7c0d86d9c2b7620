"""Projects that have no registry: turned off, without a database, or without the app."""

import subprocess
import sys
import textwrap
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.db import connections as databases

from django_sse import aconnections, adisconnect, checks, connections, event_stream
from django_sse.hub import get_hub
from django_sse.metrics import metrics
from django_sse.registry import has_database, is_shared, registry_alias
from django_sse.testing import StreamClient
from tests.registry.conftest import open_many
from tests.servers.waiting import eventually

pytestmark = pytest.mark.registry

_PROJECT = """
    import asyncio
    import django
    from django.conf import settings

    settings.configure(
        DATABASES={},
        INSTALLED_APPS=[%s],
        ALLOWED_HOSTS=["*"],
        CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}},
        ROOT_URLCONF=__name__,
        ASGI_APPLICATION="none",
        DJANGO_SSE={"STORE": None},
        USE_TZ=True,
    )
    django.setup()
    from django.urls import path
    import django_sse
    from django_sse import connections, disconnect, event_stream, publish, apublish, adisconnect
    from django_sse.testing import StreamClient

    @event_stream(groups="room")
    async def room(request, stream):
        pass

    urlpatterns = [path("room/", room)]
"""


def run(code: str, *apps: str) -> str:
    """Return what *code* prints in a process whose project has no database."""
    project = textwrap.dedent(_PROJECT) % ", ".join(repr(app) for app in apps)
    command = [sys.executable, "-W", "error", "-c", project + textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_project_without_a_database() -> None:
    """It has streams, and can end them; what needs the registry says why it cannot be."""
    said = run(
        """
        async def main():
            async with StreamClient() as client:
                stream = await client.open("/room/")
                await apublish("room", "hello")
                print((await stream.next_event()).data)
                from django_sse.hub import get_hub
                while get_hub().observer is None:
                    await asyncio.sleep(0)
                print(get_hub().observer._record)
                print(await adisconnect(group="room"))
                await stream.ended()
            from django_sse.metrics import metrics
            print(metrics.registry_errors)

        asyncio.run(main())
        try:
            connections()
        except django.core.exceptions.ImproperlyConfigured as error:
            print(error)
        from django.core.management import call_command
        call_command("check")
        """,
        "channels",
        "django_sse",
    )
    lines = said.splitlines()
    assert lines[:4] == ["hello", "None", "1", "0"]
    assert "or DATABASES is empty" in lines[4]
    assert "django_sse.W006" in said


def test_project_that_has_not_installed_the_app() -> None:
    """The error says what to do, and nothing of an app_label."""
    said = run(
        """
        from django.core.exceptions import ImproperlyConfigured

        def tell(call):
            try:
                call()
            except ImproperlyConfigured as error:
                print(error)

        async def main():
            async with StreamClient() as client:
                await client.open("/room/")

        tell(connections)
        tell(lambda: disconnect(user=1))
        tell(lambda: asyncio.run(main()))
        """,
        "channels",
    )
    assert said.count("add 'django_sse' to INSTALLED_APPS") == 3


def test_database_of_a_project_without_any(settings: Any, monkeypatch: Any) -> None:
    """Django's stand-in for it is none."""
    monkeypatch.setitem(
        databases.settings, "none", {"ENGINE": "django.db.backends.dummy", "NAME": ""}
    )
    assert not has_database("none")
    assert not is_shared("none")
    assert not has_database("nowhere")
    assert has_database("default")
    settings.DJANGO_SSE = {"REGISTRY": "none"}
    assert [message.id for message in checks.check_registry()] == ["django_sse.E004"]
    monkeypatch.setattr("django.db.router.db_for_write", lambda model: "none")
    settings.DJANGO_SSE = {"REGISTRY": True}
    assert registry_alias() is None
    assert [message.id for message in checks.check_registry()] == ["django_sse.W006"]
    settings.DJANGO_SSE = {"REGISTRY": False}
    assert checks.check_registry() == []


def test_registry_that_a_router_puts_nowhere(settings: Any, monkeypatch: Any) -> None:
    """It is told as an alias that the settings name."""
    monkeypatch.setattr("django.db.router.db_for_write", lambda model: "nowhere")
    assert [message.id for message in checks.check_registry()] == ["django_sse.E004"]


def test_database_in_memory() -> None:
    """No other process has it."""
    databases.settings["memory"] = {**databases.settings["default"], "NAME": ":memory:"}
    try:
        assert has_database("memory")
        assert not is_shared("memory")
        assert is_shared("default")
    finally:
        del databases.settings["memory"]
        del databases["memory"]


async def test_registry_that_is_off_costs_guests_nothing(
    settings: Any, statements: list[str], monkeypatch: Any
) -> None:
    """No thread is asked for, and nothing is written or queried."""
    settings.DJANGO_SSE = {"REGISTRY": False, "LEASE_SECONDS": 0.04}
    monkeypatch.setattr("django_sse.supervision.sync_to_async", None)
    monkeypatch.setattr("django_sse.registrar.sync_to_async", None)
    streams = await open_many(2, "room")
    await adisconnect(group="room")
    await eventually(lambda: all(stream.reason for stream in streams))
    [stream] = await open_many(1, "room")
    registrar: Any = get_hub().observer
    for _ in range(3):
        for chore in registrar._chores:
            await chore.do()
    assert statements == []
    assert metrics.registry_errors == 0
    with pytest.raises(ImproperlyConfigured, match="turns it off"):
        await aconnections()
    assert stream.reason is None


async def test_registry_that_is_off_queries_users_and_sessions_alone(
    settings: Any,
    transactional_db: None,
    asgi: StreamClient,
    route: Any,
    log_in: Any,
    sync: Any,
    statements: list[str],
) -> None:
    """Those who are logged in are looked after without it; nothing of the package is touched."""
    settings.DJANGO_SSE = {"REGISTRY": False, "LEASE_SECONDS": 1}

    @event_stream(groups="room")
    async def room(request: Any, stream: Any) -> None: ...

    route("room/", room)
    await sync(log_in, asgi, await sync(User.objects.create_user, "ada"))
    del statements[:]
    await (await asgi.open("/room/")).next_frame()
    registrar: Any = get_hub().observer
    await eventually(lambda: registrar._supervision._known)
    assert statements
    assert {sql.partition(" ")[0] for sql in statements} == {"SELECT"}
    assert not [sql for sql in statements if "django_sse" in sql]


def test_connections_without_a_registry(settings: Any) -> None:
    """It is said why there is none."""
    settings.DJANGO_SSE = {"REGISTRY": False}
    with pytest.raises(ImproperlyConfigured, match="turns it off"):
        connections()
