"""Streams of groups by token or by name, and the renewal of tokens."""

import asyncio
import re
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import ImproperlyConfigured, ObjectDoesNotExist, PermissionDenied
from django.http import Http404, HttpRequest
from django.test import RequestFactory
from django.urls import include, path

from django_sse import apublish
from django_sse.group_streams import GroupStreamView, sign_url
from django_sse.metrics import metrics
from django_sse.testing import ReceivedStream
from django_sse.tokens import make_token
from tests.clients import TIMEOUT
from tests.test_docs import DOCS, blocks_of

PAGE = DOCS / "reference" / "urls-and-tokens.md"
ALL_ALIKE = ("date", "server")


class Urls:
    """A URLconf with the package's own."""

    urlpatterns = [path("sse/", include("django_sse.urls"))]


@pytest.fixture(autouse=True)
def _urls(settings: Any) -> None:
    settings.ROOT_URLCONF = Urls


@pytest.fixture
def token_of(sync: Any) -> Callable[..., Any]:
    """Return a coroutine function that makes a token for a user, or for nobody."""

    async def make(*groups: str, user: Any = None) -> str:
        request: Any = RequestFactory().get("/")
        request.user = user or AnonymousUser()
        return str(await sync(make_token, request, groups))

    return make


def stream_url(**query: object) -> str:
    return f"/sse/?{urlencode(query)}"


def renewal_url(**query: object) -> str:
    return f"/sse/token/?{urlencode(query)}"


def allow_news(request: HttpRequest, group: str) -> bool:
    """Be a project's function, as the dotted path of the setting names it."""
    return group.startswith("news")


def answer(exchange: ReceivedStream) -> tuple[int, bytes, list[tuple[str, str]]]:
    """Return all that a client sees of an answer."""
    headers = sorted((k, v) for k, v in exchange.headers.items() if k not in ALL_ALIKE)
    return exchange.status, exchange.body, headers


