"""Users who log out, change their password, are deactivated or deleted: their streams end."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import transaction
from django.http import HttpResponse
from django.test import Client as DjangoClient

from django_sse import EventStream, event_stream
from django_sse.hub import get_hub
from django_sse.metrics import metrics
from django_sse.reasons import CloseReason
from django_sse.testing import StreamClient
from tests.registry.conftest import open_many
from tests.servers.waiting import eventually

pytestmark = [pytest.mark.registry, pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: Any) -> None:
    """Look at users at each tick."""
    monkeypatch.setattr("django_sse.supervision._LOOK_SECONDS", 0.1)


LoggedIn = Callable[[str], Awaitable[EventStream]]


@pytest.fixture(params=[True, False], ids=["registry", "no registry"], autouse=True)
def _with_and_without(request: pytest.FixtureRequest, settings: Any) -> None:
    settings.DJANGO_SSE = {"REGISTRY": request.param, "LEASE_SECONDS": 2}


@pytest.fixture
async def logged_in(
    transactional_db: None, asgi: StreamClient, route: Any, log_in: Any, sync: Any
) -> LoggedIn:
    """Return a function that makes a user, logs them in, and opens a stream of theirs."""
    streams: list[EventStream] = []

    @event_stream(groups="room")
    async def view(request: Any, stream: EventStream) -> None:
        streams.append(stream)

    route("view/", view)

    async def open_stream(name: str) -> EventStream:
        user = await sync(User.objects.create_user, name, password="secret")
        asgi.cookies.clear()  # Another browser: a login of another user ends the session.
        await sync(log_in, asgi, user)
        await (await asgi.open("/view/")).next_frame()
        return streams[-1]

    return open_stream


async def looked_at(count: int) -> None:
    """Wait until so many users have been looked at for the first time."""
    observer: Any = get_hub().observer
    await eventually(lambda: len(observer._supervision._known) == count)


async def ended(stream: EventStream) -> None:
    await eventually(lambda: stream.reason)
    assert stream.reason is CloseReason.LOGGED_OUT


@pytest.fixture
def without_orders(monkeypatch: Any) -> None:
    """Let no order reach any worker: neither by the layer nor in the registry."""
    monkeypatch.setattr("django_sse.control._has_others", lambda order: False)
    monkeypatch.setattr("django_sse.control._note", lambda order: 0)


@pytest.fixture
def without_looks(monkeypatch: Any) -> None:
    """Let nobody be looked at: only a signal ends streams."""
    monkeypatch.setattr("django_sse.supervision.look", lambda visitors, tell: (set(), {}))


def log_out(stream: EventStream) -> None:
    client = DjangoClient()
    client.cookies["sessionid"] = stream.visitor.session_key
    client.logout()


def change_password(stream: EventStream) -> None:
    user = User.objects.get(pk=stream.visitor.user_id)
    user.set_password("other")
    user.save()


def deactivate(stream: EventStream) -> None:
    user = User.objects.get(pk=stream.visitor.user_id)
    user.is_active = False
    user.save()


def delete(stream: EventStream) -> None:
    User.objects.get(pk=stream.visitor.user_id).delete()


LOSSES = [log_out, change_password, deactivate, delete]


@pytest.mark.parametrize("lose", LOSSES)
@pytest.mark.usefixtures("without_looks")
async def test_signal_ends_the_streams_of_the_user(
    lose: Any, logged_in: LoggedIn, sync: Any
) -> None:
    """At once, and of nobody else."""
    [guest] = await open_many(1, "room")
    other, stream = await logged_in("ben"), await logged_in("ada")
    await sync(lose, stream)
    await ended(stream)
    assert (other.reason, guest.reason) == (None, None)


@pytest.mark.parametrize("lose", LOSSES)
@pytest.mark.usefixtures("without_orders")
async def test_look_ends_what_no_order_has_reached(
    lose: Any, logged_in: LoggedIn, sync: Any
) -> None:
    """A lossy channel layer does not keep a stream open."""
    other, stream = await logged_in("ben"), await logged_in("ada")
    await looked_at(2)
    await sync(lose, stream)
    await ended(stream)
    assert other.reason is None


async def test_own_new_password(
    asgi: StreamClient, route: Any, log_in: Any, sync: Any, transactional_db: None
) -> None:
    """The stream ends, for its session is another now; the browser is back in some seconds."""
    streams: list[EventStream] = []

    @event_stream(groups="room", guard=lambda request: request.user.is_authenticated)
    async def view(request: Any, stream: EventStream) -> None:
        streams.append(stream)

    def change(request: Any) -> HttpResponse:
        request.user.set_password("other")
        request.user.save()
        update_session_auth_hash(request, request.user)
        return HttpResponse()

    route("view/", view)
    route("change/", change)
    await sync(log_in, asgi, await sync(User.objects.create_user, "ada", password="secret"))
    exchange = await asgi.open("/view/")
    await exchange.next_frame()
    assert (await asgi.post("/change/")).status == 200
    last = (await exchange.ended()).split(b"\n\n")[-2]
    assert 3_000 <= int(last.removeprefix(b"retry: ")) <= 6_000
    assert streams[0].reason is CloseReason.LOGGED_OUT
    again = await asgi.open("/view/")
    assert again.status == 200
    await again.next_frame()
    await looked_at(1)
    assert streams[1].reason is None


def update(stream: EventStream) -> None:
    User.objects.filter(pk=stream.visitor.user_id).update(is_active=False)


def delete_session(stream: EventStream) -> None:
    Session.objects.filter(session_key=stream.visitor.session_key).delete()


def let_session_run_out(stream: EventStream) -> None:
    Session.objects.update(expire_date="2000-01-01T00:00:00Z")


@pytest.mark.parametrize("lose", [update, delete_session, let_session_run_out])
async def test_look_ends_what_no_signal_tells_of(
    lose: Any, logged_in: LoggedIn, sync: Any
) -> None:
    """Rows that are changed behind the models' back count as much."""
    stream = await logged_in("ada")
    await looked_at(1)
    await sync(lose, stream)
    await ended(stream)


