"""Fixtures of the whole suite."""

import contextvars
import functools
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import hypothesis
import pytest
from _pytest.runner import runtestprotocol
from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.core.asgi import get_asgi_application as get_stock_application
from django.db import connections
from django.urls import path

from django_sse import lifecycle, stores
from django_sse.asgi import get_asgi_application
from django_sse.conf import get_settings
from django_sse.testing import StreamClient, areset, reset
from tests.clients import TIMEOUT
from tests.redis_nodes import Cluster, Node

# The same examples each time, on a machine however slow; a search for more is made by hand.
hypothesis.settings.register_profile(
    "suite",
    derandomize=True,
    deadline=None,
    max_examples=50,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("suite")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool:
    """
    Run each test in a context of its own.

    Each of Django's URL resolvers leaves a variable in it, a test with URLs of its own makes ten
    of them, and asgiref goes through all at each change of threads: the thousandth test would
    take ten times as long as it does alone.
    """
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    contextvars.copy_context().run(runtestprotocol, item, nextitem=nextitem)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


@pytest.fixture(autouse=True)
def _store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Keep no history by default, so that a test of something else need not know of ids.

    A test that is marked ``history`` has the store that the package chooses, one that names a
    store in its settings has that.
    """
    make = stores._make
    if request.node.get_closest_marker("history") is None:
        monkeypatch.setattr(
            stores, "_make", lambda: None if get_settings().store == "auto" else make()
        )


@pytest.fixture(autouse=True)
def _registry(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Keep no registry, and look after nobody's rights: tests have the database to themselves.

    A test that is marked ``registry`` has both, as its settings say.
    """
    if request.node.get_closest_marker("registry") is None:
        monkeypatch.setattr(lifecycle, "observe", lambda hub: None)


@pytest.fixture(autouse=True)
def _fresh_process(request: pytest.FixtureRequest) -> Iterator[None]:
    """Forget, before and after each test, all that the package and Channels keep in a process."""
    reset()
    if inspect.iscoroutinefunction(getattr(request, "function", None)):
        request.getfixturevalue("_closed_hub")
    yield
    reset()


@pytest.fixture
async def _closed_hub() -> AsyncIterator[None]:
    """End the streams of the test's loop, as the end of a process does."""
    yield
    await areset()


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster of three nodes, which lives as long as the tests."""
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        yield cluster.start()
    finally:
        cluster.stop()


@pytest.fixture(scope="session")
def redis_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Node]]:
    """Three servers that know nothing of each other, for as long as the tests."""
    servers = [Node(tmp_path_factory.mktemp(f"redis-{number}")) for number in range(3)]
    try:
        yield [server.start() for server in servers]
    finally:
        for server in servers:
            server.kill()


@pytest.fixture(params=["own entry", "stock entry"])
def app(request: pytest.FixtureRequest) -> Any:
    """
    The project's ASGI application by django_sse.asgi, and by django.core.asgi.

    It is made for the first request, so that a test may set MIDDLEWARE before.
    """
    make = get_asgi_application if request.param == "own entry" else get_stock_application
    made = functools.cache(make)

    def call(*args: Any) -> Any:
        return made()(*args)

    return call


@pytest.fixture
async def asgi(app: Any, request: pytest.FixtureRequest) -> AsyncIterator[StreamClient]:
    """A client of ``app``."""
    if "transactional_db" in request.fixturenames:
        request.getfixturevalue("transactional_db")  # Before, so that it is there until the end.
    client = StreamClient(app, timeout=TIMEOUT)
    yield client
    await client.close()


@pytest.fixture
def route(settings: Any) -> Callable[..., None]:
    """Return a function that puts a view at a URL pattern: ``route("rooms/<pk>/", view)``."""
    patterns: list[Any] = []

    def add(pattern: str, view: Any, **kwargs: Any) -> None:
        patterns.append(path(pattern, view, **kwargs))
        settings.ROOT_URLCONF = tuple(patterns)

    return add


@pytest.fixture
def sync() -> Callable[..., Any]:
    """Return a coroutine function that calls a sync one in a thread, as a view's ORM calls are."""

    async def call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        async with ThreadSensitiveContext():
            try:
                return await sync_to_async(function)(*args, **kwargs)
            finally:
                await sync_to_async(connections.close_all)()

    return call


@pytest.fixture
def log_in(transactional_db: None) -> Callable[[StreamClient, Any], Any]:
    """Return a function that gives a client the session cookie of a user."""
    from django.contrib.sessions.backends.db import SessionStore

    def give(client: StreamClient, user: Any) -> SessionStore:
        client.force_login(user)
        return SessionStore(client.cookies["sessionid"].value)

    return give