class TestByToken:
    async def test_it_opens_its_groups(self, asgi, token_of):
        """Those, and no others; heartbeats as events come as on any stream."""
        url = stream_url(token=await token_of("a", "b"), heartbeat="event")
        exchange = await asgi.open(url)
        assert (await exchange.next_event()).event == "heartbeat"
        for group in ("c", "a", "b"):
            await apublish(group, f"for {group}")
        assert [(await exchange.next_event()).data for _ in "ab"] == ["for a", "for b"]

    async def test_it_goes_before_names(self, asgi, token_of, settings):
        """A URL that has both is that of the token."""
        settings.DJANGO_SSE = {"GROUP_ACCESS": allow_news}
        url = stream_url(token=await token_of("a"), groups="news")
        exchange = await asgi.open(url)
        await apublish("news", "no")
        await apublish("a", "yes")
        assert (await exchange.next_event()).data == "yes"
        assert (await asgi.get(stream_url(token="x", groups="news"))).status == 403

    async def test_of_a_user(self, asgi, token_of, transactional_db, sync, log_in):
        """Theirs alone."""
        ada = await sync(User.objects.create_user, "ada")
        token = await token_of("a", user=ada)
        assert (await asgi.get(stream_url(token=token))).status == 403
        await sync(log_in, asgi, ada)
        exchange = await asgi.open(stream_url(token=token))
        assert exchange.status == 200
        assert (await asgi.get(stream_url(token=await token_of("a")))).status == 403

    @pytest.mark.history
    async def test_it_is_resumed_like_any_stream(self, asgi, token_of):
        """The last event id comes in the same query."""
        url = stream_url(token=await token_of("a"))
        exchange = await asgi.open(url)
        await exchange.next_frame()
        id = exchange.last_event_id
        await exchange.disconnected()
        await apublish("a", "missed")
        back = await asgi.open(f"{url}&{urlencode({'last_event_id': id})}")
        assert (await back.next_event()).data == "missed"

    async def test_an_open_stream_outlives_its_token(self, asgi, token_of, settings, monkeypatch):
        """A token is for opening; its age is no reason for a recheck to end the stream."""
        settings.DJANGO_SSE = {"RECHECK_SECONDS": 0.01}
        checks = asyncio.Semaphore(0)
        has_access = GroupStreamView.has_access

        async def counted(self: GroupStreamView) -> bool:
            allowed = await has_access(self)
            checks.release()
            return allowed

        monkeypatch.setattr(GroupStreamView, "has_access", counted)
        exchange = await asgi.open(stream_url(token=await token_of("a")))
        later = time.time() + 3600
        monkeypatch.setattr(time, "time", lambda: later)
        for _ in range(4):
            await asyncio.wait_for(checks.acquire(), TIMEOUT)
        await apublish("a", "still")
        assert (await exchange.next_event()).data == "still"

    @pytest.mark.parametrize("change", ["logout", "password"])
    async def test_a_recheck_ends_it(
        self, asgi, token_of, transactional_db, sync, log_in, settings, change
    ):
        """When the login ends, or its password is changed, within RECHECK_SECONDS."""
        settings.DJANGO_SSE = {"RECHECK_SECONDS": 0.01}
        ada = await sync(User.objects.create_user, "ada", password="old")
        session = await sync(log_in, asgi, ada)
        exchange = await asgi.open(stream_url(token=await token_of("a", user=ada)))
        await exchange.next_frame()
        if change == "logout":
            await session.aflush()
        else:
            ada.set_password("new")
            await sync(ada.save)
        await exchange.ended()

    async def test_a_recheck_knows_a_session_that_is_gone(
        self, asgi, transactional_db, sync, settings
    ):
        """A visitor without a login is bound by it."""
        from django.contrib.sessions.backends.db import SessionStore

        settings.DJANGO_SSE = {"RECHECK_SECONDS": 0.01}
        session = SessionStore()
        session["cart"] = 1
        await session.asave()
        request: Any = RequestFactory().get("/")
        request.session = SessionStore(session.session_key)
        token = await sync(make_token, request, ["a"])
        asgi.cookies["sessionid"] = session.session_key or ""
        exchange = await asgi.open(stream_url(token=token))
        assert exchange.status == 200
        await exchange.next_frame()
        await session.adelete()
        await exchange.ended()

    async def test_head(self, asgi, token_of):
        """Rights are asked first, as for any stream."""
        token = await token_of("a")
        assert (await asgi.get(stream_url(token=token), method="HEAD")).status == 200
        assert (await asgi.get(stream_url(token="x"), method="HEAD")).status == 403
        assert (await asgi.get(stream_url(token=token), method="POST")).status == 405


class TestByName:
    async def test_nothing_is_allowed_by_default(self, asgi):
        """Until the project has said who may read what."""
        assert (await asgi.get(stream_url(groups="news"))).status == 403
        assert metrics.streams_opened == 0

    async def test_what_the_function_allows(self, asgi, settings):
        """All of the groups must be; the setting may be a path."""
        settings.DJANGO_SSE = {"GROUP_ACCESS": "tests.test_group_streams.allow_news"}
        exchange = await asgi.open(stream_url(groups="news.a, news.b"))
        await apublish("news.b", "hello")
        assert (await exchange.next_event()).data == "hello"
        assert (await asgi.get(stream_url(groups="news.a,secret"))).status == 403

    async def test_an_async_function(self, asgi, settings, transactional_db, sync, log_in):
        """It is given the request, with its user, and one group after the other."""
        asked: list[str] = []

        async def may_read(request: HttpRequest, group: str) -> bool:
            asked.append(group)
            user = await request.auser()
            return group == f"user.{user.pk}" or group == "all"

        settings.DJANGO_SSE = {"GROUP_ACCESS": may_read}
        ada = await sync(User.objects.create_user, "ada")
        await sync(log_in, asgi, ada)
        own = f"user.{ada.pk}"
        assert (await asgi.open(stream_url(groups=f"all,{own}"))).status == 200
        assert asked == ["all", own]
        assert (await asgi.get(stream_url(groups="user.0,all"))).status == 403
        assert asked == ["all", own, "user.0"]

    async def test_a_recheck_asks_again(self, asgi, settings, transactional_db, sync, log_in):
        """With the user as they are by then."""

        def may_read(request: HttpRequest, group: str) -> bool:
            return bool(request.user.is_staff)

        settings.DJANGO_SSE = {"GROUP_ACCESS": may_read, "RECHECK_SECONDS": 0.01}
        ada = await sync(User.objects.create_user, "ada", is_staff=True)
        await sync(log_in, asgi, ada)
        exchange = await asgi.open(stream_url(groups="a"))
        await exchange.next_frame()
        await User.objects.aupdate(is_staff=False)
        await exchange.ended()

    @pytest.mark.parametrize("error", [ObjectDoesNotExist, Http404, PermissionDenied])
    async def test_what_is_not_there_is_refused(self, asgi, settings, error):
        """A function may look for what the group is about."""

        def may_read(request: HttpRequest, group: str) -> bool:
            raise error

        settings.DJANGO_SSE = {"GROUP_ACCESS": may_read}
        assert (await asgi.get(stream_url(groups="order.7"))).status == 403

    async def test_a_function_that_fails_is_no_permission(self, asgi, settings):
        """It is an error of the project's, and told as such."""
        settings.DJANGO_SSE = {"GROUP_ACCESS": lambda request, group: 1 / 0}
        assert (await asgi.get(stream_url(groups="a"))).status == 500
        assert metrics.streams_opened == 0


