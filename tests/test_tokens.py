"""Signed tokens: whose they are, and how long."""

import time
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.backends.signed_cookies import SessionStore as CookieStore
from django.core import signing
from django.core.exceptions import SynchronousOnlyOperation
from django.test import RequestFactory
from django.utils.functional import SimpleLazyObject

from django_sse.exceptions import InvalidGroup
from django_sse.tokens import Token, bindings_of, make_token, read_token, renew_after

AGE = 300.0


def request_of(user: Any = None, session: Any = None) -> Any:
    """Return a request as the middleware of both leave it."""
    request: Any = RequestFactory().get("/")
    if user is not None:
        request.user = user
    if session is not None:
        request.session = session
    return request


def saved_session() -> SessionStore:
    session = SessionStore()
    session["cart"] = 1
    session.save()
    return SessionStore(session.session_key)


def is_accepted(token: str, request: Any) -> bool:
    read = read_token(token, max_age_seconds=AGE)
    return read is not None and read.binding in bindings_of(request)


class TestMake:
    def test_it_says_its_groups(self):
        """In the order given, each once."""
        token = make_token(request_of(), ["orders", "ann", "orders"])
        assert read_token(token, max_age_seconds=AGE) == Token("", ("orders", "ann"))

    def test_one_name_is_one_group(self):
        """As everywhere in the package."""
        token = make_token(request_of(), "a,b")
        assert read_token(token, max_age_seconds=AGE) == Token("", ("a,b",))

    def test_any_string_is_a_name(self):
        """Also one that a URL would have to quote."""
        names = ("ä & b", "100 %", "x" * 200, "a\nb")
        assert read_token(make_token(request_of(), names), max_age_seconds=AGE) == ("", names)

    def test_no_group(self):
        """A token of nothing is a mistake of its author."""
        with pytest.raises(InvalidGroup, match="name at least one"):
            make_token(request_of(), [])

    def test_bad_name(self):
        """The error says what a name is."""
        with pytest.raises(InvalidGroup, match="Group 7 must be a string"):
            make_token(request_of(), [7])  # type: ignore[list-item]

    def test_too_many_groups(self, settings):
        """It is told where the page is rendered, not where its stream is refused."""
        settings.DJANGO_SSE = {"MAX_GROUPS": 2}
        with pytest.raises(InvalidGroup, match=r"3 groups are more than .*MAX_GROUPS'\] = 2"):
            make_token(request_of(), ["a", "b", "c"])

    def test_too_long_names(self):
        """A URL has room for so much."""
        names = [f"{number:0100}" for number in range(30)]
        with pytest.raises(InvalidGroup, match=r"30 groups take 3030 bytes, and .* room for 3000"):
            make_token(request_of(), names)
        assert len(make_token(request_of(), names[:-1])) < 4_000


class TestRead:
    @pytest.mark.parametrize("text", ["", "x", ":", "a:b:c", "é:é:é", "a" * 9000])
    def test_what_is_none(self, text):
        """Whatever somebody sends, nothing is raised."""
        assert read_token(text, max_age_seconds=AGE) is None

    def test_each_changed_character_is_seen(self):
        """What is signed is all of it."""
        token = make_token(request_of(), ["orders"])
        for index, character in enumerate(token):
            other = "A" if character != "A" else "B"
            changed = token[:index] + other + token[index + 1 :]
            assert read_token(changed, max_age_seconds=AGE) is None

    def test_what_something_else_has_signed(self):
        """The same key signs cookies and more."""
        assert read_token(signing.dumps(["", "orders"]), max_age_seconds=AGE) is None

    def test_expired(self, monkeypatch):
        """It lasts for so long, and no longer."""
        token = make_token(request_of(), ["a"])
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + AGE - 1)
        assert read_token(token, max_age_seconds=AGE) is not None
        monkeypatch.setattr(time, "time", lambda: now + AGE + 2)
        assert read_token(token, max_age_seconds=AGE) is None
        assert read_token(token, max_age_seconds=86_400) is not None

    def test_more_groups_than_are_allowed_by_now(self, settings):
        """A limit that was lowered holds."""
        token = make_token(request_of(), ["a", "b"])
        settings.DJANGO_SSE = {"MAX_GROUPS": 1}
        assert read_token(token, max_age_seconds=AGE) is None

    def test_another_key(self, settings):
        """Of another project, or one that has been withdrawn."""
        token = make_token(request_of(), ["a"])
        settings.SECRET_KEY = "new"
        assert read_token(token, max_age_seconds=AGE) is None

    def test_fallback_key(self, settings):
        """A key that was changed with care goes on for a while."""
        token = make_token(request_of(), ["a"])
        settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
        settings.SECRET_KEY = "new"
        assert read_token(token, max_age_seconds=AGE) is not None


