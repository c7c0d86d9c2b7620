"""Users who log out, change their password, are deactivated or deleted: their streams end."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import transaction
from django.test import Client as DjangoClient

from django_sse import EventStream, event_stream
from django_sse.hub import get_hub
from django_sse.metrics import metrics
from django_sse.reasons import CloseReason
from django_sse.rights import look
from django_sse.visitors import Visitor, visitor_of
from tests.clients import AsgiClient
from tests.registry.conftest import open_many
from tests.servers.waiting import eventually

pytestmark = [pytest.mark.registry, pytest.mark.django_db(transaction=True)]

LoggedIn = Callable[[str], Awaitable[EventStream]]


@pytest.fixture(params=[True, False], ids=["registry", "no registry"], autouse=True)
def _with_and_without(request: pytest.FixtureRequest, settings: Any) -> None:
    settings.DJANGO_SSE = {"REGISTRY": request.param, "LEASE_SECONDS": 2}


@pytest.fixture
async def logged_in(
    transactional_db: None, asgi: AsgiClient, route: Any, log_in: Any, sync: Any
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
    monkeypatch.setattr("django_sse.supervision.look", lambda new, known: (set(), {}))


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
    observer: Any = get_hub().observer
    await eventually(lambda: len(observer._supervision._known) == 2)
    await sync(lose, stream)
    await ended(stream)
    assert other.reason is None


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
    assert stream.visitor.user_id
    await sync(lose, stream)
    await ended(stream)


async def test_ordinary_saves_end_nothing(
    logged_in: LoggedIn, sync: Any, monkeypatch: Any
) -> None:
    """A user who is saved with the same password, logs in again, or is created, loses nothing."""
    orders: list[Any] = []
    monkeypatch.setattr("django_sse.revocation.end_streams", orders.append)
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
    monkeypatch.setattr("django_sse.revocation.end_streams", orders.append)
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
    """It is logged; the look ends the stream a little later."""
    monkeypatch.setattr("django_sse.revocation.end_streams", lambda order: 1 / 0)
    stream = await logged_in("ada")
    await sync(log_out, stream)
    assert "were not ended" in caplog.text
    await ended(stream)


async def test_guard_that_refuses_asks_the_others_again(
    asgi: AsgiClient, route: Any, log_in: Any, sync: Any, transactional_db: None
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


def visitor(user: User, **changes: Any) -> Visitor:
    given = {"user_id": str(user.pk), "session_hash": user.get_session_auth_hash(), **changes}
    return Visitor(**given)


def test_look_makes_three_queries_for_however_many(django_assert_max_num_queries: Any) -> None:
    """A thousand users cost as many queries as one."""
    User.objects.bulk_create(User(username=str(n), password="!") for n in range(1000))
    everyone = [visitor(user) for user in User.objects.all()]
    with django_assert_max_num_queries(3):
        refused, standings = look(everyone, {})
    assert (refused, len(standings)) == (set(), 1000)
    User.objects.filter(username="7").update(password="?")
    with django_assert_max_num_queries(3):
        refused, _ = look([], standings)
    assert [one.user_id for one in refused] == [str(User.objects.get(username="7").pk)]


def test_look_knows_only_users_of_the_table() -> None:
    """A user from elsewhere, or one without a primary key of the right form, is left alone."""
    user = User.objects.create_user("ada")
    strangers = [Visitor(user_id="99999"), Visitor(user_id="cn=ada")]
    refused, standings = look([visitor(user), *strangers], {})
    assert refused == set()
    assert [standings[stranger] for stranger in strangers] == [None, None]
    assert look([], standings)[0] == set()


def test_look_sees_what_was_lost_as_the_stream_began() -> None:
    """The first look holds the session's own hash against the user as they are by then."""
    user = User.objects.create_user("ada", password="secret")
    late = visitor(user)
    user.set_password("other")
    user.save()
    assert look([late], {})[0] == {late}
    inactive = User.objects.create_user("ben", is_active=False)
    assert look([visitor(inactive)], {})[0] == {visitor(inactive)}


def test_look_asks_the_backends(settings: Any) -> None:
    """Where one of them lets inactive users in, they are let in."""
    settings.AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.AllowAllUsersModelBackend"]
    user = User.objects.create_user("ada")
    _, standings = look([visitor(user)], {})
    User.objects.update(is_active=False)
    refused, standings = look([], standings)
    assert refused == set()
    assert look([], standings)[0] == set()


def test_look_accepts_the_former_secret_key(settings: Any) -> None:
    """A session that was made with it is valid for Django, too."""
    user = User.objects.create_user("ada")
    made = visitor(user)
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "new"
    assert look([made], {})[0] == set()


def test_visitor_of_a_user_without_a_session(rf: Any) -> None:
    """A middleware that knows users by a token sets request.user, and nothing else."""
    request = rf.get("/", REMOTE_ADDR="10.0.0.1")
    request.user = User(pk=7)
    assert visitor_of(request) == Visitor(user_id="7", address="10.0.0.1")
    assert SESSION_KEY == "_auth_user_id"
    assert HASH_SESSION_KEY == "_auth_user_hash"
    assert metrics.registry_errors == 0
