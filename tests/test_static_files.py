"""The element's modules, collected by storages that give them other names."""

import contextlib
import re
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.staticfiles.storage import staticfiles_storage
from django.core.management import call_command
from playwright.async_api import ConsoleMessage, async_playwright, expect
from whitenoise import WhiteNoise

from tests.browser.flags import FLAGS
from tests.services import free_port, require_chromium
from tests.test_docs import DOCS, ROOT, Project, blocks_of

GUIDE = DOCS / "how-to" / "static-files.md"
ENTRY = "django_sse/event-source.js"
#: The storages that the guide tells of, in its order.
DJANGO, WHITENOISE = (block for block in blocks_of(GUIDE) if block.file == "mysite/storage.py")
HASHED = re.compile(r"\.[0-9a-f]{12}\.js$")
# With comments away, all that names another module.
COMMENT = re.compile(r"/\*.*?\*/|^\s*//[^\n]*", re.S | re.M)
IMPORT = re.compile(r"""(?:\bfrom\s*|\bimport\s*\(?\s*)["'](\.[^"']+)["']""")
TIMEOUT_MS = 60_000


@pytest.fixture
def collect(
    settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Path]:
    """Return a function that collects by the storage of some code, and returns the folder."""

    def run(code: str) -> Path:
        module = types.ModuleType("mysite.storage")
        exec(code, module.__dict__)
        monkeypatch.setitem(sys.modules, "mysite", types.ModuleType("mysite"))
        monkeypatch.setitem(sys.modules, "mysite.storage", module)
        settings.INSTALLED_APPS = ["django.contrib.staticfiles", "django_sse"]
        settings.STATIC_URL = "static/"
        settings.STATIC_ROOT = str(tmp_path / "collected")
        settings.STORAGES = {
            **settings.STORAGES,
            "staticfiles": {"BACKEND": "mysite.storage.StaticFilesStorage"},
        }
        call_command("collectstatic", interactive=False, verbosity=0)
        return tmp_path / "collected"

    return run


def reached(folder: Path) -> dict[str, bool]:
    """Return the modules that the element may load, each with whether it is there."""
    found: dict[str, bool] = {}
    waiting = [staticfiles_storage.url(ENTRY).removeprefix("/static/")]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        file = folder / path
        found[path] = file.is_file()
        for name in IMPORT.findall(COMMENT.sub("", file.read_text())) if found[path] else ():
            waiting.append(str((file.parent / name).resolve().relative_to(folder.resolve())))
    return found


def shipped() -> set[str]:
    """Return the modules of the package that are loaded, but for the one of types alone."""
    static = ROOT / "django_sse" / "static"
    paths = {str(path.relative_to(static)) for path in static.rglob("*.js")}
    return paths - {"django_sse/types.js"}


@pytest.mark.parametrize("only_hashed", [False, True])
@pytest.mark.parametrize("block", [DJANGO, WHITENOISE], ids=["django", "whitenoise"])
def test_every_import_is_of_a_hashed_file(
    block: Any, only_hashed: bool, settings: Any, collect: Any
) -> None:
    """As the guide says it: all modules are reached, each by the name of its content."""
    settings.WHITENOISE_KEEP_ONLY_HASHED_FILES = only_hashed
    modules = reached(collect(block.text))
    assert all(modules.values())
    assert all(HASHED.search(path) for path in modules)
    assert {HASHED.sub(".js", path) for path in modules} == shipped()


def test_imports_stay_plain_without_the_line(collect: Any) -> None:
    """What the guide says of a storage that does not have it: plain names, and they are there."""
    modules = reached(collect(DJANGO.text.replace("= True", "= False")))
    assert all(modules.values())
    assert [path for path in modules if HASHED.search(path)] == [
        staticfiles_storage.url(ENTRY).removeprefix("/static/")
    ]


def test_imports_are_lost_without_the_line_where_only_hashed_files_are_kept(
    settings: Any, collect: Any
) -> None:
    """What the guide warns of."""
    settings.WHITENOISE_KEEP_ONLY_HASHED_FILES = True
    modules = reached(collect(WHITENOISE.text.replace("= True", "= False")))
    assert not all(modules.values())


