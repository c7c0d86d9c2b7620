"""A running demo, a site of rows, and visitors to them."""

import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import django
import pytest
from playwright.async_api import async_playwright, expect

from tests.browser.chromium import Chromium
from tests.browser.flags import FLAGS
from tests.browser.processes import Demo, Visitors
from tests.browser.relay import Relay, relaying
from tests.browser.rows import RowsSite
from tests.servers.processes import Server, running
from tests.services import require_chromium, require_redis

#: How long a test waits for what a page is to show, and for Chromium to start.
TIMEOUT_MS = 60_000
expect.set_options(timeout=TIMEOUT_MS)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Any:
    """Show what the demo has written, where a test fails."""
    report = yield
    if report.failed:
        for process in running:
            report.sections.append((f"output of {process.name}", process.output[-8000:]))
    return report


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of Chromium."""
    return require_chromium()


@pytest.fixture(scope="module")
def _demo(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    demo = Demo(tmp_path_factory.mktemp("demo"))
    yield demo
    demo.stop()


@pytest.fixture
async def demo(_demo: Demo) -> Demo:
    """The demo, answering. All tests of a module share it."""
    return await _demo.ready()


@pytest.fixture
async def visitors(chromium: str) -> AsyncIterator[Visitors]:
    """Return the people at their browsers; in the end no page may have complained."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium, args=FLAGS, timeout=TIMEOUT_MS
        )
        visitors = Visitors(browser)
        yield visitors
        await browser.close()
    assert visitors.errors == []


@pytest.fixture
async def own_chromium(
    chromium: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Chromium]:
    """A Chromium whose tabs are hidden, frozen and cached as anybody's are."""
    process = Chromium(chromium, tmp_path_factory.mktemp("chromium"))
    yield await process.ready()
    process.stop()


@pytest.fixture
async def owner(own_chromium: Chromium) -> AsyncIterator[Visitors]:
    """Whoever sits at that Chromium; in the end no page may have complained."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.connect_over_cdp(
            own_chromium.endpoint, no_defaults=True, timeout=TIMEOUT_MS
        )
        owner = Visitors(browser, someone=browser.contexts[0])
        yield owner
        await browser.close()
    assert owner.errors == []


@pytest.fixture(scope="session")
def site_settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The settings of the site in tests/browser/site; its history is in Redis."""
    prefix = f"element-{secrets.token_hex(4)}"
    layer = {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [require_redis()], "prefix": prefix},
    }
    # A history that is soon too short. It is cut at each hundredth event.
    store = {
        "BACKEND": "django_sse.stores.redis.RedisStore",
        "OPTIONS": {"url": require_redis(), "prefix": prefix, "max_events": 400},
    }
    cache = {
        "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
        "LOCATION": str(tmp_path_factory.mktemp("cache")),
    }
    # A page that asks for no policy has none.
    has_policies = django.VERSION >= (6, 0)
    processors = ["request", *(["csp"] if has_policies else [])]
    templates = {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [str(Path(__file__).parent / "site" / "pages")],
        "OPTIONS": {
            "context_processors": [f"django.template.context_processors.{p}" for p in processors]
        },
    }
    return {
        "ROOT_URLCONF": "tests.browser.site.urls",
        "MIDDLEWARE": ["django.middleware.csp.ContentSecurityPolicyMiddleware"] * has_policies,
        "TEMPLATES": [templates],
        "CACHES": {"default": cache},
        "CHANNEL_LAYERS": {"default": layer},
        "DJANGO_SSE": {
            "RECONNECTION_TIME_MS": 200,
            "HEARTBEAT_SECONDS": 1,
            "TOKEN_SECONDS": 5,
            "STORE": store,
        },
    }


@pytest.fixture(scope="session")
def _publisher(
    site_settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("publisher")
    server = Server.of("uvicorn-uvloop", folder, settings=site_settings)
    yield server
    server.stop()


@pytest.fixture
def server_kind() -> str:
    """Which server the site runs on, of SERVERS."""
    return "uvicorn-uvloop"


@pytest.fixture
def is_debug() -> bool:
    """Whether pages load the modules as they are written, and not what is built from them."""
    return False


@pytest.fixture
async def site(
    site_settings: dict[str, Any],
    _publisher: Server,
    server_kind: str,
    is_debug: bool,
    tmp_path: Path,
) -> AsyncIterator[RowsSite]:
    """The site of rows, with a server and a group of the test's own."""
    await _publisher.ready()
    group = secrets.token_hex(4)
    settings = {**site_settings, "DEBUG": is_debug}
    site = RowsSite(tmp_path, _publisher, kind=server_kind, group=group, settings=settings)
    await site.start()
    yield site
    site.stop()


@pytest.fixture
async def relay(site: RowsSite) -> AsyncIterator[Relay]:
    """A proxy in front of the site."""
    async with relaying(site.port) as relay:
        yield relay
