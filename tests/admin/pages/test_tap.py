"""The stream of a connection's page: counters, tapped events, and what ends it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.contrib.sessions.models import Session

from django_sse import EventStream, abroadcast, apublish
from django_sse.admin import live
from django_sse.hub import get_hub
from django_sse.models import Connection, Membership
from django_sse.taps import Tap
from django_sse.testing import ReceivedStream, StreamClient, areset
from tests.admin.pages.conftest import make_connection, make_operator, make_worker
from tests.clients import TIMEOUT, until
from tests.registry.conftest import open_many

pytestmark = pytest.mark.django_db(transaction=True)

NOBODYS = 204


@pytest.fixture(autouse=True)
def _quick(monkeypatch: Any) -> None:
    monkeypatch.setattr(live, "_LOOK_SECONDS", 0.05)
    monkeypatch.setattr(live, "_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr("django_sse.watching._REPORT_SECONDS", 0.02)


class Watched:
    """A stream in groups, with its row, and somebody who looks at its page."""

    def __init__(self, stream: EventStream, client: StreamClient, user: User, sync: Any) -> None:
        self.stream, self.client, self.user, self.sync = stream, client, user, sync

    def url(self, *, tap: bool = True) -> str:
        query = "?tap=1" if tap else ""
        return f"/admin/django_sse/connection/{self.stream.id}/live/{query}"

    async def look(self, *, tap: bool = True) -> ReceivedStream:
        """Open the page's stream, and wait until its worker has been asked to report."""
        page = await self.client.open(self.url(tap=tap))
        await until(lambda: self.stream in get_hub().watching._until)
        return page

    async def answers_for_good(self, *, tap: bool = True) -> None:
        """See that a client which comes back is told to stop."""
        again = await self.client.get(self.url(tap=tap))
        assert again.status == NOBODYS
        assert again.body == b""


WatchedBy = Callable[..., Awaitable[Watched]]


@pytest.fixture
async def watched_by(asgi: StreamClient, sync: Any) -> AsyncIterator[WatchedBy]:
    """Return a function that opens a stream, and logs an operator with these permissions in."""

    async def make(*codenames: str, groups: tuple[str, ...] = ("room.1",)) -> Watched:
        [stream] = await open_many(1, *groups)

        def write() -> User:
            make_connection(make_worker(), *groups, id=stream.id)
            user = make_operator(*codenames)
            asgi.force_login(user)
            return user

        return Watched(stream, asgi, await sync(write), sync)

    yield make
    await areset()


@pytest.fixture
async def watched(watched_by: WatchedBy) -> Watched:
    """A stream that is watched by somebody who may tap."""
    return await watched_by("view_connection", "tap_events")


async def event_of(page: ReceivedStream, name: str, *texts: str) -> str:
    """Return the next event of this name that has all *texts* in it."""
    async with asyncio.timeout(TIMEOUT):
        while True:
            event = await page.next_event()
            if event.event == name and all(text in event.data for text in texts):
                return event.data


async def test_counters_are_live(watched: Watched) -> None:
    """What goes to the watched stream is seen, sooner than any row is written."""
    page = await watched.look(tap=False)
    await event_of(page, "counters", "<dd>0</dd>")
    await watched.stream.send("x")
    await event_of(page, "counters", "<dd>1</dd>", "up to date")
    assert await Connection.objects.filter(pk=watched.stream.id, events_sent=0).aexists()


async def test_stream_that_ends_is_gone(watched: Watched) -> None:
    """The page is told why, and its client stays away once the row has gone, too."""
    page = await watched.look(tap=False)
    await event_of(page, "counters")
    await watched.stream.close()
    assert "closed by the view" in await event_of(page, "gone")
    await page.ended()
    await watched.sync(Membership.objects.all().delete)
    await watched.sync(Connection.objects.all().delete)
    await watched.answers_for_good()


async def test_stream_of_a_killed_worker_is_gone(watched: Watched) -> None:
    """Nobody reports its end: its row is there no more."""
    page = await watched.look(tap=False)
    await event_of(page, "counters")
    await watched.sync(Membership.objects.all().delete)
    await watched.sync(Connection.objects.all().delete)
    await event_of(page, "gone", "This stream has ended.")
    await page.ended()


