"""Servers on a Redis that tests may break."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults.redis_server import RedisServer
from tests.servers.conftest import open_stream, pytest_runtest_makereport, start_server
from tests.servers.processes import Server

__all__ = ["open_stream", "pytest_runtest_makereport", "start_server"]

#: How long the package waits for the channel layer in these tests.
LAYER_TIMEOUT = 2.0


@pytest.fixture
async def redis_server(tmp_path: Path) -> AsyncIterator[RedisServer]:
    """A Redis of the test's own, running."""
    server = RedisServer(tmp_path)
    yield await server.start()
    server.stop()


@pytest.fixture(params=["core", "pubsub"])
def layer(request: pytest.FixtureRequest) -> str:
    """Each of the channel layers on Redis."""
    kind: str = request.param
    return kind


@pytest.fixture
async def server(
    request: pytest.FixtureRequest,
    redis_server: RedisServer,
    layer: str,
    start_server: Callable[..., Server],
) -> Server:
    """A server whose channel layer is that Redis; its store too, where a test asks for one."""
    settings: dict[str, Any] = {
        **redis_server.layer_settings(layer),
        "DJANGO_SSE": {"CHANNEL_LAYER_TIMEOUT_SECONDS": LAYER_TIMEOUT},
    }
    if request.node.get_closest_marker("history") is None:
        settings["DJANGO_SSE"]["STORE"] = None
    return await start_server("uvicorn-asyncio", settings=settings).ready()