class TestRefusals:
    @pytest.mark.parametrize("with_session", [True, False])
    async def test_all_are_alike(
        self, asgi, token_of, transactional_db, sync, log_in, settings, monkeypatch, with_session
    ):
        """Nobody learns which groups there are, nor what is wrong with a token."""

        def may_read(request: HttpRequest, group: str) -> bool:
            if group == "order.missing":
                raise Http404
            return request.user.is_superuser

        settings.DJANGO_SSE = {"GROUP_ACCESS": may_read, "MAX_GROUPS": 3}
        if with_session:
            await sync(log_in, asgi, await sync(User.objects.create_user, "ada"))
        other = await sync(User.objects.create_user, "bob")
        foreign = await token_of("order.1", user=other)
        expired = await token_of("order.1")
        later = time.time() + 301
        monkeypatch.setattr(time, "time", lambda: later)
        queries: list[dict[str, object]] = [
            {"groups": "order.1"},
            {"groups": "order.missing"},
            {"groups": ""},
            {"groups": "a,,b"},
            {"groups": "a,b,c,d"},
            {"token": foreign},
            {"token": expired},
            {"token": foreign[:-1]},
            {"token": ""},
            {},
        ]
        answers = [answer(await asgi.get(stream_url(**query))) for query in queries]
        assert answers[0][0] == 403
        assert ("vary", "Cookie") in answers[0][2]
        assert [one for one in answers if one != answers[0]] == []

    async def test_another_site(self, asgi, token_of):
        """A page of it may not read, whatever token it got hold of."""
        headers = {"sec-fetch-site": "cross-site", "origin": "https://evil.example"}
        token = await token_of("a")
        assert (await asgi.get(stream_url(token=token), headers=headers)).status == 403
        assert (await asgi.get(renewal_url(token=token), headers=headers)).status == 403


async def test_the_documented_function_answers_nobody(
    asgi: Any, settings: Any, transactional_db: None
) -> None:
    """A visitor without a login is refused, by no error, and reads what is for all."""
    [example] = [b for b in blocks_of(PAGE) if b.text.startswith("# shop/access.py")]
    module: dict[str, Any] = {}
    exec(example.text, module)
    settings.DJANGO_SSE = {"GROUP_ACCESS": module["may_read"]}
    for group, status in (("order.7", 403), ("other", 403), ("announcements", 200)):
        exchange = await asgi.open(stream_url(groups=group))
        assert exchange.status == status


class TestLoginRequiredMiddleware:
    @pytest.fixture(autouse=True)
    def _middleware(self, settings: Any) -> None:
        settings.MIDDLEWARE = [
            *settings.MIDDLEWARE,
            "django.contrib.auth.middleware.LoginRequiredMiddleware",
        ]

    async def test_it_leaves_both_urls_alone(self, asgi, token_of, transactional_db):
        """A visitor without a login has a page, so its token opens and is renewed."""
        token = await token_of("a")
        assert (await asgi.open(stream_url(token=token))).status == 200
        assert (await asgi.get(renewal_url(token=token))).status == 200

    async def test_they_refuse_by_themselves(self, asgi, transactional_db):
        """With no redirection, that a stream would follow to a page."""
        for url in (stream_url(groups="a"), renewal_url(token="x")):
            assert (await asgi.get(url)).status == 403