def test_plain_storage_needs_nothing(collect: Any) -> None:
    """Django's default keeps the names, and so all imports are right."""
    modules = reached(
        collect("from django.contrib.staticfiles.storage import StaticFilesStorage\n")
    )
    assert modules == dict.fromkeys(shipped(), True)


def test_every_module_may_be_kept_for_ever(settings: Any, collect: Any) -> None:
    """WhiteNoise serves each as a script, compressed, and says so to browsers."""
    settings.WHITENOISE_KEEP_ONLY_HASHED_FILES = True
    folder = collect(WHITENOISE.text)

    def is_hashed(path: str, url: str) -> bool:
        return HASHED.search(url) is not None

    server = WhiteNoise(None, root=str(folder), prefix="static/", immutable_file_test=is_hashed)
    for path in reached(folder):
        file = server.files[f"/static/{path}"]
        response = file.get_response("GET", {"HTTP_ACCEPT_ENCODING": "gzip"})
        headers = dict(response.headers)
        assert response.file is not None
        response.file.close()
        assert "immutable" in headers["Cache-Control"]
        assert headers["Content-Type"].startswith("text/javascript")
        assert headers["Access-Control-Allow-Origin"] == "*"


# In a project, as the guide makes it.

FILES = {
    "mysite/settings.py": """
DEBUG = False
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = ["daphne", *INSTALLED_APPS, "django_sse", "live"]
ASGI_APPLICATION = "mysite.asgi.application"
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
""",
    "mysite/asgi.py": """
import os

from django_sse.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
application = get_asgi_application()
""",
    "mysite/urls.py": """
from django.urls import path

from live import views

urlpatterns = [path("", views.page), path("hello/", views.hello, name="hello")]
""",
    "live/views.py": """
from django.shortcuts import render

from django_sse import event_stream


def page(request):
    response = render(request, "page.html")
    response["Content-Security-Policy"] = "script-src 'self'; connect-src 'self'"
    return response


@event_stream(groups="hello")
async def hello(request, stream):
    await stream.send("Hello")
""",
    "live/templates/page.html": """{% load django_sse %}<!doctype html><title>Hello</title>
<link rel="icon" href="data:,">
{% event_source "hello" swap="innerHTML" last_event_id=None %}
{% event_source "hello" swap="innerHTML" last_event_id=None shared=True %}
{% event_source "hello" swap="innerHTML" last_event_id=None transport="fetch" %}
""",
}


@contextlib.contextmanager
def served(project: Project) -> Iterator[str]:
    """Serve the project by daphne, which serves no static files by itself; yield its address."""
    port = free_port()
    command = [sys.executable, "-m", "daphne", "-b", "127.0.0.1", "-p", str(port)]
    with (
        (project.folder / "server.log").open("w") as log,
        subprocess.Popen(
            [*command, "mysite.asgi:application"],
            cwd=project.folder,
            env=project._environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        ) as server,
    ):
        try:
            project._wait_for(f"http://127.0.0.1:{port}", server)
            yield f"http://127.0.0.1:{port}/"
        finally:
            server.kill()


@pytest.mark.browser
@pytest.mark.slow
async def test_element_comes_to_life_in_a_project_with_whitenoise(tmp_path: Path) -> None:
    """With hashed files alone, its own modules and those that it loads when they are asked for."""
    chromium = require_chromium()
    project = Project(tmp_path, GUIDE, "live", FILES)
    project.run("manage.py", "collectstatic", "--no-input")
    assert not (tmp_path / "collected" / ENTRY).exists()
    errors: list[str] = []
    loaded: list[str] = []

    def note(said: ConsoleMessage) -> None:
        if said.type == "error":
            errors.append(said.text)

    with served(project) as address:
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(
                executable_path=chromium, args=FLAGS, timeout=TIMEOUT_MS
            )
            page = await browser.new_page()
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.on("console", note)
            page.on("request", lambda request: loaded.append(request.url))
            await page.goto(address)
            await expect(page.locator("event-source")).to_have_text(
                ["Hello"] * 3, timeout=TIMEOUT_MS
            )
            await browser.close()
    scripts = [url for url in loaded if url.endswith(".js")]
    assert all(HASHED.search(url) for url in scripts)
    assert any("shared-connection" in url for url in scripts)
    assert any("eventsource-parser" in url for url in scripts)
    assert errors == []
