"""Fixtures of the whole suite."""

import asyncio
import functools
import inspect
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import hypothesis
import pytest
from asgiref.sync import ThreadSensitiveContext, sync_to_async
from channels.layers import channel_layers
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.core.asgi import get_asgi_application as get_stock_application
from django.db import connections
from django.urls import path

from django_sse import hub as hub_module
from django_sse import loops, stores
from django_sse.asgi import get_asgi_application
from django_sse.conf import get_settings
from django_sse.metrics import Metrics, metrics
from django_sse.threads import BorrowingExecutor
from tests.clients import TIMEOUT, AsgiClient

# The same examples each time, on a machine however slow; a search for more is made by hand.
hypothesis.settings.register_profile(
    "suite",
    derandomize=True,
    deadline=None,
    max_examples=50,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("suite")


@pytest.fixture(autouse=True)
def _threads_at_rest() -> Iterator[None]:
    """
    Let the shared threads close their connections while the test may use its database.

    They outlive the test, and the next one that may not would fail at what is still open.
    """
    pool = BorrowingExecutor._pool
    yield
    # One that waits for the next piece of a cursor looks again after some seconds.
    deadline = time.monotonic() + TIMEOUT
    while pool._ready or pool._idle < sum(t.name == "django_sse" for t in threading.enumerate()):
        assert time.monotonic() < deadline, "A call of a stream still runs in a shared thread."
        time.sleep(0.001)


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
def _fresh_process(request: pytest.FixtureRequest, _threads_at_rest: None) -> Iterator[None]:
    """Forget, before and after each test, all that the package and Channels keep in a process."""
    _forget()
    if inspect.iscoroutinefunction(getattr(request, "function", None)):
        request.getfixturevalue("_closed_hub")
    yield
    _forget()


def _forget() -> None:
    for loop in [loop for loop in hub_module._hubs if loop.is_closed()]:
        hub_module._hubs.pop(loop).dispose()
    for key in [key for key in loops._queues if key[0].is_closed()]:
        del loops._queues[key]
    loops._serving = None
    stores.forget_store()
    # An in-memory layer belongs to the loop of the test before.
    channel_layers.backends.clear()
    get_settings.cache_clear()
    fresh = Metrics()
    for name in Metrics.__slots__:
        setattr(metrics, name, getattr(fresh, name))


@pytest.fixture
async def _closed_hub() -> AsyncIterator[None]:
    """End the streams of the test's loop, as the end of a process does."""
    yield
    hub = hub_module._hubs.pop(asyncio.get_running_loop(), None)
    if hub is not None:
        hub.shut_down()
        async with asyncio.timeout(TIMEOUT):
            while hub._tasks:
                await asyncio.wait(set(hub._tasks))


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
async def asgi(app: Any, request: pytest.FixtureRequest) -> AsyncIterator[AsgiClient]:
    """A client of ``app``."""
    if "transactional_db" in request.fixturenames:
        request.getfixturevalue("transactional_db")  # Before, so that it is there until the end.
    client = AsgiClient(app)
    yield client
    await client.close()
    await sync_to_async(connections.close_all)()


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
def log_in(transactional_db: None) -> Callable[[AsgiClient, Any], Any]:
    """Return a function that gives a client the session cookie of a user."""
    from django.contrib.sessions.backends.db import SessionStore

    def give(client: AsgiClient, user: Any) -> SessionStore:
        session = SessionStore()
        session[SESSION_KEY] = str(user.pk)
        session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
        session[HASH_SESSION_KEY] = user.get_session_auth_hash()
        session.save()
        client.cookies["sessionid"] = session.session_key or ""
        return session

    return give
