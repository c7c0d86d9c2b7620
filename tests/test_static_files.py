"""The element, collected by storages that give its files other names."""

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

from django_sse.markup import Page, event_source_script, script_url
from tests.browser.flags import FLAGS
from tests.services import free_port, require_chromium
from tests.test_docs import DOCS, ROOT, Project, blocks_of

GUIDE = DOCS / "how-to" / "static-files.md"
DJANGO = "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"
WHITENOISE = "whitenoise.storage.CompressedManifestStaticFilesStorage"
PLAIN = "django.contrib.staticfiles.storage.StaticFilesStorage"
#: The storage that the guide tells of for modules of one's own.
[OWN] = (block for block in blocks_of(GUIDE) if block.file == "mysite/storage.py")
MODULE = "django_sse/event-source.js"
HASHED = re.compile(r"\.[0-9a-f]{12}\.js$")
# With comments away, all that names another module.
COMMENT = re.compile(r"/\*.*?\*/|^\s*//[^\n]*", re.S | re.M)
IMPORT = re.compile(r"""(?:\bfrom\s*|\bimport\s*\(?\s*)["'](\.[^"']+)["']""")
TIMEOUT_MS = 60_000


@pytest.fixture
def collect(settings: Any, tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that collects by the storage of that name, and returns the folder."""

    def run(backend: str) -> Path:
        settings.INSTALLED_APPS = ["django.contrib.staticfiles", "django_sse"]
        settings.STATIC_URL = "static/"
        settings.STATIC_ROOT = str(tmp_path / "collected")
        settings.STORAGES = {**settings.STORAGES, "staticfiles": {"BACKEND": backend}}
        call_command("collectstatic", interactive=False, verbosity=0)
        return tmp_path / "collected"

    return run


def test_the_dashboard_names_a_hashed_file(settings: Any, collect: Any) -> None:
    """One that imports nothing, and so is whole wherever it is."""
    settings.WHITENOISE_KEEP_ONLY_HASHED_FILES = True
    folder = collect(WHITENOISE)
    assert HASHED.search(script_url("admin/dashboard"))
    assert list(reached(folder, script_url("admin/dashboard")).values()) == [True]


def named() -> dict[str, str]:
    """Return the files that the tag names, each by the attribute of the script."""
    script = event_source_script(Page(None, None, set()))
    return dict(re.findall(r' (src|data-\w+)="/static/([^"]+)"', script))


@pytest.mark.parametrize("only_hashed", [False, True])
@pytest.mark.parametrize("backend", [DJANGO, WHITENOISE])
def test_the_tag_names_hashed_files(
    backend: str, only_hashed: bool, settings: Any, collect: Any
) -> None:
    """With nothing set but the storage; and each of them is there."""
    settings.WHITENOISE_KEEP_ONLY_HASHED_FILES = only_hashed
    folder = collect(backend)
    files = named()
    assert all((folder / path).is_file() for path in files.values())
    assert all(HASHED.search(path) for path in files.values())
    assert {name: HASHED.sub(".js", path) for name, path in files.items()} == {
        "src": "django_sse/event-source.min.js",
        "data-shared": "django_sse/shared-connection.min.js",
        "data-fetch": "django_sse/fetch-source.min.js",
    }


@pytest.mark.parametrize("backend", [PLAIN, DJANGO, WHITENOISE])
def test_without_the_attributes_files_are_found_beside_the_script(
    backend: str, collect: Any
) -> None:
    """For a script that is written by hand: what it imports then is there by its plain name."""
    folder = collect(backend)
    modules = reached(folder, staticfiles_storage.url("django_sse/event-source.min.js"))
    assert modules == dict.fromkeys(modules, True)
    assert {"django_sse/shared-connection.min.js", "django_sse/fetch-source.min.js"} < set(modules)
    assert len(modules) == 3


def test_the_files_may_be_kept_for_ever(settings: Any, collect: Any) -> None:
    """WhiteNoise serves each as a script, compressed, and says so to browsers."""
    settings.WHITENOISE_KEEP_ONLY_HASHED_FILES = True
    folder = collect(WHITENOISE)

    def is_hashed(path: str, url: str) -> bool:
        return HASHED.search(url) is not None

    server = WhiteNoise(None, root=str(folder), prefix="static/", immutable_file_test=is_hashed)
    for path in named().values():
        file = server.files[f"/static/{path}"]
        response = file.get_response("GET", {"HTTP_ACCEPT_ENCODING": "gzip"})
        headers = dict(response.headers)
        assert response.file is not None
        response.file.close()
        assert headers["Content-Encoding"] == "gzip"
        assert "immutable" in headers["Cache-Control"]
        assert headers["Content-Type"].startswith("text/javascript")
        assert headers["Access-Control-Allow-Origin"] == "*"


# The modules as they are written, which a module of the project's may import.


@pytest.fixture
def collect_by(collect: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that collects by the storage that some code defines."""

    def run(code: str) -> Path:
        module = types.ModuleType("mysite.storage")
        exec(code, module.__dict__)
        monkeypatch.setitem(sys.modules, "mysite", types.ModuleType("mysite"))
        monkeypatch.setitem(sys.modules, "mysite.storage", module)
        return collect("mysite.storage.StaticFilesStorage")

    return run


def reached(folder: Path, url: str) -> dict[str, bool]:
    """Return the modules that the one at *url* may load, each with whether it is there."""
    found: dict[str, bool] = {}
    waiting = [url.removeprefix("/static/")]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        file = folder / path
        found[path] = file.is_file()
        for name in IMPORT.findall(COMMENT.sub("", file.read_text())) if found[path] else ():
            waiting.append(str((file.parent / name).resolve().relative_to(folder.resolve())))
    return found


def written() -> set[str]:
    """Return the element's modules, but for the one of types alone."""
    static = ROOT / "django_sse" / "static"
    paths = {path.relative_to(static).as_posix() for path in static.rglob("*.js")}
    modules = {path for path in paths if ".min." not in path and "/admin/" not in path}
    return modules - {"django_sse/types.js"}


@pytest.mark.parametrize("only_hashed", [False, True])
def test_every_import_is_of_a_hashed_file(
    only_hashed: bool, settings: Any, collect_by: Any
) -> None:
    """As the guide says it: all modules are reached, each by the name of its content."""
    settings.WHITENOISE_KEEP_ONLY_HASHED_FILES = only_hashed
    modules = reached(collect_by(OWN.text), staticfiles_storage.url(MODULE))
    assert all(modules.values())
    assert all(HASHED.search(path) for path in modules)
    assert {HASHED.sub(".js", path) for path in modules} == written()


@pytest.mark.parametrize("only_hashed", [False, True])
def test_the_built_files_bear_the_line_of_the_guide(
    only_hashed: bool, settings: Any, collect_by: Any
) -> None:
    """Django puts hashed names into them too."""
    settings.WHITENOISE_KEEP_ONLY_HASHED_FILES = only_hashed
    folder = collect_by(OWN.text)
    assert set(reached(folder, f"/static/{named()['src']}")) == set(named().values())


def test_imports_stay_plain_without_the_line(collect: Any) -> None:
    """What the guide says of a storage that does not have it: plain names, and they are there."""
    modules = reached(collect(DJANGO), staticfiles_storage.url(MODULE))
    assert all(modules.values())
    assert [path for path in modules if HASHED.search(path)] == [
        staticfiles_storage.url(MODULE).removeprefix("/static/")
    ]


def test_imports_are_lost_without_the_line_where_only_hashed_files_are_kept(
    settings: Any, collect: Any
) -> None:
    """What the guide warns of."""
    settings.WHITENOISE_KEEP_ONLY_HASHED_FILES = True
    modules = reached(collect(WHITENOISE), staticfiles_storage.url(MODULE))
    assert not all(modules.values())


def test_plain_storage_needs_nothing(collect: Any) -> None:
    """Django's default keeps the names, and so all imports are right."""
    modules = reached(collect(PLAIN), staticfiles_storage.url(MODULE))
    assert modules == dict.fromkeys(written(), True)


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
    "mysite/urls_with_files.py": """
from django.urls import re_path
from django.views.static import serve

from mysite.settings import STATIC_ROOT
from mysite.urls import urlpatterns

urlpatterns = [
    *urlpatterns,
    re_path("^static/(?P<path>.*)$", serve, {"document_root": STATIC_ROOT}),
]
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


#: What serves the files, and what is set for it behind the settings of the guide.
SERVERS = {
    "whitenoise": "",
    "nginx": f"""
# Django in the place of a server of files, with what Django's own storage has made.
MIDDLEWARE.remove("whitenoise.middleware.WhiteNoiseMiddleware")
STORAGES["staticfiles"] = {{"BACKEND": "{DJANGO}"}}
ROOT_URLCONF = "mysite.urls_with_files"
""",
}


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.parametrize("server", SERVERS)
async def test_element_comes_to_life_in_a_project(tmp_path: Path, server: str) -> None:
    """All that is loaded has a hashed name: the element, and what it loads when it is asked to."""
    chromium = require_chromium()
    project = Project(tmp_path, GUIDE, "live", FILES)
    with (tmp_path / "mysite" / "settings.py").open("a") as own:
        own.write(SERVERS[server])
    project.run("manage.py", "collectstatic", "--no-input")
    is_kept = (tmp_path / "collected" / "django_sse" / "event-source.min.js").exists()
    assert is_kept == (server == "nginx")
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
    scripts = sorted(url.rpartition("/")[2] for url in loaded if url.endswith(".js"))
    assert all(HASHED.search(name) for name in scripts)
    assert [HASHED.sub(".js", name) for name in scripts] == [
        "event-source.min.js",
        "fetch-source.min.js",
        "shared-connection.min.js",
    ]
    assert errors == []
