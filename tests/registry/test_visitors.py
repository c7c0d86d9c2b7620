"""Whose a stream is taken to be."""

from typing import Any

import pytest
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.backends.db import SessionStore
from django.db import models
from django.http import HttpRequest
from django.test import RequestFactory
from django.utils.functional import SimpleLazyObject

from django_sse import EventStream, event_stream
from django_sse.metrics import metrics
from django_sse.testing import StreamClient
from django_sse.visitors import Visitor, identify, session_digest, visitor_of

KEY = "k" * 32


def request_with(session_user: Any = None, **attributes: Any) -> HttpRequest:
    """Return a request with a loaded session, which is that of a user if one is given."""
    request = RequestFactory().get("/", REMOTE_ADDR="10.0.0.1")
    session = SessionStore(KEY)
    session._session_cache = {}  # type: ignore[attr-defined]
    if session_user is not None:
        known = {SESSION_KEY: session_user, HASH_SESSION_KEY: "hash", BACKEND_SESSION_KEY: "path"}
        session._session_cache = known  # type: ignore[attr-defined]
    request.session = session
    vars(request).update(attributes)
    return request


def lazy(user: Any, *, is_loaded: bool) -> Any:
    found = SimpleLazyObject(lambda: user)
    if is_loaded:
        assert found.pk == user.pk
    return found


IN_SESSION: dict[str, Any] = {
    "session": session_digest(KEY),
    "session_key": KEY,
    "session_type": SessionStore,
}
BY_SESSION = {**IN_SESSION, "session_hash": "hash", "backend": "path"}


def test_names_are_those_of_django() -> None:
    """The module that has them has models, which an import of the package must not load."""
    names = (SESSION_KEY, HASH_SESSION_KEY, BACKEND_SESSION_KEY)
    assert names == ("_auth_user_id", "_auth_user_hash", "_auth_user_backend")


def test_user_of_the_session() -> None:
    """Nothing is queried for a user whom nobody has asked for."""
    request = request_with("7", user=lazy(User(pk=8), is_loaded=False))
    assert visitor_of(request) == Visitor(user_id="7", address="10.0.0.1", **BY_SESSION)


@pytest.mark.parametrize("name", ["_cached_user", "_acached_user"])
def test_user_whom_django_has_loaded(name: str) -> None:
    """By request.user, or by await request.auser()."""
    request = request_with("7", **{name: User(pk=7)})
    assert visitor_of(request) == Visitor(user_id="7", address="10.0.0.1", **BY_SESSION)


@pytest.mark.parametrize("user", [User(pk=9), lazy(User(pk=9), is_loaded=True)])
def test_user_of_a_token_beside_the_cookie_of_another(user: Any) -> None:
    """The session is not theirs: to end it is nothing to them, nor is its password's hash."""
    request = request_with("7", user=user, _cached_user=User(pk=7))
    assert visitor_of(request) == Visitor(user_id="9", address="10.0.0.1", user_type=User)


def test_user_of_a_token_without_a_session() -> None:
    """A middleware that knows users by a token sets request.user, and nothing else."""
    request = RequestFactory().get("/", REMOTE_ADDR="10.0.0.1")
    request.user = User(pk=9)
    assert visitor_of(request) == Visitor(user_id="9", address="10.0.0.1", user_type=User)


def test_session_that_does_not_hold_any_more() -> None:
    """Django takes its user for nobody: as when they may not log in any more."""
    request = request_with("7", user=lazy(AnonymousUser(), is_loaded=True))
    assert visitor_of(request) == Visitor(address="10.0.0.1")


def test_guest_with_a_session() -> None:
    """disconnect(session=…) finds them by it."""
    request = request_with(user=AnonymousUser())
    assert visitor_of(request) == Visitor(address="10.0.0.1", **IN_SESSION)


class Prefixed(models.Model):
    """A user whose primary key a session has in another form."""

    class Key(models.CharField):
        """A primary key."""

        def value_to_string(self, obj: Any) -> str:
            """See Field."""
            return f"user-{obj.pk}"

    key = Key(max_length=9, primary_key=True)

    class Meta:
        app_label = "tests"
        managed = False


def test_primary_key_that_a_session_has_in_another_form() -> None:
    """It is the same user."""
    request = request_with("user-7", user=Prefixed(pk="7"))
    assert visitor_of(request) == Visitor(user_id="7", address="10.0.0.1", **BY_SESSION)


def test_session_that_is_none_of_django() -> None:
    """Such as the dict of a test."""
    request = RequestFactory().get("/", REMOTE_ADDR="10.0.0.1")
    vars(request)["session"] = {"cart": 1}
    assert visitor_of(request) == Visitor(address="10.0.0.1")


async def test_session_that_is_none_of_django_is_not_loaded() -> None:
    """It has no key by which it could be."""
    request = RequestFactory().get("/", REMOTE_ADDR="10.0.0.1")
    vars(request)["session"] = {"cart": 1}
    assert await identify(request) == Visitor(address="10.0.0.1")
    assert metrics.registry_errors == 0


async def test_session_that_cannot_be_loaded(
    asgi: StreamClient, route: Any, monkeypatch: Any, caplog: Any
) -> None:
    """The stream opens all the same, as nobody's; that is logged and counted."""

    def load(self: Any) -> Any:
        raise OSError("no database")

    monkeypatch.setattr(SessionStore, "load", load)
    monkeypatch.setattr(SessionStore, "aload", None, raising=False)
    monkeypatch.setattr(SessionStore, "_aget_session", _failing)
    streams: list[EventStream] = []

    @event_stream(groups="room")
    async def view(request: Any, stream: EventStream) -> None:
        streams.append(stream)

    route("view/", view)
    asgi.cookies["sessionid"] = KEY
    exchange = await asgi.open("/view/")
    assert await exchange.next_frame() == b"retry: 3000\n\n"
    assert streams[0].visitor.user_id == ""
    assert metrics.registry_errors == 1
    assert "cannot be loaded: OSError: no database" in caplog.text


async def _failing(self: Any) -> Any:
    raise OSError("no database")