async def test_ordinary_saves_end_nothing(
    logged_in: LoggedIn, sync: Any, monkeypatch: Any
) -> None:
    """A user who is saved with the same password, logs in again, or is created, loses nothing."""
    orders: list[Any] = []
    monkeypatch.setattr("django_sse.revocation.end_streams_soon", orders.append)
    stream = await logged_in("ada")

    def save() -> None:
        user = User.objects.get(pk=stream.visitor.user_id)
        user.first_name = "Ada"
        user.save()
        user.save(update_fields=["last_login"])
        assert DjangoClient().login(username="ada", password="secret")
        User.objects.create_user("new", is_active=False)

    await sync(save)
    assert orders == []


async def test_rollback_ends_nothing(logged_in: LoggedIn, sync: Any, monkeypatch: Any) -> None:
    """What was not committed has not happened."""
    orders: list[Any] = []
    monkeypatch.setattr("django_sse.revocation.end_streams_soon", orders.append)
    stream = await logged_in("ada")

    def roll_back() -> None:
        with transaction.atomic():
            deactivate(stream)
            transaction.set_rollback(True)

    await sync(roll_back)
    assert orders == []
    await sync(deactivate, stream)
    assert len(orders) == 1


async def test_order_that_fails_does_not_keep_a_user_from_logging_out(
    logged_in: LoggedIn, sync: Any, monkeypatch: Any, caplog: Any
) -> None:
    """It is logged and counted; the look ends the stream a little later."""
    monkeypatch.setattr("django_sse.revocation.end_streams_soon", lambda order: 1 / 0)
    stream = await logged_in("ada")
    await looked_at(1)
    await sync(log_out, stream)
    assert "were not ended" in caplog.text
    assert metrics.registry_errors == 1
    await ended(stream)


async def test_guard_that_refuses_asks_the_others_again(
    asgi: StreamClient, route: Any, log_in: Any, sync: Any, transactional_db: None
) -> None:
    """What one stream's recheck has seen ends the user's others by their own guards, at once."""
    streams: dict[str, EventStream] = {}
    allowed = True

    def view_of(name: str, recheck: float, guard: Any) -> None:
        @event_stream(groups="room", guard=guard, recheck=recheck)
        async def view(request: Any, stream: EventStream) -> None:
            streams[name] = stream

        route(f"{name}/", view)

    view_of("often", 0.05, lambda request: allowed)
    view_of("seldom", 3600, lambda request: allowed)
    view_of("always", 3600, lambda request: True)
    await sync(log_in, asgi, await sync(User.objects.create_user, "ada"))
    for name in ("often", "seldom", "always"):
        await (await asgi.open(f"/{name}/")).next_frame()
    allowed = False
    await eventually(lambda: streams["seldom"].reason)
    assert streams["seldom"].reason is streams["often"].reason is CloseReason.GUARD
    assert streams["always"].reason is None
