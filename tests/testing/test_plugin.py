"""The plugin in a project of its own, under pytest and under Django's runner."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SETTINGS = """
SECRET_KEY = "only for tests"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "project"
INSTALLED_APPS = ["daphne", "django.contrib.auth", "django.contrib.contenttypes", "django_sse"]
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
# A file: a database in memory is never closed.
TEST = {"NAME": "test.sqlite3"}
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "x", "TEST": TEST}}
"""

PROJECT = """
from django.contrib.auth.models import User
from django.urls import path
from django_sse import event_stream

@event_stream(groups="orders", start="all")
async def orders(request, stream):
    await stream.send(await User.objects.acount())

urlpatterns = [path("orders/", orders)]
"""

CONFTEST = """
import pytest
pytest_plugins = ["django_sse.testing.plugin"]

@pytest.fixture
def anyio_backend():
    return "asyncio"
"""

TEST_PYTEST = """
import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db import connections
from django_sse import apublish, publish

@pytest.mark.parametrize("number", [1, 2])
async def test_no_event_of_another_test_comes(number, transactional_db, sse_client):
    stream = await sse_client.open("/orders/")
    assert (await stream.next_event()).data == "0"
    await apublish("orders", f"number {number}")
    assert (await stream.next_event()).data == f"number {number}"

@pytest.mark.parametrize("number", [1, 2])
def test_captured(number, sse_events):
    publish("orders", number)
    assert [event.data for event in sse_events] == [number]

async def test_streams_end(transactional_db, sse_client):
    stream = await sse_client.open("/orders/")
    await stream.next_event()

@pytest.fixture
def own_calls():
    made = []
    yield made
    assert [connection.connection for connection in made] == [None]

async def test_connection_of_own_calls_is_closed(own_calls, transactional_db, sse_client):
    assert await User.objects.acount() == 0
    own_calls.append(await sync_to_async(lambda: connections["default"])())
    assert own_calls[0].connection is not None
"""

TEST_DJANGO = """
from django.contrib.auth.models import User
from django.test import TestCase
from django_sse import apublish
from django_sse.testing import StreamTestMixin, assert_published

class OrdersTests(StreamTestMixin, TestCase):
    def setUp(self):
        User.objects.create(username="ada")

    async def check(self):
        stream = await self.sse_client.open("/orders/")
        self.assertEqual((await stream.next_event()).data, "1")
        async with assert_published("orders", data="x", count=1):
            await apublish("orders", "x", on_commit=False)
        self.assertEqual((await stream.next_event()).data, "x")

    async def test_one(self):
        await self.check()

    async def test_two(self):
        await self.check()
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    files = {
        "project_settings.py": SETTINGS,
        "project.py": PROJECT,
        "conftest.py": CONFTEST,
        "test_pytest.py": TEST_PYTEST,
        "test_django.py": TEST_DJANGO,
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def run(project: Path, *arguments: str) -> str:
    """Run Python in the project; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=project,
        env={
            "PATH": "",
            "PYTHONPATH": f"{project}:{ROOT}",
            "DJANGO_SETTINGS_MODULE": "project_settings",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


PYTEST = ["-m", "pytest", "-p", "no:cacheprovider", "-W", "error"]
# How coroutines are run: by one plugin or the other, each test on a loop of its own or not.
LOOPS = {
    "asyncio": ["asyncio_mode=auto", "asyncio_default_fixture_loop_scope=function"],
    "one loop": [
        "asyncio_mode=auto",
        "asyncio_default_fixture_loop_scope=session",
        "asyncio_default_test_loop_scope=session",
    ],
    "anyio": ["anyio_mode=auto"],
}


def pytest_in(project: Path, loops: str) -> str:
    without = ["-p", "no:asyncio" if loops == "anyio" else "no:anyio"]
    options = [part for option in LOOPS[loops] for part in ("-o", option)]
    return run(project, *PYTEST, *without, *options)


@pytest.mark.parametrize("loops", LOOPS)
def test_fixtures_in_a_project(project, loops):
    """Tests in a row see nothing of each other, whatever runs them."""
    assert "8 passed" in pytest_in(project, loops)


def test_django_runner(project):
    """The mixin works without pytest, and leaves no warning."""
    assert "\nOK\n" in run(project, "-m", "django", "test")


def test_plugin_is_asked_for(project):
    """A project that does not name it has none of it, nor the time that its import takes."""
    (project / "conftest.py").write_text(
        textwrap.dedent(
            """
            import sys

            def pytest_collection_finish():
                assert "django_sse.testing" not in sys.modules
            """
        )
    )
    (project / "test_pytest.py").write_text("def test(): pass")
    (project / "test_django.py").unlink()
    assert "1 passed" in pytest_in(project, "asyncio")


def test_import_needs_no_settings(project):
    """Plugins are imported before Django is set up."""
    script = """
        import threading
        from django_sse.testing import plugin
        from django.apps import apps
        from django.conf import settings

        assert not settings.configured and not apps.ready
        assert threading.active_count() == 1
    """
    run(project, "-c", textwrap.dedent(script))
