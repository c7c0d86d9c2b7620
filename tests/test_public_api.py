"""The package's face: what it gives, and what importing it does not do."""

import inspect
import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from django.dispatch import Signal

import django_sse
from django_sse import exceptions

ROOT = Path(__file__).parent.parent

NAMES = [
    "EventStream",
    "EventStreamResponse",
    "EventStreamView",
    "LiveQuerySetView",
    "ModelPublisher",
    "ServerSentEvent",
    "abroadcast",
    "aconnections",
    "adisconnect",
    "apublish",
    "broadcast",
    "connections",
    "disconnect",
    "event_published",
    "event_sent",
    "event_stream",
    "events_dropped",
    "publish",
    "register",
    "stream_closed",
    "stream_opened",
    "subscribe",
    "subscribe_queryset",
    "suppress_publishing",
]


def test_all_is_exactly_the_public_names() -> None:
    """What is here is promised; anything else is found in its own module, and may change."""
    assert sorted(django_sse.__all__) == NAMES


def test_star_import_gives_exactly_the_public_names() -> None:
    """Each name of __all__ is there."""
    namespace: dict[str, Any] = {}
    exec("from django_sse import *", namespace)
    assert sorted(set(namespace) - {"__builtins__"}) == NAMES


def test_every_public_name_is_documented() -> None:
    """Functions and classes, and their public methods, have a docstring."""
    undocumented = []
    for name in django_sse.__all__:
        found = getattr(django_sse, name)
        if isinstance(found, Signal):
            continue
        members = {name: found}
        if inspect.isclass(found):
            members.update(
                {
                    f"{name}.{key}": member
                    for key, member in vars(found).items()
                    if not key.startswith("_")
                    and (callable(member) or isinstance(member, property))
                }
            )
        undocumented += [key for key, member in members.items() if not inspect.getdoc(member)]
    assert undocumented == []


@pytest.mark.parametrize(
    ("plain", "asynchronous"),
    [
        (django_sse.publish, django_sse.apublish),
        (django_sse.broadcast, django_sse.abroadcast),
        (django_sse.connections, django_sse.aconnections),
        (django_sse.disconnect, django_sse.adisconnect),
    ],
)
def test_sync_and_async_twins_take_the_same(plain: Any, asynchronous: Any) -> None:
    """The name with an ``a`` is the same in a coroutine."""
    assert inspect.signature(plain) == inspect.signature(asynchronous)
    assert inspect.iscoroutinefunction(asynchronous)
    assert not inspect.iscoroutinefunction(plain)


def test_options_of_publish_are_keyword_only() -> None:
    """publish("orders", data, "created") does not say what the third one is."""
    assert str(inspect.signature(django_sse.publish)) == (
        "(groups: str | collections.abc.Iterable[str], data: object, *, event: str | None = None,"
        " retry: int | None = None, history: bool = True, on_commit: bool = True,"
        " key: str | None = None, using: str | None = None) -> None"
    )


def test_every_error_is_of_one_family() -> None:
    """Who catches SSEError has caught all that the package raises of its own."""
    for name in exceptions.__all__:
        assert issubclass(getattr(exceptions, name), exceptions.SSEError)


def run_script(script: str) -> Any:
    """Run *script* in a new process without any project; return what it puts in ``found``."""
    whole = textwrap.dedent(script) + "\nimport json; print(json.dumps(found))\n"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", whole],
        cwd=ROOT,
        env={"PATH": "", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_import_needs_no_settings_and_loads_no_models() -> None:
    """A library can import the package before its project is set up, and without one."""
    found = run_script(
        """
        import django_sse
        from django.apps import apps
        from django.conf import settings
        from django.db.models import Model

        found = {
            "configured": settings.configured,
            "apps": apps.ready,
            "models": [model.__name__ for model in Model.__subclasses__()],
        }
        """
    )
    assert found == {"configured": False, "apps": False, "models": []}


def test_import_has_no_effects() -> None:
    """No thread, no socket, no event loop, no signal handler, no patch, no function at exit."""
    found = run_script(
        """
        import asyncio, atexit, signal, socket, threading
        # What the package stands on is imported first: its own effects are not the package's.
        import channels.layers, django.db, django.http, django.views, django.core.handlers.asgi
        import django.core.serializers.json, asgiref.sync, multiprocessing.util
        import django.core.management, redis.asyncio.cluster, redis.cluster
        from django.conf import settings

        done = []

        def watch(owner, name):
            real = getattr(owner, name)

            def watched(*args, **kwargs):
                done.append(name)
                return real(*args, **kwargs)

            setattr(owner, name, watched)

        watch(threading.Thread, "start")
        watch(socket.socket, "connect")
        watch(asyncio, "new_event_loop")
        watch(signal, "signal")
        watch(atexit, "register")
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

        import pkgutil, importlib
        import django_sse
        # Models need it, and what is registered in the admin needs that.
        names = ["admin", "auth", "contenttypes", "messages", "sessions"]
        settings.configure(
            INSTALLED_APPS=[*(f"django.contrib.{name}" for name in names), "django_sse"]
        )
        django.setup()
        for module in pkgutil.walk_packages(django_sse.__path__, "django_sse."):
            if not module.name.startswith("django_sse.testing"):
                importlib.import_module(module.name)

        if handlers != {number: signal.getsignal(number) for number in handlers}:
            done.append("handlers")
        found = {"done": done, "threads": threading.active_count()}
        """
    )
    assert found == {"done": [], "threads": 1}


def test_package_is_typed() -> None:
    """Type checkers read the package's own annotations."""
    assert (ROOT / "django_sse" / "py.typed").exists()
