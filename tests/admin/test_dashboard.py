"""The dashboard: its page, its stream, and who may see them."""

import asyncio
import datetime
import json
import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from django_sse import abroadcast
from django_sse.groups import WATCHERS, layer_group
from django_sse.hub import get_hub
from django_sse.layers import get_layer
from django_sse.models import Sample, Worker
from django_sse.reasons import CloseReason
from django_sse.reports import Report
from django_sse.testing import ReceivedEvent, ReceivedStream, StreamClient
from django_sse.visitors import Visitor
from tests.admin.conftest import PAGE, STREAM, Staff
from tests.registry.conftest import open_many
from tests.servers.waiting import eventually

pytestmark = pytest.mark.registry


def figure(html: str, name: str) -> str:
    """Return the text of one of the totals."""
    found = re.search(rf'data-figure="{name}">(.*?)</dd>', html, re.DOTALL)
    assert found is not None, html
    return re.sub(r"<[^>]+>", "", found[1])


def rows(html: str) -> list[list[str]]:
    """Return the texts of the cells of all tables."""
    found = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in html.split("<tr")]
    return [[" ".join(re.sub(r"<[^>]+>", "", cell).split()) for cell in row] for row in found]


async def page(browser: StreamClient, path: str = PAGE) -> str:
    answer = await browser.get(path)
    assert answer.status == 200
    return answer.body.decode()


async def next_named(stream: ReceivedStream, name: str, within: int = 40) -> ReceivedEvent:
    for _ in range(within):
        event = await stream.next_event()
        if event.event == name:
            return event
    raise AssertionError(f"There is no event {name!r}.")


async def holds(call: Any, wanted: object) -> bool:
    return bool(await call() == wanted)


class TestPage:
    async def test_shows_what_the_registry_has(
        self, operator: User, browser: StreamClient, sync: Any
    ) -> None:
        """Without JavaScript, it is all there: as of the last renewal."""
        await open_many(2, "a room/é")
        [third] = await open_many(1, "a room/é", visitor=Visitor(user_id=str(operator.pk)))
        third.end(CloseReason.SLOW)

        async def shows() -> bool:
            html = await page(browser)
            return figure(html, "streams") == "2" and "too slow" in html

        await eventually(shows)
        await eventually(lambda: sync(Sample.objects.exists))
        html = await page(browser)
        assert figure(html, "workers") == "1"
        worker = await sync(Worker.objects.get)
        table = rows(html)
        assert next(row for row in table if row[:1] == [str(worker)])[:2] == [str(worker), "OK"]
        assert ["a room/é", "2", "0"] in table
        for query in ("group=a%20room%2F%C3%A9", f"worker={worker.pk}"):
            assert f'href="/admin/django_sse/connection/?{query}"' in html
            assert "2 connections" in await page(browser, f"/admin/django_sse/connection/?{query}")
        [closed] = [row for row in table if "too slow" in row]
        assert closed[3:5] == ["ada", "a room/é"]
        history = re.search(r'id="sse-history-data"[^>]*>(.*?)</script>', html)
        assert history is not None
        assert len(json.loads(history[1])["series"]["streams"]) == 360

    async def test_user_of_another_source_is_shown_by_the_key(
        self, operator: User, browser: StreamClient
    ) -> None:
        """A project may have users who are in no table."""
        for user_id in ("ldap:7", str(operator.pk + 1000)):
            [stream] = await open_many(1, "room", visitor=Visitor(user_id=user_id))
            stream.end(CloseReason.CLIENT)
        await open_many(1, "room")

        async def users() -> set[str]:
            return {row[3] for row in rows(await page(browser)) if "client left" in row}

        wanted = {"ldap:7", str(operator.pk + 1000)}
        await eventually(lambda: holds(users, wanted))

    async def test_has_nothing_inline(self, operator: User, browser: StreamClient) -> None:
        """A policy of script-src 'self' and style-src 'self' lets all of it pass."""
        html = await page(browser)
        content = html[html.index('id="content-main"') :]
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=", html)
        scripts = re.findall(r"<script([^>]*)>", content)
        assert scripts == [' id="sse-history-data" type="application/json"']

    async def test_says_that_nobody_is_there(self, operator: User, browser: StreamClient) -> None:
        """An empty page tells what to do."""
        html = await page(browser)
        assert figure(html, "streams") == "0"
        assert "Serve the project by ASGI" in html

    async def test_says_that_the_registry_is_off(
        self, operator: User, browser: StreamClient, settings: Any
    ) -> None:
        """And how to turn it on; then there is no stream either."""
        settings.DJANGO_SSE = {"REGISTRY": False}
        html = await page(browser)
        assert "The registry is turned off" in html
        assert "manage.py migrate django_sse" in html
        assert "event-source" not in html
        assert (await browser.get(STREAM)).status == 403

    async def test_makes_few_statements(
        self, operator: User, browser: StreamClient, sync: Any, django_assert_max_num_queries: Any
    ) -> None:
        """One for the workers, one for the hour, one for names; however many streams are open."""
        await open_many(300, "room")
        for stream in await open_many(20, "room", visitor=Visitor(user_id=str(operator.pk))):
            stream.end(CloseReason.CLIENT)
        await eventually(lambda: sync(Sample.objects.exists))
        client = Client()
        await sync(client.force_login, operator)

        def get() -> str:
            with django_assert_max_num_queries(8):  # Session, user, two of permissions: others'.
                return client.get(PAGE).content.decode()

        assert figure(await sync(get), "streams") == "300"