async def test_counters_of_a_worker_that_is_not_reached(
    watched: Watched, monkeypatch: Any
) -> None:
    """They are those of the registry."""

    async def tell_nobody(command: Any) -> None: ...

    monkeypatch.setattr(live, "tell_workers", tell_nobody)
    page = await watched.client.open(watched.url(tap=False))
    await event_of(page, "counters", "<dd>0</dd>")
    rows = Connection.objects.filter(pk=watched.stream.id)
    await rows.aupdate(events_sent=41)
    await event_of(page, "counters", "<dd>41</dd>")


async def test_tap_shows_events_as_text(watched: Watched) -> None:
    """Whatever is in them, they are not HTML; with the group, the name and the size."""
    page = await watched.look()
    await event_of(page, "counters")
    await apublish("room.1", "<img src=x onerror=alert(1)>", event="<b>")
    html = await event_of(page, "tapped")
    assert "&lt;img src=x onerror=alert(1)&gt;" in html
    assert "&lt;b&gt;" in html
    assert "<img" not in html
    assert "room.1" in html
    assert "28\xa0bytes" in html
    await apublish("room.1", {"x": ["é"]})
    assert "{&quot;x&quot;:[&quot;é&quot;]}" in await event_of(page, "tapped", "message")


async def test_tap_shortens_long_events(watched: Watched) -> None:
    """A page is no place for a quarter of a MiB."""
    page = await watched.look()
    await event_of(page, "counters")
    await apublish("room.1", "x" * 10_000)
    html = await event_of(page, "tapped")
    assert html.count("x" * 599 + "…") == 1
    assert len(html) < 2_000


async def test_tap_of_a_flood(watched: Watched, monkeypatch: Any) -> None:
    """Some are shown, and how many are not."""
    monkeypatch.setattr(live, "_SHOWN_AT_ONCE", 3)
    monkeypatch.setattr(live, "_LOOK_SECONDS", TIMEOUT)
    taps: list[Tap] = []
    has_come = asyncio.Event()

    class Late(Tap):
        """One that says nothing until the whole flood is there."""

        async def wait(self) -> None:
            taps.append(self)
            await has_come.wait()
            await super().wait()

    monkeypatch.setattr(live, "Tap", Late)
    page = await watched.look()
    await event_of(page, "counters")
    for number in range(10):
        await apublish("room.1", f"event {number}")
    await until(lambda: taps and "event 9" in [d.event.data for d in taps[0]._waiting])
    has_come.set()
    html = await event_of(page, "tapped")
    assert [html.count(f"event {number}") for number in range(10)] == [0] * 7 + [1] * 3
    assert "7 more events went by too fast" in html


async def test_tap_follows_the_stream_from_group_to_group(watched: Watched) -> None:
    """What it joins is shown from then on; what it has left is not."""
    page = await watched.look()
    await event_of(page, "counters")
    await watched.stream.subscribe("room.2")
    await watched.stream.unsubscribe("room.1")
    hub = get_hub()
    taps = [a for a in hub.audiences.of("room.2") for m in a.members if m is not watched.stream]
    while not taps:
        await event_of(page, "counters")
        taps = [
            a for a in hub.audiences.of("room.2") for m in a.members if m is not watched.stream
        ]
    await apublish("room.1", "left")
    await apublish("room.2", "joined")
    assert "left" not in await event_of(page, "tapped", "joined")


async def test_page_without_a_tap_is_sent_no_events(watched_by: WatchedBy) -> None:
    """Counters need no more than the permission to view."""
    watched = await watched_by("view_connection")
    page = await watched.look(tap=False)
    await event_of(page, "counters")
    await apublish("room.1", "secret")
    await watched.stream.send("x")
    while True:
        event = await page.next_event()
        assert event.event == "counters"
        if "<dd>2</dd>" in event.data:
            break


async def test_broadcasts_do_not_reach_the_page(watched: Watched) -> None:
    """It takes events for its own HTML: one with their names must not come from elsewhere."""
    page = await watched.look()
    await event_of(page, "counters")
    await abroadcast("<img src=x onerror=alert(1)>", event="gone")
    await apublish("room.1", "after")
    names = []
    while "tapped" not in names:
        event = await page.next_event()
        assert "onerror" not in event.data
        names.append(event.event)
    assert "gone" not in names


