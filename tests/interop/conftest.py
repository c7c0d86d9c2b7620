"""A site with a history in Redis, npm's clients, and Chromium."""

import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import chromium, visitors
from tests.interop.sites import Site
from tests.npm import require_modules
from tests.servers.conftest import pytest_runtest_makereport
from tests.servers.processes import Server
from tests.services import require_redis

__all__ = ["chromium", "pytest_runtest_makereport", "visitors"]


@pytest.fixture(scope="session")
def npm() -> Path:
    """The folder of the packages from npm."""
    return require_modules(Path(__file__).parent)


@pytest.fixture(scope="session")
def _settings() -> dict[str, Any]:
    layer = {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [require_redis()], "prefix": f"interop-{secrets.token_hex(4)}"},
    }
    return {
        "ROOT_URLCONF": "tests.interop.urls",
        "CHANNEL_LAYERS": {"default": layer},
        "DJANGO_SSE": {"RECONNECTION_TIME_MS": 200, "HEARTBEAT_SECONDS": 1},
    }


@pytest.fixture(scope="session")
def _publisher(
    _settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    server = Server.of("uvicorn-uvloop", tmp_path_factory.mktemp("publisher"), settings=_settings)
    yield server
    server.stop()


@pytest.fixture
def server_kind() -> str:
    """Which server the site runs on, of SERVERS."""
    return "uvicorn-uvloop"


@pytest.fixture
async def site(
    _settings: dict[str, Any], _publisher: Server, server_kind: str, tmp_path: Path
) -> AsyncIterator[Site]:
    """A site whose server runs, with a group of the test's own."""
    await _publisher.ready()
    group = secrets.token_hex(4)
    site = Site(tmp_path, _publisher, kind=server_kind, group=group, settings=_settings)
    await site.start()
    yield site
    site.stop()