class TestRenewal:
    async def test_a_new_token(self, asgi, token_of, settings):
        """The answer has what the element needs, and nothing keeps it."""
        exchange = await asgi.get(renewal_url(token=await token_of("a")))
        assert exchange.status == 200
        assert exchange.headers["cache-control"] == "no-store"
        renewed = exchange.json()
        assert sorted(renewed) == ["renew_after", "renew_url", "url"]
        assert renewed["renew_after"] == 240
        stream = await asgi.open(renewed["url"])
        await apublish("a", "x")
        assert (await stream.next_event()).data == "x"
        assert (await asgi.get(renewed["renew_url"])).status == 200

    async def test_a_token_that_has_slept(self, asgi, token_of, monkeypatch):
        """Too old to open a stream, it is still exchanged; up to a day."""
        token = await token_of("a")
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + 80_000)
        assert (await asgi.get(stream_url(token=token))).status == 403
        renewed = (await asgi.get(renewal_url(token=token))).json()
        assert (await asgi.open(renewed["url"])).status == 200
        monkeypatch.setattr(time, "time", lambda: now + 86_402)
        assert (await asgi.get(renewal_url(token=token))).status == 403
        assert (await asgi.get(renewed["renew_url"])).status == 200

    async def test_only_its_reader_renews_it(self, asgi, token_of, transactional_db, sync, log_in):
        """Not another user, and nobody after the logout."""
        ada = await sync(User.objects.create_user, "ada")
        token = await token_of("a", user=ada)
        refused = answer(await asgi.get(renewal_url(token=token)))
        assert refused[0] == 403
        for other in ("", token[:-1], "x"):
            assert answer(await asgi.get(renewal_url(token=other))) == refused
        assert answer(await asgi.get("/sse/token/")) == refused
        session = await sync(log_in, asgi, ada)
        assert (await asgi.get(renewal_url(token=token))).status == 200
        await session.aflush()
        assert (await asgi.get(renewal_url(token=token))).status == 403

    async def test_a_page_of_an_allowed_origin(self, asgi, token_of, settings):
        """It may read the answer, as it may the stream."""
        settings.DJANGO_SSE = {"ALLOWED_ORIGINS": ["https://app.example"]}
        headers = {"sec-fetch-site": "cross-site", "origin": "https://app.example"}
        token = await token_of("a")
        exchange = await asgi.get(renewal_url(token=token), headers=headers)
        assert exchange.headers["access-control-allow-origin"] == "https://app.example"

    async def test_methods(self, asgi, token_of):
        """It changes nothing, and is only asked."""
        url = renewal_url(token=await token_of("a"))
        assert (await asgi.get(url, method="POST")).status == 405
        assert (await asgi.get(url, method="HEAD")).status == 200


class TestSignUrl:
    def test_what_it_returns(self):
        """URLs as a page writes them."""
        request: Any = RequestFactory().get("/")
        url, renew_url, renew_after = sign_url(request, ["a"])
        assert re.fullmatch(r"/sse/\?token=[\w.:-]+", url)
        assert renew_url == url.replace("/sse/", "/sse/token/")
        assert renew_after == 240

    def test_without_the_urls(self, settings):
        """The error says what to add."""
        settings.ROOT_URLCONF = "tests.urls"
        with pytest.raises(ImproperlyConfigured, match=r"include\('django_sse.urls'\)"):
            sign_url(RequestFactory().get("/"), ["a"])


def test_under_wsgi_a_stream_is_refused(client: Any) -> None:
    """As any stream is there; the renewal is an ordinary view."""
    assert client.get("/sse/?groups=a").status_code == 501
    token = make_token(RequestFactory().get("/"), ["a"])
    assert client.get("/sse/token/", {"token": token}).status_code == 200
