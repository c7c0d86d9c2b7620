"""The last event id as of a page's rendering, and what it is for: nothing falls in between."""

import logging
import threading
from typing import Any

import pytest
from django.core.exceptions import SynchronousOnlyOperation
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.urls import include, path

from django_sse import EventStream, apublish, event_stream, stores
from django_sse.exceptions import InvalidGroup
from django_sse.last_event_ids import aget_last_event_id, get_last_event_id
from django_sse.metrics import metrics
from django_sse.stores import get_store
from django_sse.stores.base import BaseStore
from django_sse.stores.memory import MemoryStore
from django_sse.stores.redis import RedisStore
from django_sse.testing import StreamClient
from tests.stores.conftest import store_options


@pytest.fixture(
    params=["memory", pytest.param("redis", marks=pytest.mark.redis), "database-sqlite"]
)
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> BaseStore:
    """Be the project's store, of each kind in turn."""
    made: BaseStore
    if request.param == "memory":
        made = MemoryStore()
    elif request.param == "redis":
        made = RedisStore(**store_options("redis", request))
    else:
        from tests.stores.databases import make_store

        made = make_store(request.param, request)
    monkeypatch.setattr(stores, "_make", lambda: made)
    return made


@event_stream(groups=["orders", "news"])
async def listen(request: HttpRequest, stream: EventStream) -> None:
    """Be fed by both groups."""


def template(source: str) -> Any:
    return engines["django"].from_string("{% load django_sse %}" + source)


BY_URL = "{% event_source_url 'listen' %}"
BY_GROUPS = "{% event_source_url groups='news,orders' %}"


def page(request: HttpRequest) -> HttpResponse:
    """Render what the query names: a page without a view of its own worth the name."""
    source = {"url": BY_URL, "groups": BY_GROUPS}[request.GET["by"]]
    return HttpResponse(
        template("{% autoescape off %}" + source + "{% endautoescape %}").render({}, request)
    )


class Urls:
    urlpatterns = [
        path("listen/", listen, name="listen"),
        path("page/", page),
        path("sse/", include("django_sse.urls")),
    ]


@pytest.fixture
def site(asgi: StreamClient, settings: Any) -> StreamClient:
    settings.ROOT_URLCONF = Urls
    return asgi


@pytest.mark.parametrize("by", ["url", "groups"])
class TestBetweenRenderingAndConnecting:
    async def test_an_event_between_the_two_arrives(self, site, store, by):
        """What was published before is in the page, and does not come again; the rest does."""
        await apublish("orders", "before")
        await apublish("news", "before, too")
        url = (await site.get(f"/page/?by={by}")).body.decode()
        await apublish("news", "between")
        await apublish("orders", "between, too")
        exchange = await site.open(url)
        assert {(await exchange.next_event()).data for _ in "12"} == {"between", "between, too"}
        await apublish("orders", "live")
        assert (await exchange.next_event()).data == "live"

    async def test_without_the_id_it_does_not(self, site, store, by):
        """That is what the id is for."""
        url = (await site.get(f"/page/?by={by}")).body.decode()
        bare = url.partition("last_event_id=")[0]
        assert bare != url
        await apublish("news", "between")
        exchange = await site.open(bare)
        await apublish("news", "live")
        assert (await exchange.next_event()).data == "live"

    async def test_the_id_is_that_of_the_stream(self, site, store, by):
        """As text: the element compares them."""
        for group in ("orders", "news", "news"):
            await apublish(group, "x")
        url = (await site.get(f"/page/?by={by}")).body.decode()
        bare, _, id = url.partition("last_event_id=")
        exchange = await site.open(bare)
        assert f"id: {id}\n".encode() in await exchange.next_frame()
        assert f"id: {id}\n".encode() in await (await site.open(url)).next_frame()


class TestGet:
    async def test_both_forms_tell_the_same(self, store, sync):
        """Whatever the order of the names, and however often one is given."""
        await apublish("a", 1)
        id = await aget_last_event_id("a", "b")
        assert id is not None
        assert await sync(get_last_event_id, "a", "b") == id
        assert await sync(get_last_event_id, "b", "a", "b") == id
        await apublish("b", 1)
        assert await aget_last_event_id("a", "b") != id

    async def test_on_an_event_loop_there_is_an_error(self, store):
        """For every store, so that a page which works with one works with another."""
        with pytest.raises(SynchronousOnlyOperation, match="await aget_last_event_id"):
            get_last_event_id("a")

    async def test_noted_early_nothing_of_the_data_is_missed(self, site, store, sync):
        """A view notes the id before it reads what it shows; what comes meanwhile is sent."""
        noted = await aget_last_event_id("orders", "news")
        await apublish("orders", "while the data was read")
        source = "{% autoescape off %}{% event_source_url 'listen' last_event_id=noted %}"
        url = await sync(template(source + "{% endautoescape %}").render, {"noted": noted})
        exchange = await site.open(url)
        assert (await exchange.next_event()).data == "while the data was read"


class TestWithoutAnId:
    async def test_without_a_store(self, sync):
        """There is none, and no error, on a loop or off it."""
        assert get_store() is None
        assert await aget_last_event_id("a") is None
        assert get_last_event_id("a") is None
        assert await sync(get_last_event_id, "a") is None

    @pytest.mark.history
    async def test_without_a_group(self, sync):
        """Nothing is asked."""
        assert await aget_last_event_id() is None
        assert get_last_event_id() is None

    @pytest.mark.parametrize("with_store", [True, False])
    async def test_bad_names(self, with_store, monkeypatch):
        """A mistake is told, with a store or without."""
        if with_store:
            monkeypatch.setattr(stores, "_make", MemoryStore)
        with pytest.raises(InvalidGroup):
            await aget_last_event_id("")
        with pytest.raises(InvalidGroup):
            get_last_event_id(7)  # type: ignore[arg-type]

    @pytest.mark.parametrize("source", [BY_URL, BY_GROUPS, "{% event_source 'listen' %}"])
    async def test_a_store_that_is_away_does_not_break_the_page(
        self, source, monkeypatch, settings, caplog, sync, rf
    ):
        """It is logged and counted, and the page has no id."""

        class Away(MemoryStore):
            def positions(self, groups: Any, back: Any = 0) -> Any:
                raise OperationalError("gone")

        settings.ROOT_URLCONF = Urls
        monkeypatch.setattr(stores, "_make", Away)
        html = await sync(template(source).render, {}, rf.get("/"))
        assert "last" not in html
        assert ("/listen/" in html) or ("/sse/" in html)
        [record] = [one for one in caplog.records if one.levelno == logging.WARNING]
        assert "OperationalError: gone" in record.getMessage()
        assert await aget_last_event_id("a") is None
        assert metrics.store_errors == 2

    async def test_a_store_that_does_not_answer(self, monkeypatch, settings, caplog):
        """The async form waits for CHANNEL_LAYER_TIMEOUT_SECONDS."""
        answer = threading.Event()

        class Silent(BaseStore):
            def positions(self, groups: Any, back: Any = 0) -> Any:
                answer.wait(60)

        settings.DJANGO_SSE = {"CHANNEL_LAYER_TIMEOUT_SECONDS": 0.01}
        monkeypatch.setattr(stores, "_make", Silent)
        try:
            assert await aget_last_event_id("a") is None
        finally:
            answer.set()
        assert "TimeoutError" in caplog.text