class TestPermissions:
    async def test_app_list_has_a_link(self, operator: User, browser: StreamClient) -> None:
        """Of who may view connections; there is nothing to add."""
        html = await page(browser, "/admin/django_sse/")
        assert f'href="{PAGE}"' in html
        assert "dashboard/add" not in html

    async def test_others_do_not_see_it(
        self, admin_site: Any, log_in_staff: Staff, browser: StreamClient
    ) -> None:
        """Neither in the list, nor the page, nor the stream, which redirects nobody."""
        await log_in_staff("view_worker")
        assert (await browser.get("/admin/django_sse/dashboard/")).status == 403
        assert PAGE not in (await browser.get("/admin/django_sse/")).body.decode()
        assert (await browser.get(STREAM)).status == 403

    @pytest.mark.parametrize("who", ["nobody", "no staff"])
    async def test_stream_is_for_the_staff(
        self, admin_site: Any, browser: StreamClient, sync: Any, log_in: Any, who: str
    ) -> None:
        """Who is not logged in is sent to no form by a stream."""
        if who == "no staff":
            user = await sync(User.objects.create_user, "ben", is_superuser=True)
            await sync(log_in, browser, user)
        assert (await browser.get(STREAM)).status == 403
        returning = await browser.get(STREAM, headers={"last-event-id": "dashboard"})
        assert (returning.status, returning.body) == (204, b"")
        assert (await browser.get(f"{STREAM}?last_event_id=dashboard")).status == 204

    @pytest.mark.parametrize("loss", ["permission", "staff"])
    async def test_stream_ends_with_the_permission(
        self,
        operator: User,
        browser: StreamClient,
        sync: Any,
        loss: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Within seconds, and it does not come back."""
        stream = await browser.open(STREAM)
        await next_named(stream, "figures")
        if loss == "permission":
            await sync(operator.user_permissions.clear)
        else:
            await sync(User.objects.filter(pk=operator.pk).update, is_staff=False)
        await stream.ended()
        assert (await stream.reconnect()).status == 204

    async def test_broadcasts_do_not_reach_the_page(
        self, operator: User, browser: StreamClient
    ) -> None:
        """It takes events for its own HTML: one with their names must not come from elsewhere."""
        stream = await browser.open(STREAM)
        await next_named(stream, "figures")
        await abroadcast("<img src=x onerror=alert(1)>", event="totals")
        for _ in range(3):
            assert "onerror" not in (await stream.next_event()).data

    async def test_nobody_is_sent_to_the_login_page(
        self, admin_site: Any, browser: StreamClient, settings: Any
    ) -> None:
        """Not even by Django's own middleware, which sends everybody there."""
        settings.MIDDLEWARE = [
            *settings.MIDDLEWARE,
            "django.contrib.auth.middleware.LoginRequiredMiddleware",
        ]
        assert (await browser.get(STREAM)).status == 403
        returning = await browser.get(STREAM, headers={"last-event-id": "dashboard"})
        assert returning.status == 204

    async def test_stream_ends_with_the_session(
        self, operator: User, browser: StreamClient, sync: Any
    ) -> None:
        """As every stream of a user who logs out."""
        stream = await browser.open(STREAM)
        await next_named(stream, "figures")
        client = Client()
        client.cookies["sessionid"] = browser.cookies["sessionid"].value
        await sync(client.logout)
        await stream.ended()
        assert (await stream.reconnect()).status == 204


class TestStream:
    async def test_tells_the_figures_and_what_the_page_shows(
        self, operator: User, browser: StreamClient
    ) -> None:
        """Each part of the page as its template has it, and the numbers for the charts."""
        await open_many(2, "room")
        stream = await browser.open(STREAM)
        names: set[str] = set()
        while names < {"history", "totals", "workers", "groups", "closes", "hour", "figures"}:
            names.add((await stream.next_event()).event)
        figures: dict[str, Any] = {}
        while figures.get("streams") != 3:  # This one is open, too.
            figures = (await next_named(stream, "figures")).json()
        assert figures["workers"] == 1
        assert abs(figures["at"] - asyncio.get_running_loop().time()) > 1e6  # Unix time.
        [other] = await open_many(1, "room")
        while figure((await next_named(stream, "totals")).data, "streams") != "4":
            pass
        other.end(CloseReason.SEND_TIMEOUT)
        while "send timeout" not in (await next_named(stream, "closes")).data:
            pass

    async def test_adds_up_the_workers_of_all_machines(
        self, operator: User, browser: StreamClient
    ) -> None:
        """One that has no row yet is shown; one that is gone is not."""
        stream = await browser.open(STREAM)
        await next_named(stream, "figures")
        other = Report(worker="elsewhere", counters={"streams_open": 40}, rates={"drops": 2.5})
        message = {"type": "sse.report", "report": other.to_dict()}
        await get_layer().group_send(layer_group(WATCHERS), message)
        figures: dict[str, Any] = {}
        while figures.get("workers") != 2:
            figures = (await next_named(stream, "figures")).json()
        assert (figures["streams"], figures["drops"]) == (41, 2.5)
        while figures["workers"] != 1:
            figures = (await next_named(stream, "figures")).json()

    async def test_flags_a_worker_that_does_not_answer(
        self, operator: User, browser: StreamClient, sync: Any
    ) -> None:
        """Its lease runs, but it is silent: it hangs, or the channel layer does not reach it."""
        await open_many(1, "room")
        await eventually(lambda: sync(Worker.objects.exists))
        own = await sync(Worker.objects.get)
        lease_until = own.lease_until + datetime.timedelta(hours=1)
        hung = Worker(id="hung", hostname="h", pid=1, started_at=own.started_at)
        hung.lease_until = lease_until
        await sync(hung.save)
        stream = await browser.open(STREAM)
        while "No answer" not in (html := (await next_named(stream, "workers")).data):
            pass
        states = {row[0]: row[1] for row in rows(html) if len(row) > 2}
        assert (states["h:1"], states[str(own)]) == ("No answer", "OK")

    async def test_sends_only_what_has_changed(
        self, operator: User, browser: StreamClient
    ) -> None:
        """An idle dashboard costs a line a tick: tables that are as they were are not sent."""
        stream = await browser.open(STREAM)
        counts: dict[str, int] = {}
        while counts.get("figures", 0) < 8:
            name = (await stream.next_event()).event
            counts[name] = counts.get(name, 0) + 1
        assert counts["closes"] == 1
        assert counts["history"] == 1

    async def test_is_watched_only_while_it_is_open(
        self, operator: User, browser: StreamClient
    ) -> None:
        """When the page is closed, nobody is asked any more."""
        stream = await browser.open(STREAM)
        await next_named(stream, "figures")
        observer: Any = get_hub().observer
        assert observer.pulses._watchers == 1
        stream.disconnect()
        await eventually(lambda: observer.pulses._watchers == 0)
        assert observer.pulses._asking is None

    async def test_is_in_the_language_of_the_page(
        self, operator: User, browser: StreamClient, settings: Any
    ) -> None:
        """Numbers are written as the page writes them."""
        settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.middleware.locale.LocaleMiddleware"]
        await open_many(1200, "room")
        stream = await browser.open(STREAM, headers={"accept-language": "de"})
        while figure((await next_named(stream, "totals")).data, "streams") != "1.201":
            pass


async def test_site_of_another_name(
    admin_urls: Any, browser: StreamClient, log_in_staff: Staff
) -> None:
    """Every link and the stream are those of the site that shows the page."""
    from django.contrib import admin

    from django_sse.admin.dashboard import DashboardAdmin
    from django_sse.models import Dashboard

    class Operations(admin.AdminSite):
        site_header = "Operations"

        def has_permission(self, request: Any) -> bool:
            return request.user.username == "ada"

    site = Operations(name="operations")
    site.register(Dashboard, DashboardAdmin)
    admin_urls(site)
    await log_in_staff("view_connection")
    html = await page(browser)
    assert "Operations" in html
    assert f'src="{STREAM}"' in html
    await next_named(await browser.open(STREAM), "figures")
    browser.cookies.clear()
    await log_in_staff("view_connection", name="ben")
    assert (await browser.get(STREAM)).status == 403