async def test_tap_is_not_present_in_the_groups(watched: Watched) -> None:
    """The registry has the operator's stream in no group."""
    page = await watched.look()
    await event_of(page, "counters")
    own = [stream for stream in get_hub().streams if stream is not watched.stream]
    assert [stream.watched for stream in own] == [frozenset()]


async def test_tap_is_logged_once(watched: Watched) -> None:
    """Whoever reads the events of others is known; a page that reconnects is the same tap."""
    for _ in range(2):
        page = await watched.look()
        await event_of(page, "counters")
        await page.disconnected()
    await (await watched.look(tap=False)).next_event()
    entries = [(e.user_id, e.object_id, e.change_message) async for e in LogEntry.objects.all()]
    assert entries == [(watched.user.pk, watched.stream.id, "Read the events of its groups.")]


# What ends it.


def take_permission(user: User, codename: str) -> None:
    user.user_permissions.remove(Permission.objects.get(codename=codename))


def lose_tap(user: User) -> None:
    take_permission(user, "tap_events")


def lose_view(user: User) -> None:
    take_permission(user, "view_connection")


def leave_staff(user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_staff=False)


def be_deactivated(user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


def be_deleted(user: User) -> None:
    User.objects.filter(pk=user.pk).delete()


def log_out(user: User) -> None:
    Session.objects.all().delete()


def change_password(user: User) -> None:
    user.set_password("another")
    User.objects.filter(pk=user.pk).update(password=user.password)


LOSSES = [lose_tap, lose_view, leave_staff, be_deactivated, be_deleted, log_out, change_password]


@pytest.mark.parametrize("lose", LOSSES)
async def test_tap_stops_when_the_right_goes(lose: Any, watched: Watched) -> None:
    """Nothing that is published after that is shown, and the client is told to stay away."""
    page = await watched.look()
    await event_of(page, "counters")
    await watched.sync(lose, watched.user)
    if lose is not be_deleted:  # Of that a signal tells, which ends all of a user's streams.
        assert "You may not watch this any more." in await event_of(page, "gone")
    await page.ended()
    await apublish("room.1", "secret")
    assert b"secret" not in page.body
    await watched.answers_for_good()


@pytest.mark.parametrize("lose", [loss for loss in LOSSES if loss is not lose_tap])
async def test_counters_stop_when_the_right_goes(lose: Any, watched: Watched) -> None:
    """The permission to tap is not needed for them; all else is."""
    page = await watched.look(tap=False)
    await event_of(page, "counters")
    await watched.sync(lose, watched.user)
    await page.ended()
    await watched.answers_for_good(tap=False)


async def test_counters_go_on_without_the_right_to_tap(watched: Watched) -> None:
    """It is another permission."""
    page = await watched.look(tap=False)
    await event_of(page, "counters")
    await watched.sync(lose_tap, watched.user)
    await watched.stream.send("x")
    await event_of(page, "counters", "<dd>1</dd>")


@pytest.mark.parametrize("codenames", [(), ("view_connection",), ("tap_events",)])
async def test_tap_is_refused(codenames: Any, watched_by: WatchedBy) -> None:
    """To who has not both permissions: with 204, which no client answers by coming back."""
    watched = await watched_by(*codenames)
    await watched.answers_for_good()
    assert not await LogEntry.objects.aexists()


async def test_nobody_is_sent_to_the_login_page(watched: Watched, settings: Any) -> None:
    """Not even by Django's own middleware, which sends everybody there."""
    settings.MIDDLEWARE = [
        *settings.MIDDLEWARE,
        "django.contrib.auth.middleware.LoginRequiredMiddleware",
    ]
    watched.client.cookies.clear()
    await watched.answers_for_good()


async def test_stream_that_is_not_there(watched: Watched) -> None:
    """As for one that has ended."""
    answer = await watched.client.get("/admin/django_sse/connection/none/live/")
    assert answer.status == NOBODYS


async def test_language_of_the_page(watched: Watched, settings: Any) -> None:
    """What comes later is in the operator's language."""
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.middleware.locale.LocaleMiddleware"]
    headers = {"Accept-Language": "de"}
    page = await watched.client.open(watched.url(), headers=headers)
    html = await event_of(page, "counters")
    assert "0\xa0Bytes" in html
