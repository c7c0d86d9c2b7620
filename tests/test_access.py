"""Who may read a stream."""

from typing import Any

import pytest
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpResponse
from django.test import RequestFactory

from django_sse.access import allow_origin, is_refused_origin, refresh_user
from django_sse.testing import StreamClient

ALLOWED = ["https://other.example"]


def request_with(**headers: str) -> Any:
    return RequestFactory().get("/", headers=headers)


class TestIsRefusedOrigin:
    @pytest.mark.parametrize(
        ("headers", "refused"),
        [
            ({}, False),
            ({"sec_fetch_site": "same-origin"}, False),
            ({"sec_fetch_site": "same-site", "origin": "https://sub.example"}, False),
            ({"sec_fetch_site": "none"}, False),
            ({"sec_fetch_site": "cross-site"}, True),
            ({"sec_fetch_site": "cross-site", "origin": "https://evil.example"}, True),
            ({"sec_fetch_site": "cross-site", "origin": "https://other.example"}, False),
            # Without the header it is no browser, or an old one: cookies' SameSite is for those.
            ({"origin": "https://evil.example"}, False),
        ],
    )
    def test_refused(self, headers, refused):
        """Only a page of another site is refused, unless its very origin is allowed."""
        assert is_refused_origin(request_with(**headers), ALLOWED) is refused


class TestAllowOrigin:
    def test_nothing_is_allowed(self):
        """Without allowed origins a response says nothing of them."""
        response = HttpResponse()
        allow_origin(request_with(origin="https://other.example"), response, [])
        assert "Vary" not in response
        assert "Access-Control-Allow-Origin" not in response

    def test_allowed_origin(self):
        """The origin that asks is named, never a star: cookies come with the request."""
        response = HttpResponse(headers={"Vary": "Accept"})
        allow_origin(request_with(origin="https://other.example"), response, ALLOWED)
        assert response["Vary"] == "Accept, Origin"
        assert response["Access-Control-Allow-Origin"] == "https://other.example"
        assert response["Access-Control-Allow-Credentials"] == "true"

    @pytest.mark.parametrize("headers", [{}, {"origin": "https://evil.example"}])
    def test_other_origin(self, headers):
        """Another origin gets no leave, but the response still varies by it."""
        response = HttpResponse()
        allow_origin(request_with(**headers), response, ALLOWED)
        assert response["Vary"] == "Origin"
        assert "Access-Control-Allow-Origin" not in response


class TestRefreshUser:
    @pytest.fixture
    def session(self, log_in) -> SessionStore:
        return log_in(StreamClient(None), User.objects.create_user("ada"))

    @pytest.fixture
    def request_(self, session) -> Any:
        request = RequestFactory().get("/")
        request.COOKIES["sessionid"] = session.session_key
        SessionMiddleware(lambda request: HttpResponse()).process_request(request)
        AuthenticationMiddleware(lambda request: HttpResponse()).process_request(request)
        assert request.user.username == "ada"
        return request

    def test_logged_out(self, request_, session):
        """After a logout elsewhere the request's user is anonymous."""
        session.flush()
        assert request_.user.is_authenticated
        refresh_user(request_)
        assert request_.user == AnonymousUser()

    def test_lost_right(self, request_):
        """Rights and flags are read again."""
        assert request_.user.is_active
        User.objects.update(is_staff=True)
        assert not request_.user.is_staff
        refresh_user(request_)
        assert request_.user.is_staff

    def test_deactivated(self, request_):
        """A user who is not active any more is no user."""
        User.objects.update(is_active=False)
        refresh_user(request_)
        assert not request_.user.is_authenticated

    def test_changed_password(self, request_):
        """A changed password ends the other sessions of the user."""
        user = User.objects.get()
        user.set_password("new")
        user.save()
        refresh_user(request_)
        assert not request_.user.is_authenticated

    async def test_async_user(self, request_, session):
        """request.auser() tells the same."""
        assert (await request_.auser()).is_authenticated
        await session.aflush()
        refresh_user(request_)
        assert not (await request_.auser()).is_authenticated

    def test_without_authentication(self):
        """A project without sessions or users has nothing to be read anew."""
        request = RequestFactory().get("/")
        refresh_user(request)
        assert not hasattr(request, "user")
        request.session = SessionStore()
        refresh_user(request)
        assert not hasattr(request, "user")