@pytest.mark.parametrize(("seconds", "expected"), [(300, 240), (10, 8), (1, 1), (0.5, 1)])
def test_renew_after_is_before_the_end(settings, seconds, expected):
    """With a fifth of the time to spare, in whole seconds."""
    settings.DJANGO_SSE = {"TOKEN_SECONDS": seconds}
    assert renew_after() == expected


@pytest.mark.django_db
class TestBinding:
    @pytest.fixture
    def ada(self) -> User:
        return User.objects.create_user("ada", password="old")

    def test_of_its_user(self, ada):
        """In any of their sessions, and without one."""
        token = make_token(request_of(ada, saved_session()), ["a"])
        assert is_accepted(token, request_of(ada, saved_session()))
        assert is_accepted(token, request_of(User.objects.get(pk=ada.pk)))

    def test_of_another_user(self, ada):
        """However they came by it."""
        token = make_token(request_of(ada), ["a"])
        assert not is_accepted(token, request_of(User.objects.create_user("bob")))

    def test_after_a_logout(self, ada):
        """Nobody is not the user, with the same session or another."""
        session = saved_session()
        token = make_token(request_of(ada, session), ["a"])
        for visitor in (request_of(), request_of(AnonymousUser(), session)):
            assert not is_accepted(token, visitor)

    def test_after_a_changed_password(self, ada):
        """It ends all that the old one has opened."""
        token = make_token(request_of(ada), ["a"])
        ada.set_password("new")
        ada.save()
        assert not is_accepted(token, request_of(ada))

    def test_after_a_changed_key(self, ada, settings):
        """The hash of the login is made from the key: with a fallback it is known again."""
        token = make_token(request_of(ada), ["a"])
        settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
        settings.SECRET_KEY = "new"
        assert is_accepted(token, request_of(ada))
        assert len(bindings_of(request_of(ada))) == 2

    def test_of_a_user_without_a_password(self):
        """A model of the project's own may have none."""

        class Robot:
            pk = 7
            is_authenticated = True

        token = make_token(request_of(Robot()), ["a"])
        assert is_accepted(token, request_of(Robot()))
        assert not is_accepted(token, request_of())

    def test_of_a_session(self):
        """A visitor without a login is known by it."""
        session = saved_session()
        token = make_token(request_of(AnonymousUser(), session), ["a"])
        assert is_accepted(token, request_of(AnonymousUser(), SessionStore(session.session_key)))
        assert not is_accepted(token, request_of(AnonymousUser(), saved_session()))
        assert not is_accepted(token, request_of())

    def test_of_a_session_that_is_gone(self):
        """The cookie alone is none."""
        session = saved_session()
        token = make_token(request_of(session=session), ["a"])
        session.delete()
        assert not is_accepted(token, request_of(session=SessionStore(session.session_key)))

    def test_of_a_visitor_is_not_for_a_user(self, ada):
        """Nor the other way round: who logs in has another page."""
        session = saved_session()
        for visitor in (request_of(), request_of(session=session)):
            token = make_token(visitor, ["a"])
            assert not is_accepted(token, request_of(ada, session))
            assert not is_accepted(token, request_of(ada))

    def test_of_nobody(self):
        """It is good for any visitor without a login, also one who has got a session since."""
        token = make_token(request_of(AnonymousUser(), SessionStore()), ["a"])
        assert is_accepted(token, request_of())
        assert is_accepted(token, request_of(AnonymousUser(), saved_session()))

    def test_sessions_in_cookies_do_not_bind(self):
        """Their key is their content: it would change with each visit."""
        session = CookieStore()
        session["cart"] = 1
        session.save()
        token = make_token(request_of(session=CookieStore(session.session_key)), ["a"])
        session["cart"] = 2
        session.save()
        assert is_accepted(token, request_of(session=CookieStore(session.session_key)))

    def test_it_shows_neither_hash_nor_session(self, ada):
        """Who reads a token's text gets only groups, which the page may name anyway."""
        session = saved_session()
        for request in (request_of(ada), request_of(session=session)):
            payload = str(signing.loads(make_token(request, ["a"]), salt="django_sse.tokens"))
            assert ada.get_session_auth_hash() not in payload
            assert str(session.session_key) not in payload


def _cannot_wait() -> Any:
    raise SynchronousOnlyOperation


async def test_on_an_event_loop_a_user_that_auser_has_loaded_is_taken() -> None:
    """There request.user would have to wait for the database."""
    request = request_of(SimpleLazyObject(_cannot_wait))
    with pytest.raises(SynchronousOnlyOperation):
        bindings_of(request)
    request._acached_user = User(pk=3, password="x")
    assert bindings_of(request) == bindings_of(request_of(User(pk=3, password="x")))
    request._acached_user = AnonymousUser()
    assert bindings_of(request) == [""]
